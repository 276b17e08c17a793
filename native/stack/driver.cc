// SPDX-License-Identifier: MIT
#include "stack/driver.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/clock_os.h"
#include "stack/inspection.h"

namespace millrace {

namespace {
// The guardian goes into its deep sleep, out of which it has to be woken, after this many looks
// that found nothing to do.
constexpr int kIdleLooks = 64;

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected, const timespec* timeout) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, expected, timeout,
          nullptr, 0);
}
void futex_wake(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr,
          0);
}
}  // namespace

Instant Driver::monotonic() {
  return monotonic_now();
}

Driver::Driver(std::unique_ptr<Stack> stack, const DriverConfig& config)
    : stack_(std::move(stack)), config_(config), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  MR_ASSERT(epoll_ >= 0);
  guardian_epoll_ = epoll_create1(EPOLL_CLOEXEC);
  MR_ASSERT(guardian_epoll_ >= 0);
  for (const auto& port : stack_->ports()) watch(epoll_, port->poll_fd());
  if (stack_->director()) open_control();
  watch(guardian_epoll_, epoll_);
  watch(guardian_epoll_, control_fd_);
  last_turn_ns_ = monotonic().ns;
  if (config_.guardian_after.ns > 0) {
    // Signals are the program's: the guardian's thread takes none.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    guardian_ = std::thread([this] { guard(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
}

Driver::~Driver() {
  stopping_ = true;
  asleep_ = 0;
  futex_wake(asleep_);
  if (guardian_.joinable()) guardian_.join();
  close(guardian_epoll_);
  if (control_fd_ >= 0) close(control_fd_);
  close(epoll_);
}

// Without a desk nobody can ask, and everything else works.
void Driver::open_control() {
  control_fd_ = epoll_create1(EPOLL_CLOEXEC);
  MR_ASSERT(control_fd_ >= 0);
  watch(control_fd_, stack_->director()->poll_fd());
  if (!desk_.open()) watch(control_fd_, desk_.poll_fd());
}

void Driver::serve_control(Instant now) {
  stack_->follow_kernel(now);
  desk_.on_readable([this] { return describe_steering(*stack_); });
}

void Driver::watch(int epoll, int fd) {
  if (fd < 0) return;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  MR_ASSERT(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

// --- the baton: contended only while the guardian is at work, and then for one bounded turn

bool Driver::try_baton() {
  uint32_t free = 0;
  return baton_.compare_exchange_strong(free, 1, std::memory_order_acquire);
}

void Driver::take_baton() {
  while (!try_baton()) std::this_thread::yield();
}

void Driver::drop_baton() {
  baton_.store(0, std::memory_order_release);
}

bool Driver::turn() {
  take_baton();
  const Instant now = monotonic();
  last_turn_ns_.store(now.ns, std::memory_order_relaxed);
  const bool more = stack_->turn(now, config_.frames_budget);
  worth_guarding_.store(stack_->worth_guarding(), std::memory_order_relaxed);
  drop_baton();
  return more;
}

void Driver::turn_early() {
  turn();
  turned_early_.store(true, std::memory_order_relaxed);
}

bool Driver::rx_ready() {
  take_baton();
  const bool ready = stack_->rx_ready();
  drop_baton();
  return ready;
}

Instant Driver::next_deadline() {
  take_baton();
  const Instant next = stack_->next_deadline();
  drop_baton();
  return next;
}

bool Driver::due() {
  take_baton();
  const bool due = stack_->rx_ready() || stack_->next_deadline() <= monotonic();
  drop_baton();
  return due;
}

void Driver::follow_kernel() {
  take_baton();
  serve_control(monotonic());
  drop_baton();
}

void Driver::loop_waits() {
  waiting_.store(1, std::memory_order_seq_cst);
}

void Driver::loop_runs() {
  waiting_.store(0, std::memory_order_release);
  last_turn_ns_.store(monotonic().ns, std::memory_order_relaxed);
  rouse_guardian();
}

// Where the loop runs and there is something to guard since.
void Driver::rouse_guardian() {
  if (waiting_.load(std::memory_order_relaxed)) return;
  if (asleep_.load(std::memory_order_seq_cst) && worth_guarding_.load(std::memory_order_relaxed)) {
    asleep_.store(0, std::memory_order_seq_cst);
    futex_wake(asleep_);
  }
}

void Driver::settle(Duration at_most) {
  const Instant end = monotonic() + at_most;
  take_baton();
  stack_->turn(monotonic(), config_.frames_budget);
  stack_->close_sockets(monotonic());
  for (Instant now = monotonic(); now < end; now = monotonic()) {
    stack_->turn(now, config_.frames_budget);
    if (!stack_->has_unsettled()) break;
    const Duration left = std::min(stack_->next_deadline() - now, end - now);
    epoll_event event;
    epoll_wait(epoll_, &event, 1, int(std::clamp<int64_t>(left.millis() + 1, 1, 20)));
  }
  drop_baton();
}

// --- the guardian

bool Driver::javascript_is_late(Instant now) const {
  if (waiting_.load(std::memory_order_acquire)) return false;
  return now - Instant{last_turn_ns_.load(std::memory_order_relaxed)} >= config_.guardian_after;
}

void Driver::guard() {
  pthread_setname_np(pthread_self(), "millrace-guard");
  int idle_looks = 0;
  while (!stopping_.load()) {
    const Instant now = monotonic();
    if (javascript_is_late(now)) {
      guard_once(now);
      idle_looks = 0;
      continue;
    }
    if (waiting_.load() || !worth_guarding_.load()) {
      ++idle_looks;
    } else {
      idle_looks = 0;
    }
    if (idle_looks >= kIdleLooks) {
      sleep_until_needed();
      idle_looks = 0;
    } else {
      const timespec pause{0, config_.guardian_after.ns % 1'000'000'000};
      nanosleep(&pause, nullptr);
    }
  }
}

// JavaScript is busy: one turn in its place, then wait for the next packet or timer.
void Driver::guard_once(Instant now) {
  int wait_ms = 1;
  if (try_baton()) {
    // Who waits has looked for the last time: what is published now would lie there.
    if (waiting_.load(std::memory_order_seq_cst)) {
      drop_baton();
      return;
    }
    turned_early_.store(true, std::memory_order_relaxed);  // seen by who sees this turn's events
    const bool more = stack_->guardian_turn(now, config_.frames_budget);
    const Duration left = stack_->next_deadline() - monotonic();
    drop_baton();
    // Rounded up: a timer a millisecond late is better than a thread that spins until it is due.
    // What only waits for JavaScript to make room is not worth spinning either.
    const int64_t longest_ms = config_.guardian_after.millis() + 1;
    if (!more) wait_ms = int(std::clamp<int64_t>(left.millis() + 1, 1, longest_ms));
  }
  epoll_event event;
  if (epoll_wait(guardian_epoll_, &event, 1, wait_ms) > 0) {
    if (event.data.fd == control_fd_ && try_baton()) {
      serve_control(monotonic());
      drop_baton();
    }
    const timespec breath{0, 100'000};  // packets in between are taken together
    nanosleep(&breath, nullptr);
  }
}

void Driver::sleep_until_needed() {
  asleep_.store(1, std::memory_order_seq_cst);
  // The loop may have begun to run before it could see that the guardian sleeps.
  if (stopping_.load() || (!waiting_.load(std::memory_order_seq_cst) && worth_guarding_.load())) {
    asleep_.store(0);
    return;
  }
  futex_wait(asleep_, 1, nullptr);
}

}  // namespace millrace
