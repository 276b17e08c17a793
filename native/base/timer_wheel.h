// SPDX-License-Identifier: MIT
// Hierarchical timing wheel: arm, re-arm and cancel in O(1), whatever the number of connections.
// Five levels of 64 slots over ticks of 2^18 ns (about 0.26 ms) reach 78 hours; a later deadline
// waits in the last level and is sorted in again as it comes nearer. A timer never fires early, and
// at most one tick late once advance() is called.
#pragma once

#include <array>
#include <cstdint>

#include "base/list.h"
#include "base/time.h"

namespace millrace {

class TimerWheel;
struct TimerTag;

// A timer embedded in its owner. `fire` gets the timer back and finds the owner from it.
class Timer : public ListNode<TimerTag> {
 public:
  using Callback = void (*)(Timer& timer, void* owner, Instant now);
  Timer(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
  ~Timer() { MR_ASSERT(!armed()); }
  bool armed() const { return linked(); }
  Instant deadline() const { return deadline_; }  // meaningful while armed

 private:
  friend class TimerWheel;
  Callback callback_;
  void* owner_;
  Instant deadline_{};
  uint8_t level_ = 0;
  uint8_t slot_ = 0;
};

class TimerWheel {
 public:
  explicit TimerWheel(Instant start) : tick_(tick_of(start)) {}
  // Arms or re-arms. A deadline in the past fires at the next advance().
  void arm(Timer& timer, Instant deadline);
  void cancel(Timer& timer);
  // Fires everything due at `now`. Callbacks may arm and cancel any timer, their own included, and
  // free their owner after cancelling its timers.
  void advance(Instant now);
  // A lower bound of the earliest deadline: never later than the first timer to fire; exact to its
  // slot. Instant::never() when nothing is armed.
  Instant next_deadline() const;
  size_t armed_count() const { return armed_; }

 private:
  static constexpr int kTickShift = 18;
  static constexpr int kLevels = 5;
  static constexpr int kSlotBits = 6;
  static constexpr int kSlots = 1 << kSlotBits;
  static uint64_t tick_of(Instant t) { return t.ns <= 0 ? 0 : uint64_t(t.ns) >> kTickShift; }
  // The first tick at which a deadline has surely passed.
  static uint64_t due_tick(Instant t) { return tick_of({t.ns - 1}) + 1; }

  void place(Timer& timer, uint64_t earliest);
  void cascade(int level);
  void fire_slot(int slot, Instant now);

  uint64_t tick_;  // the last tick whose slot has been fired
  size_t armed_ = 0;
  std::array<uint64_t, kLevels> occupied_{};
  std::array<std::array<List<Timer, TimerTag>, kSlots>, kLevels> slots_;
};

}  // namespace millrace
