// SPDX-License-Identifier: MIT
#include "base/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace millrace {

void TimerWheel::place(Timer& timer, uint64_t earliest) {
  const uint64_t due = std::max(due_tick(timer.deadline_), earliest);
  // The level is the highest 6-bit group in which the due tick differs from now.
  const uint64_t differs = due ^ tick_;
  int level = differs == 0 ? 0 : (63 - std::countl_zero(differs)) / kSlotBits;
  int slot = int(due >> (level * kSlotBits)) & (kSlots - 1);
  if (level >= kLevels) {  // across the last level's wrap, or beyond its horizon
    level = kLevels - 1;
    constexpr int kShift = (kLevels - 1) * kSlotBits;
    const uint64_t farthest = (tick_ >> kShift) + kSlots - 1;
    slot = int(std::min(due >> kShift, farthest)) & (kSlots - 1);
  }
  timer.level_ = uint8_t(level);
  timer.slot_ = uint8_t(slot);
  slots_[level][slot].push_back(&timer);
  occupied_[level] |= uint64_t(1) << slot;
}

void TimerWheel::arm(Timer& timer, Instant deadline) {
  MR_ASSERT(!deadline.is_never());
  cancel(timer);
  timer.deadline_ = deadline;
  place(timer, tick_ + 1);
  ++armed_;
}

void TimerWheel::cancel(Timer& timer) {
  if (!timer.armed()) return;
  timer.unlink();
  --armed_;
  if (slots_[timer.level_][timer.slot_].empty()) {
    occupied_[timer.level_] &= ~(uint64_t(1) << timer.slot_);
  }
}

void TimerWheel::cascade(int level) {
  const int slot = int(tick_ >> (level * kSlotBits)) & (kSlots - 1);
  occupied_[level] &= ~(uint64_t(1) << slot);
  List<Timer, TimerTag> moved;
  moved.splice_back(slots_[level][slot]);
  // A timer due at this very tick lands in the level-0 slot that is fired right after the cascade.
  while (Timer* timer = moved.pop_front()) place(*timer, tick_);
}

void TimerWheel::fire_slot(int slot, Instant now) {
  auto& list = slots_[0][slot];
  while (Timer* timer = list.pop_front()) {
    --armed_;
    if (list.empty()) occupied_[0] &= ~(uint64_t(1) << slot);
    timer->callback_(*timer, timer->owner_, now);
  }
}

void TimerWheel::advance(Instant now) {
  const uint64_t target = tick_of(now);
  while (tick_ < target) {
    const Instant next = next_deadline();
    if (next.is_never() || tick_of(next) > target) {  // nothing on the way, not even a cascade
      tick_ = target;
      return;
    }
    tick_ = tick_of(next);
    for (int level = kLevels - 1; level > 0; --level) {
      const uint64_t mask = (uint64_t(1) << (level * kSlotBits)) - 1;
      if ((tick_ & mask) == 0 && occupied_[level]) cascade(level);
    }
    fire_slot(int(tick_ & (kSlots - 1)), now);
  }
}

Instant TimerWheel::next_deadline() const {
  if (armed_ == 0) return Instant::never();
  for (int level = 0; level < kLevels; ++level) {
    if (!occupied_[level]) continue;
    const int shift = level * kSlotBits;
    const uint64_t base = tick_ >> shift;
    // Rotated so that bit 0 is the slot after the current one: the nearest occupied slot ahead.
    const int first = int(base + 1) & (kSlots - 1);
    const uint64_t ahead = uint64_t(std::countr_zero(std::rotr(occupied_[level], first))) + 1;
    return {int64_t(((base + ahead) << shift) << kTickShift)};
  }
  return Instant::never();
}

}  // namespace millrace
