// SPDX-License-Identifier: MIT
// When a device took a packet, in the stack's time. A device that stamps what it receives counts
// ticks of its own, from a beginning and at a rate of which DPDK says nothing; but the counter can
// be read (rte_eth_read_clock), and so both are measured against the stack's clock, again and
// again, for neither is exact. Pure: it is told what was read. It knows no packets.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace millrace::dpdk {

class ReceiveClock {
 public:
  // The counter, read between two looks at the stack's clock.
  struct Reading {
    Instant before, after;
    uint64_t ticks = 0;
  };

  void add(const Reading& reading);
  // Two readings made it, and the counter runs forward.
  bool known() const { return ns_per_tick_ > 0; }
  // When the next reading is due.
  Instant next() const { return anchor_.after + kEvery; }
  // Of a stamp, in the stack's time; `now` where that cannot be: long past, or yet to come.
  Instant time_of(uint64_t ticks, Instant now) const;

 private:
  static constexpr Duration kEvery = Duration::seconds(1);
  // A packet may lie in a ring for a while, or come after the turn began that finds it.
  static constexpr Duration kPast = Duration::seconds(10);
  static constexpr Duration kFuture = Duration::millis(100);

  static Instant middle(const Reading& r) { return r.before + (r.after - r.before) / 2; }

  Reading anchor_{};
  bool any_ = false;
  double ns_per_tick_ = 0;
};

}  // namespace millrace::dpdk
