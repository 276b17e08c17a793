// SPDX-License-Identifier: MIT
// CUBIC (RFC 9438): after a loss the window climbs back along a cubic curve around the size at
// which the loss happened, independent of the round trip time, and never slower than Reno would.
// The first slow start ends by HyStart++ (RFC 9406). Beyond the RFC, as Linux: while no loss has
// told of a maximum the window grows by a twentieth per round trip at least.
#pragma once

#include "tcp/congestion/hystart.h"

namespace millrace::tcp {

class Cubic final : public CongestionController {
 public:
  const char* name() const override { return "cubic"; }
  void on_ack(CongestionWindow& window, const AckEvent& event) override;
  uint32_t on_loss(const CongestionWindow& window, uint32_t flight_bytes) override;
  void on_timeout() override;
  void on_undo(const CongestionWindow& window) override;
  void on_idle(CongestionWindow& window, Instant now, Duration idle) override;

 private:
  void start_epoch(const CongestionWindow& window, Instant now);
  double target_segments(Instant now, uint32_t srtt_us, double cwnd) const;

  Instant epoch_{};
  float w_max_ = 0;         // segments, like all below
  float w_max_before_ = 0;  // for undo
  float w_prior_ = 0;       // window when it was last cut
  float k_seconds_ = 0;
  float origin_ = 0;  // window at which the curve is flat
  float w_est_ = 0;   // what Reno would have by now
  float growth_ = 0;  // fraction of a byte's growth carried over, in bytes
  bool epoch_started_ = false;
  HyStart hystart_;
};

}  // namespace millrace::tcp
