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
  // `reno_slope`: StackOptions::cubic_reno_slope.
  explicit Cubic(bool reno_slope = true) : reno_slope_(reno_slope) {}
  const char* name() const override { return "cubic"; }
  void on_ack(CongestionWindow& window, const AckEvent& event) override;
  uint32_t on_loss(const CongestionWindow& window, uint32_t flight_bytes) override;
  void on_timeout() override;
  void on_undo(const CongestionWindow& window) override;
  void on_idle(CongestionWindow& window, Instant now, Duration idle) override;

 private:
  // Windows in segments.
  struct Curve {
    Instant epoch{};
    bool started = false;
    float w_max = 0;
    float w_prior = 0;  // window when it was last cut
    float k_seconds = 0;
    float origin = 0;  // window at which the curve is flat
    float w_est = 0;   // what Reno would have by now
    float growth = 0;  // fraction of a byte's growth carried over, in bytes
  };
  void start_epoch(const CongestionWindow& window, Instant now);
  double target_segments(Instant now, uint32_t srtt_us, double cwnd) const;

  const bool reno_slope_;
  Curve curve_;
  Curve before_;  // the last loss, for undo
  HyStart hystart_;
};

}  // namespace millrace::tcp
