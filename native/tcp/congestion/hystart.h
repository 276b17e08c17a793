// SPDX-License-Identifier: MIT
// HyStart++ (RFC 9406): leaves the first slow start when round trips grow, before the queue of the
// bottleneck overflows. What looks like that is tried for five rounds at a quarter of the growth
// (conservative slow start), and taken back should the round trips shrink again.
#pragma once

#include "tcp/congestion/congestion_control.h"

namespace millrace::tcp {

class HyStart {
 public:
  // For every ACK in the first slow start, before the window grows. Returns what growth is to be
  // divided by; sets ssthresh when slow start is over.
  uint32_t on_ack(CongestionWindow& window, const AckEvent& event);

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  void begin_round(const AckEvent& event);

  wire::Seq round_end_;
  uint32_t last_min_us_ = kNone;   // of the previous round
  uint32_t round_min_us_ = kNone;  // of this one so far
  uint32_t baseline_us_ = kNone;   // when conservative slow start began
  uint8_t samples_ = 0;
  uint8_t conservative_rounds_ = 0;
  bool begun_ = false;
  bool conservative_ = false;
};

}  // namespace millrace::tcp
