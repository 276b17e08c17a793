// SPDX-License-Identifier: MIT
#include "stack/driver.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
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

// Longer than any timer's distance matters: whoever makes it shorter wakes the guardian.
constexpr int64_t kSleepMaxMs = 3'600'000;

void signal(int event_fd) {
  const uint64_t one = 1;
  // Full is as good as written.
  (void)!write(event_fd, &one, sizeof(one));
}
void clear(int event_fd) {
  uint64_t count;
  (void)!read(event_fd, &count, sizeof(count));
}
int new_event_fd() {
  const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  MR_ASSERT(fd >= 0);
  return fd;
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
  wake_loop_ = new_event_fd();
  wake_guardian_ = new_event_fd();
  watch(epoll_, wake_loop_);
  for (const auto& port : stack_->ports()) {
    watch(epoll_, port->poll_fd());
    watch(guardian_epoll_, port->poll_fd());
  }
  if (stack_->director()) open_control();
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
  signal(wake_guardian_);
  if (guardian_.joinable()) guardian_.join();
  for (const int fd : {guardian_epoll_, epoll_, wake_loop_, wake_guardian_}) close(fd);
  if (control_fd_ >= 0) close(control_fd_);
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
  const bool due =
      stack_->rx_ready() || stack_->has_unpushed() || stack_->next_deadline() <= monotonic();
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
  if (loop_woken_.load(std::memory_order_relaxed) && loop_woken_.exchange(false)) clear(wake_loop_);
  rouse_guardian();
}

// Where the loop runs and there is something to guard since.
void Driver::rouse_guardian() {
  if (asleep_.load(std::memory_order_seq_cst) && worth_guarding_.load(std::memory_order_relaxed)) {
    asleep_.store(false, std::memory_order_seq_cst);
    signal(wake_guardian_);
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
    notice_work_that_lies(now);
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
      // Who waits hears of it, too, and has looked for events for the last time.
      if (!waiting_.load(std::memory_order_seq_cst)) serve_control(monotonic());
      drop_baton();
    }
    const timespec breath{0, 100'000};  // packets in between are taken together
    nanosleep(&breath, nullptr);
  }
}

bool Driver::anything_lies(Instant now) {
  if (!try_baton()) return false;  // somebody is at it
  const bool lies = stack_->rx_ready() || stack_->has_unpushed() ||
                    stack_->next_deadline() <= now || stack_->shared().commands_waiting() > 0;
  drop_baton();
  return lies;
}

// The loop waits, but not for this: so it is at something else.
void Driver::notice_work_that_lies(Instant now) {
  const int64_t turn_ns = last_turn_ns_.load(std::memory_order_relaxed);
  if (!waiting_.load(std::memory_order_acquire) || !worth_guarding_.load() || !anything_lies(now)) {
    lies_since_ = Instant::never();
  } else if (lies_since_.is_never() || turn_ns != turn_before_ns_) {
    lies_since_ = now;
    turn_before_ns_ = turn_ns;
  } else if (now - lies_since_ >= config_.guardian_after) {
    lies_since_ = Instant::never();
    uint32_t waits = 1;
    if (!waiting_.compare_exchange_strong(waits, 0)) return;
    signal(wake_loop_);
    loop_woken_.store(true);
  }
}

// Until the loop runs, or, where there is something to guard, packets come or a timer is due.
void Driver::sleep_until_needed() {
  asleep_.store(true, std::memory_order_seq_cst);
  const bool worth = worth_guarding_.load(std::memory_order_seq_cst);
  // The loop may have begun to run before it could see that the guardian sleeps.
  if (!stopping_.load() && (waiting_.load(std::memory_order_seq_cst) || !worth)) {
    int64_t sleep_ms = -1;
    if (worth && try_baton()) {
      const Instant next = stack_->next_deadline();
      drop_baton();
      if (!next.is_never()) {
        sleep_ms = std::clamp<int64_t>((next - monotonic()).millis() + 1, 0, kSleepMaxMs);
      }
    }
    pollfd fds[] = {{wake_guardian_, POLLIN, 0}, {guardian_epoll_, POLLIN, 0}};
    poll(fds, worth ? 2 : 1, int(sleep_ms));
    clear(wake_guardian_);
  }
  asleep_.store(false, std::memory_order_seq_cst);
}

}  // namespace millrace
