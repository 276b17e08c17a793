// SPDX-License-Identifier: MIT
#include "tcp/congestion/hystart.h"

#include <algorithm>

namespace millrace::tcp {

namespace {

// RFC 9406 4.3, where L is slow_start()'s.
constexpr uint32_t kMinThresholdUs = 4'000;
constexpr uint32_t kMaxThresholdUs = 16'000;
constexpr uint32_t kMinRttDivisor = 8;
constexpr uint8_t kSamples = 8;
constexpr uint32_t kGrowthDivisor = 4;
constexpr uint8_t kConservativeRounds = 5;

}  // namespace

void HyStart::begin_round(const AckEvent& event) {
  begun_ = true;
  round_end_ = event.nxt;
  last_min_us_ = round_min_us_;
  round_min_us_ = kNone;
  samples_ = 0;
}

uint32_t HyStart::on_ack(CongestionWindow& window, const AckEvent& event) {
  if (!begun_) begin_round(event);
  if (event.rtt_us) {
    round_min_us_ = std::min(round_min_us_, event.rtt_us);
    if (samples_ < kSamples) ++samples_;
  }
  if (samples_ >= kSamples && conservative_ && round_min_us_ < baseline_us_) {
    conservative_ = false;  // it was no queue after all
    baseline_us_ = kNone;
  } else if (samples_ >= kSamples && !conservative_ && last_min_us_ != kNone) {
    const uint32_t threshold =
        std::clamp(last_min_us_ / kMinRttDivisor, kMinThresholdUs, kMaxThresholdUs);
    if (round_min_us_ >= last_min_us_ + threshold) {
      conservative_ = true;
      conservative_rounds_ = 0;
      baseline_us_ = round_min_us_;
    }
  }
  if (event.una >= round_end_) {
    begin_round(event);
    // The round in which it began counts, however little was left of it.
    if (conservative_ && ++conservative_rounds_ >= kConservativeRounds) {
      window.ssthresh_bytes = window.cwnd_bytes;
    }
  }
  return conservative_ ? kGrowthDivisor : 1;
}

}  // namespace millrace::tcp
