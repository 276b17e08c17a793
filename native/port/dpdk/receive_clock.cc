// SPDX-License-Identifier: MIT
#include "port/dpdk/receive_clock.h"

namespace millrace::dpdk {

void ReceiveClock::add(const Reading& reading) {
  if (any_) {
    const auto ticks = int64_t(reading.ticks - anchor_.ticks);
    const Duration passed = middle(reading) - middle(anchor_);
    // One that stands still, or was set back, is none until it runs again.
    ns_per_tick_ = ticks > 0 && passed.ns > 0 ? double(passed.ns) / double(ticks) : 0;
  }
  anchor_ = reading;
  any_ = true;
}

Instant ReceiveClock::time_of(uint64_t ticks, Instant now) const {
  if (!known()) return now;
  // Packets may be older than the last reading.
  const double since_anchor_ns = double(int64_t(ticks - anchor_.ticks)) * ns_per_tick_;
  const double age_ns = double((now - middle(anchor_)).ns) - since_anchor_ns;
  if (age_ns > double(kPast.ns) || age_ns < -double(kFuture.ns)) return now;
  return now - Duration::nanos(int64_t(age_ns));
}

}  // namespace millrace::dpdk
