// SPDX-License-Identifier: MIT
// Round trip time and the retransmission timeout computed from it: RFC 6298 with Linux's floor,
// which sits under the variance term (RTO = SRTT + max(200 ms, 4*RTTVAR)) and lets the variance
// sink only once per round trip. Also the windowed minimum that RACK and HyStart need. Plain state,
// no clock.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.h"
#include "wire/seq.h"

namespace millrace::tcp {

class RttEstimator {
 public:
  static constexpr uint32_t kInitialRtoUs = 1'000'000;            // RFC 6298 2.1
  static constexpr Duration kMinWindow = Duration::seconds(300);  // as Linux

  // `una`, `nxt`: after the acknowledgement that gave the sample; they mark round trips.
  void sample(Instant now, Duration rtt, wire::Seq una, wire::Seq nxt, uint32_t rto_min_us);
  // The minimum also takes samples that are too good for the RTO (SACK).
  void note_min(Instant now, Duration rtt);
  // After a timeout without any sample RFC 6298 5.7 begins data with 3 s.
  void set_fallback_us(uint32_t rto_us) { fallback_us_ = rto_us; }

  bool valid() const { return srtt_us_ != 0; }
  uint32_t srtt_us() const { return srtt_us_; }
  uint32_t rttvar_us() const { return deviation_us_ / 4; }
  uint32_t min_us() const { return min_us_ == UINT32_MAX ? 0 : min_us_; }
  bool has_min() const { return min_us_ != UINT32_MAX; }
  // Without backoff; the caller doubles and caps.
  uint32_t rto_us(uint32_t rto_max_us) const {
    if (!valid()) return fallback_us_;
    return uint32_t(std::min<uint64_t>(uint64_t(srtt_us_) + deviation_us_, rto_max_us));
  }

 private:
  uint32_t srtt_us_ = 0;
  uint32_t mean_deviation_us_ = 0;   // 4 * RTTVAR of RFC 6298, moving with every sample
  uint32_t round_deviation_us_ = 0;  // its maximum in the present round trip, floored
  uint32_t deviation_us_ = 0;        // what the RTO uses
  uint32_t min_us_ = UINT32_MAX;
  uint32_t next_min_us_ = UINT32_MAX;  // minimum of the younger half of the window
  uint32_t fallback_us_ = kInitialRtoUs;
  wire::Seq round_end_;
  Instant min_since_{};
};

}  // namespace millrace::tcp
