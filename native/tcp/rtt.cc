// SPDX-License-Identifier: MIT
#include "tcp/rtt.h"

namespace millrace::tcp {

void RttEstimator::sample(Instant now, Duration rtt, wire::Seq una, wire::Seq nxt,
                          uint32_t rto_min_us) {
  const int64_t r = std::clamp<int64_t>(rtt.micros(), 1, 3'600'000'000ll / 2);
  if (!valid()) {
    srtt_us_ = uint32_t(r);
    mean_deviation_us_ = uint32_t(std::min<int64_t>(2 * r, UINT32_MAX));  // 4 * R/2
    deviation_us_ = round_deviation_us_ = std::max(mean_deviation_us_, rto_min_us);
    round_end_ = nxt;
  } else {
    const int64_t error = r - int64_t(srtt_us_);
    srtt_us_ = uint32_t(std::max<int64_t>(1, int64_t(srtt_us_) + error / 8));
    const int64_t magnitude = error < 0 ? -error : error;
    // RTTVAR += (|error| - RTTVAR) / 4, in the scale of 4 * RTTVAR. A sudden fall of the RTT must
    // not look like jitter: downwards the gain is an eighth of it (the estimator of Linux).
    int64_t delta = magnitude - int64_t(mean_deviation_us_) / 4;
    if (error < 0 && delta > 0) delta /= 8;
    mean_deviation_us_ = uint32_t(std::max<int64_t>(0, int64_t(mean_deviation_us_) + delta));
    round_deviation_us_ = std::max(round_deviation_us_, mean_deviation_us_);
    deviation_us_ = std::max(deviation_us_, round_deviation_us_);
    if (una > round_end_) {
      if (round_deviation_us_ < deviation_us_) {
        deviation_us_ -= (deviation_us_ - round_deviation_us_) / 4;
      }
      round_end_ = nxt;
      round_deviation_us_ = rto_min_us;
    }
  }
  note_min(now, rtt);
}

void RttEstimator::note_min(Instant now, Duration rtt) {
  const uint32_t r = uint32_t(std::clamp<int64_t>(rtt.micros(), 1, UINT32_MAX - 1));
  if (now - min_since_ > kMinWindow / 2) {
    // The younger half becomes the whole: a minimum lives for one to two half windows.
    min_us_ = next_min_us_ == UINT32_MAX ? r : next_min_us_;
    next_min_us_ = UINT32_MAX;
    min_since_ = now;
  }
  min_us_ = std::min(min_us_, r);
  next_min_us_ = std::min(next_min_us_, r);
}

}  // namespace millrace::tcp
