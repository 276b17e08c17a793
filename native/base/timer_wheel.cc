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
  if (list == firing_) {
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
  if (slot.first == 0) mark_empty(list);
}

void TimerWheel::mark_occupied(uint32_t list) {
  if (list < kFirstSlots) {
    first_occupied_[list / 64] |= uint64_t(1) << list % 64;
    first_words_ |= uint16_t(1u << list / 64);
  } else {
    occupied_[(list - kFirstSlots) / kSlots + 1] |= uint64_t(1) << list % kSlots;
  }
}

void TimerWheel::mark_empty(uint32_t list) {
  if (list < kFirstSlots) {
    uint64_t& word = first_occupied_[list / 64];
    word &= ~(uint64_t(1) << list % 64);
    if (word == 0) first_words_ &= uint16_t(~(1u << list / 64));
  } else {
    occupied_[(list - kFirstSlots) / kSlots + 1] &= ~(uint64_t(1) << list % kSlots);
  }
}

// The lowest level in which no other tick until then has the same slot.
uint32_t TimerWheel::list_for(uint64_t due) const {
  if (due - tick_ < kFirstSlots) return uint32_t(due % kFirstSlots);
  int level = 1;
  while (level < kLevels - 1 && (due >> shift_of(level)) - (tick_ >> shift_of(level)) >= kSlots) {
    ++level;
  }
  const int shift = shift_of(level);  // beyond the horizon: as far as it goes
  return list_of(level, std::min(due >> shift, (tick_ >> shift) + kSlots - 1));
}

void TimerWheel::place(const Entry& entry, uint64_t earliest) {
  const uint64_t due = std::max(due_tick({entry.deadline_ns}), earliest);
  const uint32_t list = list_for(due);
  append(list, entry);
  mark_occupied(list);
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
  if (first) mark_empty(list);
  return first;
}

void TimerWheel::cascade(int level) {
  // A timer due at this very tick lands in the slot that is fired right after the cascade.
  for (uint32_t i = take_slot(list_of(level, tick_ >> shift_of(level))); i;) {
    const Chunk& c = chunk(i);
    prefetch(&chunk(c.next), sizeof(Chunk));
    for (uint32_t k = 0; k < c.count; ++k) prefetch(c.entries[k].timer);
    for (uint32_t k = 0; k < c.count; ++k) place(c.entries[k], tick_);
    give_back(std::exchange(i, c.next));
  }
}

// What a timer needs is asked for half a chunk ahead of its turn, and chunks a whole one ahead.
void TimerWheel::fire_slot(uint32_t list, Instant now) {
  const auto prefetch_timers = [this](uint32_t index) {
    const Chunk& c = chunk(index);
    for (uint32_t k = 0; k < c.count; ++k) prefetch(c.entries[k].timer);
  };
  uint32_t i = take_slot(list);
  firing_ = list;
  if (i) prefetch_timers(i);
  while (i) {
    Chunk& c = chunk(i);
    const uint32_t next = c.next;
    prefetch(&chunk(next), sizeof(Chunk));
    for (uint32_t k = 0; k < c.count; ++k) {
      if (k == kEntries / 2 && next) prefetch_timers(next);
      Timer* timer = c.entries[k].timer;
      if (!timer) continue;  // cancelled, or armed anew, by the callback of another
      timer->place_ = 0;
      --armed_;
      timer->callback_(*timer, timer->owner_, now);
    }
    give_back(i);
    i = next;
  }
  firing_ = kNone;
}

void TimerWheel::advance(Instant now) {
  const uint64_t target = tick_of(now);
  while (tick_ < target) {
    const uint64_t next = next_tick();
    if (next > target) {  // nothing on the way, not even a cascade
      tick_ = target;
      return;
    }
    tick_ = next;
    for (int level = kLevels - 1; level > 0; --level) {
      const uint64_t mask = (uint64_t(1) << shift_of(level)) - 1;
      if ((tick_ & mask) == 0 && occupied_[level]) cascade(level);
    }
    fire_slot(uint32_t(tick_ % kFirstSlots), now);
  }
}

// How many ticks from now the nearest occupied slot of the first level is; there is one.
uint32_t TimerWheel::first_level_ahead() const {
  const uint32_t from = uint32_t(tick_ + 1) % kFirstSlots, word = from / 64;
  if (const uint64_t here = first_occupied_[word] >> from % 64) {
    return 1 + uint32_t(std::countr_zero(here));
  }
  // The words behind it, and itself at last: what is there before `from` is farthest away.
  const int behind = std::countr_zero(std::rotr(first_words_, int(word + 1) % int(kWords)));
  const uint64_t found = first_occupied_[(word + 1 + uint32_t(behind)) % kWords];
  return 1 + uint32_t(behind + 1) * 64 - from % 64 + uint32_t(std::countr_zero(found));
}

// The next tick with something to fire or to be sorted in anew; UINT64_MAX when nothing is armed.
uint64_t TimerWheel::next_tick() const {
  uint64_t next = UINT64_MAX;
  if (first_words_) next = tick_ + first_level_ahead();
  for (int level = 1; level < kLevels; ++level) {
    if (!occupied_[level]) continue;
    const int shift = shift_of(level);
    const uint64_t base = tick_ >> shift;
    // Rotated so that bit 0 is the slot after the current one: the nearest occupied slot ahead.
    const int first = int((base + 1) % kSlots);
    const uint64_t ahead = uint64_t(std::countr_zero(std::rotr(occupied_[level], first))) + 1;
    next = std::min(next, (base + ahead) << shift);
  }
  return next;
}

Instant TimerWheel::next_deadline() const {
  if (armed_ == 0) return Instant::never();
  const uint64_t next = next_tick();
  return next == UINT64_MAX ? Instant::never() : Instant{int64_t(next << kTickShift)};
}

}  // namespace millrace
