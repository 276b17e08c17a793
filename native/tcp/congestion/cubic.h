// SPDX-License-Identifier: MIT
// CUBIC (RFC 9438): after a loss the window climbs back along a cubic curve around the size at
// which the loss happened, independent of the round trip time, and never slower than Reno would.
#pragma once

#include "tcp/congestion/congestion_control.h"

namespace millrace::tcp {

class Cubic final : public CongestionController {
 public:
  const char* name() const override { return "cubic"; }
  void on_ack(CongestionWindow& window, const AckEvent& event) override;
  uint32_t on_loss(const CongestionWindow& window, uint32_t flight_bytes) override;
  void on_timeout() override { epoch_started_ = false; }
  void on_undo(const CongestionWindow& window) override;
  void on_idle(Duration idle) override;

 private:
  void start_epoch(const CongestionWindow& window, Instant now);
  double target_segments(Instant now, uint32_t srtt_us, double cwnd) const;

  Instant epoch_{};
  float w_max_ = 0;         // segments, like all below
  float w_max_before_ = 0;  // for undo
  float k_seconds_ = 0;
  float origin_ = 0;  // window at which the curve is flat
  float w_est_ = 0;   // what Reno would have by now
  float growth_ = 0;  // fraction of a byte's growth carried over, in bytes
  bool epoch_started_ = false;
};

}  // namespace millrace::tcp
