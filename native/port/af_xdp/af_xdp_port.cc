// SPDX-License-Identifier: MIT
#include "port/af_xdp/af_xdp_port.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>

namespace millrace {
namespace {

constexpr uint16_t kFilled = 0xffff;  // in held_: the frame waits to be received into
constexpr uint32_t kEthernetHeader = 14;
constexpr uint32_t kVlanTag = 4;
constexpr uint32_t kXdpHeadroom = 256;  // XDP_PACKET_HEADROOM: the kernel keeps it in front
constexpr uint32_t kPrefetchAhead = 4;
constexpr Duration kRetryFirst = Duration::micros(500);
constexpr Duration kRetryLast = Duration::millis(50);
constexpr size_t kSideBurst = 64;
constexpr uint32_t kSideSkip = 16;

}  // namespace

AfXdpPort::AfXdpPort(FramePool& pool, const AfXdpOptions& options)
    : pool_(pool),
      options_(options),
      held_memory_(size_t(pool.capacity()) * sizeof(uint16_t)),
      held_(reinterpret_cast<uint16_t*>(held_memory_.data())),
      chunk_shift_(uint32_t(std::countr_zero(pool.frame_bytes()))) {}

AfXdpPort::~AfXdpPort() {
  close();
}

std::unique_ptr<AfXdpPort> AfXdpPort::open(const char* interface, FramePool& pool,
                                           const AfXdpOptions& options, SetupError& error) {
  if (pool.frame_bytes() != 2048 && pool.frame_bytes() != 4096) {
    error.set(EINVAL, "AF_XDP needs frames of 2048 or 4096 bytes, not %u", pool.frame_bytes());
    return nullptr;
  }
  if (!std::has_single_bit(options.rx_slots) || !std::has_single_bit(options.tx_slots)) {
    error.set(EINVAL, "AF_XDP ring sizes must be powers of two, not %u and %u", options.rx_slots,
              options.tx_slots);
    return nullptr;
  }
  std::unique_ptr<AfXdpPort> port(new (std::nothrow) AfXdpPort(pool, options));
  if (!port || !port->held_) {
    error.set(ENOMEM, "out of memory");
    return nullptr;
  }
  if (!port->start(interface, error)) return nullptr;
  return port;
}

bool AfXdpPort::start(const char* interface, SetupError& error) {
  if (!af_xdp::query_device(interface, device_, error)) return false;
  if (wanted() > options_.queues_max) {
    error.set(E2BIG, "\"%s\" has %u receive queues, at most %u are used: ethtool -L %s combined %u",
              interface, device_.rx_queues, options_.queues_max, interface, options_.queues_max);
    return false;
  }
  const uint32_t share = options_.fill_frames_max ? options_.fill_frames_max : pool_.capacity() / 4;
  fill_target_ = std::clamp(share / wanted(), 1u, options_.rx_slots);

  // A child between fork and exec would get a copy of every pinned page.
  madvise(pool_.memory(), pool_.memory_bytes(), MADV_DONTFORK);

  bool opened = false;
  if (options_.native && options_.zero_copy) opened = open_queues(interface, XDP_ZEROCOPY, error);
  // Only the refusal of zero-copy itself leads on to copy mode.
  if (!opened && error.code != EBUSY && error.code != EPERM) {
    error = {};
    opened = open_queues(interface, XDP_COPY, error);
  }
  if (!opened || !make_poll_fd(error)) return false;
  zero_copy_ = queues_[0]->xsk.zero_copy();
  rx_flags_ = device_.checksums_may_be_partial(options_.native) ? Frame::kChecksumMayBePartial : 0;
  info_.name = "af_xdp";
  info_.link = LinkType::kEthernet;
  info_.queues = queues();
  info_.mtu_bytes = std::min(device_.mtu_bytes, frame_limit_bytes() - kEthernetHeader - kVlanTag);
  info_.mode = zero_copy_ ? "native zero-copy" : options_.native ? "native copy" : "generic copy";
  if (!zero_copy_ && af_xdp::PacketCutter::suits(device_.driver) && cutter_.open(device_.ifindex)) {
    info_.offloads = af_xdp::PacketCutter::offloads();
  }
  for (auto& queue : queues_) refill(*queue);
  return true;
}

uint32_t AfXdpPort::wanted() const {
  const uint32_t all = device_.rx_queues;
  return options_.queues_wanted == 0 ? all : std::min(options_.queues_wanted, all);
}

bool AfXdpPort::has_queue(uint32_t id) const {
  return std::any_of(queues_.begin(), queues_.end(), [id](const auto& q) { return q->id == id; });
}

bool AfXdpPort::open_queues(const char* interface, uint16_t bind_flags, SetupError& error) {
  queues_.clear();
  const af_xdp::XskConfig config{
      .interface = interface,
      .ifindex = device_.ifindex,
      .rx_slots = options_.rx_slots,
      .fill_slots = std::bit_ceil(fill_target_),
      .tx_slots = options_.tx_slots,
      .bind_flags = bind_flags,
      .memory = pool_.memory(),
      .memory_bytes = pool_.memory_bytes(),
      .chunk_bytes = pool_.frame_bytes(),
  };
  if (claim_queues(config, error)) return true;
  queues_.clear();
  return false;
}

// Goes round the queues until enough are taken. With all wanted and some in use elsewhere, those
// that are free have to do.
bool AfXdpPort::claim_queues(af_xdp::XskConfig config, SetupError& error) {
  timespec pause{0, 10'000'000};
  std::unique_ptr<Queue> next;
  for (int64_t waited = 0;; waited += pause.tv_nsec) {
    for (uint32_t id = 0; id < device_.rx_queues && queues() < wanted(); ++id) {
      if (has_queue(id)) continue;
      if (!next) {
        next = std::make_unique<Queue>();
        if (!next->xsk.open(config, error)) return false;
      }
      if (next->xsk.bind(config, id, error)) {
        next->id = id;
        config.memory_of = queues_.empty() ? next->xsk.fd() : config.memory_of;
        config.tx_slots = 0;
        queues_.push_back(std::move(next));
      } else if (error.code != EBUSY) {
        return false;
      }
    }
    if (queues() == wanted()) return true;
    if (waited >= options_.patience.ns) break;
    nanosleep(&pause, nullptr);
  }
  if (!queues_.empty()) return true;
  if (device_.rx_queues > 1) {
    error.set(EBUSY, "all %u receive queues of \"%s\" are in use by other AF_XDP sockets",
              device_.rx_queues, config.interface);
  }
  return false;
}

bool AfXdpPort::make_poll_fd(SetupError& error) {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  for (size_t q = 0; epoll_fd_ >= 0 && q < queues_.size(); ++q) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, queues_[q]->xsk.fd(), &event) == 0) continue;
    const int code = errno;
    ::close(epoll_fd_);
    epoll_fd_ = -1;
    errno = code;
  }
  if (epoll_fd_ < 0) error.set(errno, "cannot make an epoll descriptor: %s", std::strerror(errno));
  return epoll_fd_ >= 0;
}

Error AfXdpPort::watch_side(int fd, void* side, SideRead read) {
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) return {errno};
  side_ = side;
  side_read_ = read;
  return kOk;
}

uint32_t AfXdpPort::frame_limit_bytes() const {
  return pool_.frame_bytes() - kXdpHeadroom;
}

uint32_t AfXdpPort::fill_frames() const {
  uint32_t n = 0;
  for (const auto& queue : queues_) n += queue->filled;
  return n;
}

PortStats AfXdpPort::stats() const {
  PortStats out = stats_;
  for (const auto& queue : queues_) {
    xdp_statistics kernel;
    if (!queue->xsk.statistics(kernel)) continue;
    // A frame that found the fill ring empty is counted in rx_dropped by the kernel as well (copy
    // mode) or was never received (zero-copy): the larger of the two does not count one twice.
    out.rx_dropped +=
        std::max(kernel.rx_dropped, kernel.rx_fill_ring_empty_descs) + kernel.rx_ring_full;
    out.tx_dropped += kernel.tx_invalid_descs;
  }
  return out;
}

bool AfXdpPort::rx_ready() const {
  for (const auto& queue : queues_) {
    if (queue->xsk.rx.anything_to_read()) return true;
  }
  return false;
}

// --- receiving

uint32_t AfXdpPort::receive(Instant now, std::span<Frame*> out) {
  if (queues_.empty()) return 0;
  reap_completions();
  if (now >= retry_at_) {
    kick();
    schedule_retry(now);
  }
  uint32_t received = 0;
  const uint32_t count = queues();
  for (uint32_t i = 0; i < count; ++i) {
    const uint32_t number = (next_queue_ + i) % count;
    Queue& queue = *queues_[number];
    received += receive_from(queue, uint8_t(number), out.subspan(received));
    refill(queue);
  }
  next_queue_ = (next_queue_ + 1) % count;
  // A system call: when the queues are empty, and now and then when they never are.
  if (side_read_ && (received == 0 || ++side_skipped_ == kSideSkip)) {
    side_skipped_ = 0;
    received += receive_from_side(out.subspan(received));
  }
  return received;
}

uint32_t AfXdpPort::receive_from_side(std::span<Frame*> out) {
  uint32_t n = 0;
  while (n < std::min<size_t>(out.size(), kSideBurst)) {
    Frame* frame = pool_.alloc();
    if (!frame) break;
    bool passed_on = false;
    const uint32_t bytes = side_read_(
        side_, {frame->chunk + frame->offset, frame->capacity - frame->offset}, passed_on);
    if (bytes == 0) {
      pool_.release(frame);
      break;
    }
    frame->length = bytes;
    frame->flags = passed_on ? uint8_t(rx_flags_ | Frame::kPassedOn) : rx_flags_;
    frame->rx_queue = 0;
    stats_.rx_bytes += bytes;
    ++stats_.rx_frames;
    out[n++] = frame;
  }
  return n;
}

uint32_t AfXdpPort::receive_from(Queue& queue, uint8_t number, std::span<Frame*> out) {
  const uint32_t n = std::min(queue.xsk.rx.readable(), uint32_t(out.size()));
  const uint64_t offset_mask = pool_.frame_bytes() - 1;
  for (uint32_t i = 0; i < n; ++i) {
    if (i + kPrefetchAhead < n) {
      const uint64_t ahead = queue.xsk.rx.slot(i + kPrefetchAhead).addr;
      __builtin_prefetch(pool_.at(uint32_t(ahead >> chunk_shift_)), 1);
      __builtin_prefetch(pool_.memory() + ahead);
    }
    const xdp_desc& desc = queue.xsk.rx.slot(i);
    const auto index = uint32_t(desc.addr >> chunk_shift_);
    MR_ASSERT(index < pool_.capacity() && held_[index] == kFilled);
    held_[index] = 0;
    Frame* frame = pool_.at(index);
    frame->offset = uint32_t(desc.addr & offset_mask);
    frame->length = desc.len;
    frame->flags = rx_flags_;
    frame->rx_queue = number;
    stats_.rx_bytes += desc.len;
    out[i] = frame;
  }
  if (n > 0) queue.xsk.rx.consume(n);
  stats_.rx_frames += n;
  queue.filled -= n;
  return n;
}

void AfXdpPort::refill(Queue& queue) {
  auto& fill = queue.xsk.fill;
  if (queue.filled < fill_target_) {
    const uint32_t wanted = fill_target_ - queue.filled;
    const uint32_t n = std::min(wanted, fill.writable(wanted));
    uint32_t given = 0;
    for (; given < n; ++given) {
      Frame* frame = pool_.alloc(0);
      if (!frame) break;  // the pool is empty; the next call tries again
      held_[frame->index] = kFilled;
      fill.slot(given) = uint64_t(frame->index) << chunk_shift_;
    }
    if (given > 0) fill.publish(given);
    queue.filled += given;
  }
  // Zero-copy: the driver went to sleep for want of frames.
  if (zero_copy_ && fill.needs_wakeup()) {
    recvfrom(queue.xsk.fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  }
}

// --- sending

bool AfXdpPort::acceptable(const Frame& frame) const {
  return frame.length >= kEthernetHeader && frame.offset + frame.length <= pool_.frame_bytes();
}

uint32_t AfXdpPort::transmit(Instant now, std::span<Frame* const> frames) {
  if (queues_.empty()) return 0;
  size_t taken = 0;
  while (taken < frames.size()) {
    const auto rest = frames.subspan(taken);
    const auto cut =
        std::find_if(rest.begin(), rest.end(), [](const Frame* f) { return f->segment_bytes > 0; });
    const auto alone = size_t(cut - rest.begin());
    if (alone > 0) {
      const uint32_t n = put_in_ring(rest.first(alone));
      taken += n;
      if (n < alone) break;
      continue;
    }
    const auto end = std::find_if(rest.begin() + 1, rest.end(),
                                  [](const Frame* f) { return !(f->flags & Frame::kContinues); });
    const auto packet = rest.first(size_t(end - rest.begin()));
    if (!send_cut(packet)) break;
    taken += packet.size();
  }
  if (taken < frames.size()) schedule_retry(now);
  return uint32_t(taken);
}

// False: not now. One that is lost is lost as on the wire.
bool AfXdpPort::send_cut(std::span<Frame* const> packet) {
  kick();  // what comes before it
  if (queues_[0]->xsk.tx.unconsumed() > 0) return false;
  const Error error = cutter_.is_open() ? cutter_.send(packet) : Error{ENODEV};
  if (error.code == EAGAIN) {
    ++stats_.tx_full;
    return false;
  }
  if (error) {
    stats_.tx_dropped += packet.size();
    if (error.code != ENOBUFS && error.code != ENETDOWN) {
      // TCP sends it again, in segments from now on.
      info_.offloads = {};
      cutter_.close();
    }
    return true;
  }
  stats_.tx_frames += packet.size();
  for (const Frame* frame : packet) stats_.tx_bytes += frame->length;
  return true;
}

uint32_t AfXdpPort::put_in_ring(std::span<Frame* const> frames) {
  auto& tx = queues_[0]->xsk.tx;
  const auto wanted = uint32_t(frames.size());
  uint32_t free = tx.writable(wanted);
  if (free < wanted) {
    // Make room now rather than refuse: in copy mode the ring empties within the call.
    kick();
    free = tx.writable(wanted);
    if (free < wanted) ++stats_.tx_full;
  }
  uint32_t taken = 0;
  uint32_t queued = 0;
  for (; taken < wanted; ++taken) {
    Frame* frame = frames[taken];
    if (!acceptable(*frame)) {
      ++stats_.tx_dropped;  // the kernel would never complete its descriptor
      continue;
    }
    if (queued == free) break;
    pool_.retain(frame);
    ++frame->tx_pending;
    ++held_[frame->index];
    xdp_desc& desc = tx.slot(queued++);
    desc.addr = (uint64_t(frame->index) << chunk_shift_) + frame->offset;
    desc.len = frame->length;
    desc.options = 0;
    stats_.tx_bytes += frame->length;
  }
  if (queued > 0) tx.publish(queued);
  stats_.tx_frames += queued;
  tx_in_flight_ += queued;
  return taken;
}

void AfXdpPort::reap_completions() {
  if (tx_in_flight_ == 0) return;
  auto& completion = queues_[0]->xsk.completion;
  const uint32_t n = completion.readable();
  for (uint32_t i = 0; i < n; ++i) {
    const auto index = uint32_t(completion.slot(i) >> chunk_shift_);
    MR_ASSERT(index < pool_.capacity() && held_[index] > 0 && held_[index] != kFilled);
    --held_[index];
    Frame* frame = pool_.at(index);
    --frame->tx_pending;
    pool_.release(frame);
  }
  if (n == 0) return;
  completion.consume(n);
  tx_in_flight_ -= n;
  retries_ = 0;
}

void AfXdpPort::flush(Instant now) {
  if (tx_in_flight_ == 0) return;
  kick();
  schedule_retry(now);
}

void AfXdpPort::kick() {
  if (queues_.empty() || tx_in_flight_ == 0) return;
  auto& xsk = queues_[0]->xsk;
  if (!zero_copy_) {
    kick_copy_mode();
  } else if (xsk.tx.unconsumed() > 0 && xsk.tx.needs_wakeup()) {
    sendto(xsk.fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0);
  }
  reap_completions();
}

// In copy mode the system call itself sends, a bounded number of frames each time. It reports a
// full batch with EAGAIN as it does a busy device, so progress is read from the ring. EAGAIN,
// EBUSY, ENOBUFS, ENETDOWN, ENXIO without progress: what is left stays in the ring for the retry.
// Every round but the last makes progress, so there are at most as many as there are slots.
void AfXdpPort::kick_copy_mode() {
  auto& xsk = queues_[0]->xsk;
  uint32_t left = xsk.tx.unconsumed();
  while (left > 0) {
    sendto(xsk.fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0);
    reap_completions();  // a full completion ring holds the kernel up
    const uint32_t now_left = xsk.tx.unconsumed();
    if (now_left >= left) break;
    left = now_left;
  }
}

// Nothing tells us that a stopped device goes on, or that its last frames have left: look again
// after a while, less and less often as long as nothing changes.
void AfXdpPort::schedule_retry(Instant now) {
  if (tx_in_flight_ == 0) {
    retry_at_ = Instant::never();
    retries_ = 0;
    return;
  }
  const Duration pause =
      std::min(kRetryFirst * (int64_t(1) << std::min(retries_, 10u)), kRetryLast);
  retry_at_ = now + pause;
  ++retries_;
}

// --- the end

void AfXdpPort::close() {
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
  epoll_fd_ = -1;
  cutter_.close();
  if (queues_.empty()) return;
  reap_completions();
  PortStats last = stats();
  queues_.clear();
  stats_ = last;
  for (uint32_t index = 0; index < pool_.capacity(); ++index) {
    if (held_[index] == 0) continue;
    Frame* frame = pool_.at(index);
    if (held_[index] == kFilled) {
      pool_.release(frame);
    } else {
      for (; held_[index] > 0; --held_[index]) {
        --frame->tx_pending;
        pool_.release(frame);
      }
    }
    held_[index] = 0;
  }
  tx_in_flight_ = 0;
  retry_at_ = Instant::never();
}

}  // namespace millrace
