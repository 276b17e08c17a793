// SPDX-License-Identifier: MIT
// Hierarchical timing wheel: arm, re-arm and cancel in O(1), whatever the number of connections.
// Ticks of 2^18 ns (about 0.26 ms). The first level has 1,024 slots and holds what is due within a
// quarter of a second, as acknowledgements and retransmissions are: they are sorted in once. Three
// levels of 64 slots each reach to 19 hours; a later deadline waits in the last one and is sorted
// in again as it comes nearer. A timer never fires early, and at most one tick late once advance()
// is called.
//
// A slot is a chain of small arrays in memory of the wheel's own, not a list through the timers:
// those lie in large objects, and unlinking one would touch two others that nobody else needs now.
// So arming writes to the end of an array, and firing reads one in sequence and asks for the memory
// of the timers ahead of their turn.
#pragma once

#include <array>
#include <cstdint>

#include "base/assert.h"
#include "base/os_memory.h"
#include "base/prefetch.h"
#include "base/time.h"

namespace millrace {

class TimerWheel;

// A timer embedded in its owner. `fire` gets the timer back and finds the owner from it.
class Timer {
 public:
  using Callback = void (*)(Timer& timer, void* owner, Instant now);
  Timer(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
  ~Timer() { MR_ASSERT(!armed()); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  bool armed() const { return place_ != 0; }
  Instant deadline() const { return deadline_; }  // meaningful while armed

 private:
  friend class TimerWheel;
  Callback callback_;
  void* owner_;
  Instant deadline_{};
  uint32_t place_ = 0;  // in the wheel: chunk and position; 0: not armed
};

class TimerWheel {
 public:
  // `timers_max`: so many may be armed at once; one more is a bug of the caller.
  explicit TimerWheel(Instant start, uint32_t timers_max = 1 << 17);
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
  static constexpr int kLevels = 4;
  static constexpr int kFirstBits = 10;  // of a tick: the slot of the first level
  static constexpr int kBits = 6;        // of the others
  static constexpr uint32_t kFirstSlots = 1 << kFirstBits;
  static constexpr uint32_t kSlots = 1 << kBits;
  static constexpr uint32_t kLists = kFirstSlots + (kLevels - 1) * kSlots;
  static constexpr uint32_t kWords = kFirstSlots / 64;
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kEntries = 15;
  static constexpr uint32_t kPlaces = 16;  // Timer::place_ is the chunk times this and the position

  static uint64_t tick_of(Instant t) { return t.ns <= 0 ? 0 : uint64_t(t.ns) >> kTickShift; }
  // The first tick at which a deadline has surely passed.
  static uint64_t due_tick(Instant t) { return tick_of({t.ns - 1}) + 1; }
  // A slot of this level, not of the first, is as many ticks long as this many bits count.
  static constexpr int shift_of(int level) { return kFirstBits + (level - 1) * kBits; }
  static constexpr uint32_t list_of(int level, uint64_t slot) {
    return kFirstSlots + uint32_t(level - 1) * kSlots + uint32_t(slot % kSlots);
  }

  struct Entry {
    Timer* timer;
    int64_t deadline_ns;
  };
  struct Chunk {
    uint32_t prev, next;  // of the same slot, or of the free ones; 0: none
    uint32_t list;        // the slot's
    uint32_t count;
    Entry entries[kEntries];  // all are live, but in the slot that fires the timer may be null
  };
  static_assert(sizeof(Chunk) == 256);
  struct Slot {
    uint32_t first = 0, last = 0;  // chunks
  };

  Chunk& chunk(uint32_t index) const { return reinterpret_cast<Chunk*>(memory_.data())[index]; }
  uint32_t take_chunk(uint32_t list);
  void give_back(uint32_t index);
  void append(uint32_t list, const Entry& entry);
  void remove(const Timer& timer);
  void place(const Entry& entry, uint64_t earliest);
  uint32_t list_for(uint64_t due) const;
  uint32_t take_slot(uint32_t list);
  void mark_occupied(uint32_t list);
  void mark_empty(uint32_t list);
  uint64_t next_tick() const;
  uint32_t first_level_ahead() const;
  void cascade(int level);
  void fire_slot(uint32_t list, Instant now);

  uint64_t tick_;  // the last tick whose slot has been fired
  uint32_t armed_ = 0;
  uint32_t chunks_max_;
  uint32_t fresh_ = 1;  // chunks from here on were never used; 0 is none
  uint32_t free_ = 0;
  uint32_t firing_ =
      kNone;  // the list that is being gone through: nothing is put into it meanwhile
  OsMemory memory_;
  // Which slots have timers: a bit each, and for the first level one more for each word of these.
  std::array<uint64_t, kWords> first_occupied_{};
  uint16_t first_words_ = 0;
  std::array<uint64_t, kLevels> occupied_{};
  std::array<Slot, kLists> slots_;
};

}  // namespace millrace
