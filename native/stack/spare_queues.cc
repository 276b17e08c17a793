// SPDX-License-Identifier: MIT
#include "stack/spare_queues.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <new>

namespace millrace {
namespace {

constexpr uint32_t kFrames = 512;  // per queue: 1 MiB
constexpr uint32_t kMoveBurst = 64;
constexpr uint32_t kXdpHeadroom = 256;  // XDP_PACKET_HEADROOM: the kernel keeps it in front

}  // namespace

SpareQueues::SpareQueues(const char* interface, steer::XdpSteering& steering, uint32_t chunk_bytes,
                         int epoll, int wake)
    : interface_(interface),
      steering_(steering),
      chunk_bytes_(chunk_bytes),
      epoll_(epoll),
      wake_(wake),
      outbox_(steering.ifindex()) {}

std::unique_ptr<SpareQueues> SpareQueues::open(const char* interface, steer::XdpSteering& steering,
                                               uint32_t device_queues, uint32_t chunk_bytes) {
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll < 0 || wake < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event) != 0) {
    if (epoll >= 0) ::close(epoll);
    if (wake >= 0) ::close(wake);
    return nullptr;
  }
  std::unique_ptr<SpareQueues> spare(
      new SpareQueues(interface, steering, chunk_bytes, epoll, wake));
  steering.set_keeper(spare.get(), device_queues);
  return spare;
}

SpareQueues::~SpareQueues() {
  steering_.set_keeper(nullptr, 0);
  if (thread_.joinable()) {
    const uint64_t one = 1;
    static_cast<void>(!write(wake_, &one, sizeof(one)));
    thread_.join();
  }
  give_back(0);
  ::close(wake_);
  ::close(epoll_);
}

// --- called by the steering's thread

void SpareQueues::give_back(uint32_t wanted) {
  const std::lock_guard lock(mutex_);
  const size_t all = queues_.size();
  const size_t left = wanted == 0 || wanted >= all ? 0 : all - wanted;
  for (size_t i = left; i < all; ++i) steering_.clear_spare_queue(queues_[i]->id);
  queues_.resize(left);
}

// What cannot be had is tried again when the steering looks round the next time.
void SpareQueues::take(std::span<const uint32_t> queues) {
  const std::lock_guard lock(mutex_);
  for (const uint32_t id : queues) {
    if (!add(id)) break;
  }
  if (queues_.empty() || thread_.joinable()) return;
  // Signals are the program's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// False: no more of them now. (A queue that somebody has just taken is no reason to stop.)
bool SpareQueues::add(uint32_t id) {
  auto queue = std::make_unique<Queue>();
  queue->id = id;
  queue->memory = OsMemory(size_t(kFrames) * chunk_bytes_);
  if (!queue->memory.data()) return false;
  madvise(queue->memory.data(), queue->memory.size(), MADV_DONTFORK);
  const af_xdp::XskConfig config{
      .interface = interface_.c_str(),
      .ifindex = steering_.ifindex(),
      .rx_slots = kFrames,
      .fill_slots = kFrames,
      .bind_flags = XDP_COPY,
      .memory = queue->memory.data(),
      .memory_bytes = queue->memory.size(),
      .chunk_bytes = chunk_bytes_,
  };
  SetupError error;
  if (!queue->xsk.open(config, error)) return false;
  if (!queue->xsk.bind(config, id, error)) return error.code == EBUSY;
  for (uint32_t i = 0; i < kFrames; ++i) queue->xsk.fill.slot(i) = uint64_t(i) * chunk_bytes_;
  queue->xsk.fill.publish(kFrames);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = queue.get();
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, queue->xsk.fd(), &event) != 0) return false;
  if (steering_.set_spare_queue(id, queue->xsk.fd(), chunk_bytes_ - kXdpHeadroom)) return false;
  queues_.push_back(std::move(queue));
  return true;
}

// --- the thread

void SpareQueues::run() {
  for (;;) {
    epoll_event event;
    if (epoll_wait(epoll_, &event, 1, -1) != 1) continue;
    if (!event.data.ptr) return;
    const std::lock_guard lock(mutex_);
    // The one that the event was about may have been given back meanwhile.
    for (const auto& queue : queues_) drain(*queue);
  }
}

void SpareQueues::drain(Queue& queue) {
  auto& rx = queue.xsk.rx;
  auto& fill = queue.xsk.fill;
  const uint32_t n = std::min(rx.readable(), std::min(kMoveBurst, fill.writable(kMoveBurst)));
  for (uint32_t i = 0; i < n; ++i) {
    const xdp_desc& desc = rx.slot(i);
    const std::span<uint8_t> frame{queue.memory.data() + desc.addr, desc.len};
    steer::clear_hops(frame);
    if (outbox_.send(steering_.member(), frame)) ++lost_;
    fill.slot(i) = desc.addr / chunk_bytes_ * chunk_bytes_;
  }
  if (n == 0) return;
  frames_ += n;
  rx.consume(n);
  fill.publish(n);
}

}  // namespace millrace
