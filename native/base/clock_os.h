// SPDX-License-Identifier: MIT
// The one place that reads the machine's clock. Only the driver calls it; everything below gets
// `now`.
#pragma once

#include <ctime>

#include "base/time.h"

namespace millrace {

// CLOCK_MONOTONIC: never goes back, not moved by NTP steps.
inline Instant monotonic_now() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return {int64_t(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec};
}

// CLOCK_REALTIME, for stamps that people read.
inline Instant wall_clock_now() {
  timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return {int64_t(ts.tv_sec) * 1'000'000'000 + ts.tv_nsec};
}

}  // namespace millrace
