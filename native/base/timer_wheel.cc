// SPDX-License-Identifier: MIT
#include "base/timer_wheel.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace millrace {

// Every slot may have a chunk that is not full, and the one that fires is taken out of its slot.
TimerWheel::TimerWheel(Instant start, uint32_t timers_max)
    : tick_(tick_of(start)),
      chunks_max_(2 * (timers_max / kEntries + kLists)),
      memory_((size_t(chunks_max_) + 1) * sizeof(Chunk)) {
  MR_ASSERT(memory_.data());
}

uint32_t TimerWheel::take_chunk(uint32_t list) {
  uint32_t index = free_;
  if (index) {
    free_ = chunk(index).next;
  } else {
    MR_ASSERT(fresh_ <= chunks_max_);
    index = fresh_++;
  }
  Chunk& c = chunk(index);
  c.next = c.count = 0;
  c.list = list;
  return index;
}

void TimerWheel::give_back(uint32_t index) {
  chunk(index).next = free_;
  free_ = index;
}

void TimerWheel::append(uint32_t list, const Entry& entry) {
  Slot& slot = slots_[list];
  if (slot.last == 0 || chunk(slot.last).count == kEntries) {
    const uint32_t fresh = take_chunk(list);
    chunk(fresh).prev = slot.last;
    (slot.last ? chunk(slot.last).next : slot.first) = fresh;
    slot.last = fresh;
  }
  Chunk& c = chunk(slot.last);
  entry.timer->place_ = slot.last * kPlaces + c.count;
  c.entries[c.count++] = entry;
}

// The last of the slot takes the place of the one that goes.
void TimerWheel::remove(const Timer& timer) {
  Entry& hole = chunk(timer.place_ / kPlaces).entries[timer.place_ % kPlaces];
  const uint32_t list = chunk(timer.place_ / kPlaces).list;
  if (list == kFiring) {
    hole.timer = nullptr;
    return;
  }
  Slot& slot = slots_[list];
  const uint32_t end = slot.last;
  Chunk& c = chunk(end);
  const Entry& moved = c.entries[--c.count];
  if (moved.timer != &timer) {
    moved.timer->place_ = timer.place_;
    hole = moved;
  }
  if (c.count > 0) return;
  slot.last = c.prev;
  (slot.last ? chunk(slot.last).next : slot.first) = 0;
  give_back(end);
  if (slot.first == 0) occupied_[list / kSlots] &= ~(uint64_t(1) << list % kSlots);
}

void TimerWheel::place(const Entry& entry, uint64_t earliest) {
  const uint64_t due = std::max(due_tick({entry.deadline_ns}), earliest);
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
  append(uint32_t(level * kSlots + slot), entry);
  occupied_[level] |= uint64_t(1) << slot;
}

void TimerWheel::arm(Timer& timer, Instant deadline) {
  MR_ASSERT(!deadline.is_never());
  if (timer.armed()) {
    remove(timer);
  } else {
    ++armed_;
  }
  timer.deadline_ = deadline;
  place({&timer, deadline.ns}, tick_ + 1);
}

void TimerWheel::cancel(Timer& timer) {
  if (!timer.armed()) return;
  remove(timer);
  timer.place_ = 0;
  --armed_;
}

// Empties the slot; its chunks, the first of which is returned, are the caller's.
uint32_t TimerWheel::take_slot(uint32_t list) {
  const uint32_t first = std::exchange(slots_[list], {}).first;
  occupied_[list / kSlots] &= ~(uint64_t(1) << list % kSlots);
  for (uint32_t i = first; i; i = chunk(i).next) chunk(i).list = kFiring;
  return first;
}

void TimerWheel::cascade(int level) {
  const int slot = int(tick_ >> (level * kSlotBits)) & (kSlots - 1);
  // A timer due at this very tick lands in the level-0 slot that is fired right after the cascade.
  for (uint32_t i = take_slot(uint32_t(level * kSlots + slot)); i;) {
    const Chunk& c = chunk(i);
    for (uint32_t k = 0; k < c.count; ++k) prefetch(c.entries[k].timer);
    for (uint32_t k = 0; k < c.count; ++k) place(c.entries[k], tick_);
    give_back(std::exchange(i, c.next));
  }
}

void TimerWheel::fire_slot(int slot, Instant now) {
  for (uint32_t i = take_slot(uint32_t(slot)); i;) {
    Chunk& c = chunk(i);
    for (uint32_t k = 0; k < c.count; ++k) prefetch(c.entries[k].timer);
    for (uint32_t k = 0; k < c.count; ++k) {
      Timer* timer = c.entries[k].timer;
      if (!timer) continue;  // cancelled, or armed anew, by the callback of another
      timer->place_ = 0;
      --armed_;
      timer->callback_(*timer, timer->owner_, now);
    }
    give_back(std::exchange(i, c.next));
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
