// SPDX-License-Identifier: MIT
// Who runs the stack's turns, and when. Whoever holds the baton may: normally JavaScript's thread,
// run to completion; when that has been busy for some milliseconds, the guardian thread, so that
// acknowledgements, retransmissions, keep-alives and handshakes go on. The guardian sleeps while
// there is nothing to do or nothing to guard.
//
// libuv does not tell when a wait has ended: a callback of the kernel's sockets or files may keep
// JavaScript busy before anything of ours is called. Work that lies there for some milliseconds
// although the loop waits shows it, and the guardian takes it that the loop runs. Should it wait
// all the same, it is woken.
#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "control/desk.h"
#include "stack/stack.h"

namespace millrace {

struct DriverConfig {
  Duration guardian_after = Duration::millis(4);  // 0: no guardian
  uint32_t frames_budget = 256;                   // frames of one turn
};

class Driver {
 public:
  Driver(std::unique_ptr<Stack> stack, const DriverConfig& config);
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Readable when a port has something; when the control plane has (-1: there is none).
  int poll_fd() const { return epoll_; }
  int control_fd() const { return control_fd_; }

  // --- JavaScript's thread
  // A turn. Returns true when there is more to do at once.
  bool turn();
  // The same while JavaScript is at work, for memory or progress.
  void turn_early();
  // Was there a turn while JavaScript was at work, its own or the guardian's? Then what it wrote in
  // one piece may lie half in the event ring and half among the commands. Asked once.
  bool turned_early() {
    return turned_early_.load(std::memory_order_relaxed) &&
           turned_early_.exchange(false, std::memory_order_relaxed);
  }
  // Facts for the decision to wait; no system call but the clock.
  bool rx_ready();
  bool due();
  Instant next_deadline();
  // Takes the control plane's news, and answers who asks about rules.
  void follow_kernel();
  // Between these two the loop is waiting, or called by others than us.
  void loop_waits();
  void loop_runs();
  // Runs `operation(stack, now)` with the baton held.
  template <typename Operation>
  auto with_stack(Operation&& operation) {
    if (waiting_.load(std::memory_order_relaxed)) loop_runs();  // or who calls?
    take_baton();
    auto result = operation(*stack_, monotonic());
    worth_guarding_.store(stack_->worth_guarding(), std::memory_order_relaxed);
    drop_baton();
    rouse_guardian();
    return result;
  }
  // For reading facts that any thread may read: layout, sizes.
  Stack& stack() { return *stack_; }
  // Lets peers have what they are owed: closes every socket and runs turns until all is
  // acknowledged or the time is over. For the end of the process.
  void settle(Duration at_most);

 private:
  static Instant monotonic();
  static void watch(int epoll, int fd);
  void open_control();
  void serve_control(Instant now);
  void take_baton();
  bool try_baton();
  void drop_baton();
  void guard();
  void rouse_guardian();
  bool javascript_is_late(Instant now) const;
  void guard_once(Instant now);
  bool anything_lies(Instant now);
  void notice_work_that_lies(Instant now);
  void sleep_until_needed();

  std::unique_ptr<Stack> stack_;
  DriverConfig config_;
  int epoll_ = -1;       // the ports, and wake_loop_
  int control_fd_ = -1;  // the director's descriptor and the desk's
  control::Desk desk_;
  int guardian_epoll_ = -1;  // the ports and the control plane
  int wake_loop_ = -1;       // written by the guardian when it takes it that the loop runs
  int wake_guardian_ = -1;
  std::atomic<uint32_t> baton_{0};

  // Written by JavaScript's thread, read by the guardian.
  std::atomic<int64_t> last_turn_ns_{0};
  std::atomic<uint32_t> waiting_{1};         // the event loop is blocked, as far as we know
  std::atomic<bool> asleep_{false};          // the guardian, until wake_guardian_ is written
  std::atomic<bool> loop_woken_{false};      // wake_loop_ is to be read
  std::atomic<bool> worth_guarding_{false};  // written with the baton held
  std::atomic<bool> turned_early_{false};
  std::atomic<bool> stopping_{false};
  std::thread guardian_;
  // The guardian's own: since when there is work although the loop waits, and the last turn then.
  Instant lies_since_ = Instant::never();
  int64_t turn_before_ns_ = 0;
};

}  // namespace millrace
