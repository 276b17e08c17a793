// SPDX-License-Identifier: MIT
// Long-term sampling: a token bucket lets a burst pass and then drops whatever exceeds its rate.
// Two intervals between losses with the same, lossy rate show that; the sender keeps to the rate
// for 48 rounds, and tries again.
#include <algorithm>
#include <cmath>

#include "tcp/congestion/bbr.h"

namespace millrace::tcp {

namespace {

constexpr uint8_t kIntervalRounds = 4;     // at least; four times as many at most
constexpr double kLossShare = 50.0 / 256;  // of what was delivered
constexpr float kRateShare = 0.125f;       // rates within an eighth are the same
constexpr float kRateBytesPerS = 500;      // or within 4 kbit/s
constexpr uint8_t kPolicedRounds = 48;

}  // namespace

void Bbr::begin_policer_interval(const RateSample& s) {
  policer_at_ = s.now;
  policer_delivered_ = s.delivered_bytes;
  policer_lost_ = s.lost_total_bytes;
  policer_rounds_ = 0;
}

void Bbr::forget_policer() {
  policed_rate_ = 0;
  policed_ = false;
  policer_sampling_ = false;
  policer_rounds_ = 0;
}

void Bbr::end_policer_interval(const RateSample& s, float rate) {
  if (policed_rate_ > 0) {
    const float difference = std::fabs(rate - policed_rate_);
    if (difference <= kRateShare * policed_rate_ || difference <= kRateBytesPerS) {
      policed_rate_ = (rate + policed_rate_) / 2;
      policed_ = true;
      policer_rounds_ = 0;
      return;
    }
  }
  policed_rate_ = rate;
  begin_policer_interval(s);
}

void Bbr::sample_policer(const RateSample& s) {
  if (policed_) {
    if (mode_ == Mode::kProbeBandwidth && round_start_ && ++policer_rounds_ >= kPolicedRounds) {
      forget_policer();
      enter_probe_bandwidth(s.now);
    }
    return;
  }
  if (!policer_sampling_) {  // from loss to loss: the bucket is empty at both ends
    if (s.lost_bytes == 0) return;
    begin_policer_interval(s);
    policer_sampling_ = true;
  }
  if (s.app_limited) {
    forget_policer();
    return;
  }
  if (round_start_) ++policer_rounds_;
  if (policer_rounds_ < kIntervalRounds) return;
  if (policer_rounds_ > 4 * kIntervalRounds) {
    forget_policer();
    return;
  }
  if (s.lost_bytes == 0) return;
  const double lost = s.lost_total_bytes - policer_lost_;
  const double delivered = double(s.delivered_bytes - policer_delivered_);
  if (delivered <= 0 || lost < delivered * kLossShare) return;
  const int64_t us = (s.now - policer_at_).micros();
  if (us < 1000) return;
  end_policer_interval(s, float(delivered * 1e6 / double(us)));
}

}  // namespace millrace::tcp
