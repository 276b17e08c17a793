// SPDX-License-Identifier: MIT
// BBR version 1, as Linux's "bbr" (draft-cardwell-iccrg-bbr-congestion-control-00): a model of the
// path (the bandwidth of the bottleneck, the round trip without a queue) from delivery rate
// samples, a pacing rate and a window from the model. Losses do not shrink it; a policer that drops
// by a token bucket is found by its steady loss (long-term sampling).
//
// Where this differs from Linux: everything is in bytes, and a delayed ACK may refresh the minimum
// round trip.
#pragma once

#include "tcp/congestion/congestion_control.h"

namespace millrace::tcp {

class Bbr final : public CongestionController {
 public:
  explicit Bbr(uint32_t seed) : seed_(seed) {}
  const char* name() const override { return "bbr"; }
  bool rate_based() const override { return true; }
  void begin(CongestionWindow& window, Instant now, uint32_t srtt_us) override;
  bool on_sample(CongestionWindow& window, const RateSample& sample) override;
  void on_ack(CongestionWindow&, const AckEvent&) override {}
  uint32_t on_loss(const CongestionWindow& window, uint32_t flight_bytes) override;
  void on_timeout() override;
  void on_undo(const CongestionWindow& window) override;
  void on_idle(CongestionWindow& window, Instant now, Duration idle) override;

 private:
  enum class Mode : uint8_t { kStartup, kDrain, kProbeBandwidth, kProbeRtt };
  struct Best {
    uint32_t round = 0;
    float bytes_per_s = 0;
  };

  // bbr.cc: the model
  void update_bandwidth(const RateSample& s);
  void note_bandwidth(float bytes_per_s);
  float bandwidth() const { return policed_ ? policed_rate_ : best_[0].bytes_per_s; }
  void update_aggregation(const CongestionWindow& w, const RateSample& s);
  void update_cycle(const CongestionWindow& w, const RateSample& s);
  void look_for_full_pipe(const RateSample& s);
  void update_drain(CongestionWindow& w, const RateSample& s);
  void update_min_rtt(CongestionWindow& w, const RateSample& s);
  bool stay_at_min_rtt(CongestionWindow& w, const RateSample& s);
  void leave_probe_rtt(CongestionWindow& w, Instant now);
  void enter_probe_bandwidth(Instant now);
  void next_phase(Instant now);
  // bbr.cc: what follows from it
  float pacing_gain() const;
  float window_gain() const;
  uint64_t in_flight_for(const CongestionWindow& w, float gain) const;
  uint64_t product_bytes(const CongestionWindow& w, float gain) const;
  uint64_t quantized(const CongestionWindow& w, uint64_t bytes) const;
  void set_pacing_rate(CongestionWindow& w, float gain);
  void pace_by_rtt(CongestionWindow& w, uint32_t srtt_us);
  void set_window(CongestionWindow& w, const RateSample& s);
  bool recover_or_restore(CongestionWindow& w, const RateSample& s);
  void save_window(const CongestionWindow& w);
  // bbr_policer.cc
  void sample_policer(const RateSample& s);
  void end_policer_interval(const RateSample& s, float rate);
  void begin_policer_interval(const RateSample& s);
  void forget_policer();

  Best best_[3];  // maximum of the bandwidth over ten rounds
  Instant min_rtt_at_{};
  Instant probe_rtt_done_{};  // 0: not yet at the floor
  Instant cycle_at_{};
  Instant aggregation_at_{};
  Instant policer_at_{};
  uint64_t next_round_bytes_ = 0;  // delivered when the present round ends
  uint64_t policer_delivered_ = 0;
  uint32_t policer_lost_ = 0;
  uint32_t min_rtt_us_ = UINT32_MAX;
  uint32_t round_ = 0;
  uint32_t prior_window_ = 0;  // before recovery or the probe of the round trip
  uint32_t aggregated_[2] = {0, 0};
  uint32_t aggregation_bytes_ = 0;
  uint32_t seed_;
  float full_rate_ = 0;
  float policed_rate_ = 0;
  Mode mode_ = Mode::kStartup;
  uint8_t phase_ = 0;  // of the cycle of gains
  uint8_t full_rounds_ = 0;
  uint8_t policer_rounds_ = 0;
  uint8_t aggregation_rounds_ = 0;
  RateSample::Phase prior_phase_ = RateSample::Phase::kOpen;
  bool round_start_ : 1 = false;
  bool full_ : 1 = false;
  bool seen_rtt_ : 1 = false;
  bool conserving_ : 1 = false;  // packet conservation in the first round of a recovery
  bool idle_restart_ : 1 = false;
  bool probe_rtt_round_ : 1 = false;
  bool policer_sampling_ : 1 = false;
  bool policed_ : 1 = false;
  bool aggregation_index_ : 1 = false;
};

}  // namespace millrace::tcp
