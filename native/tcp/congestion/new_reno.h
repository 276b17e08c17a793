// SPDX-License-Identifier: MIT
// The classic: RFC 5681 growth with byte counting, halving on loss.
#pragma once

#include "tcp/congestion/congestion_control.h"

namespace millrace::tcp {

class NewReno final : public CongestionController {
 public:
  const char* name() const override { return "reno"; }
  void on_ack(CongestionWindow& window, const AckEvent& event) override;
  uint32_t on_loss(const CongestionWindow& window, uint32_t flight_bytes) override;
  void on_timeout() override {}
  void on_undo(const CongestionWindow&) override { credit_bytes_ = 0; }
  void on_idle(CongestionWindow&, Instant, Duration) override {}

 private:
  uint32_t credit_bytes_ = 0;  // acknowledged since the window last grew
};

}  // namespace millrace::tcp
