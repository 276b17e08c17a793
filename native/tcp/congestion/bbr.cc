// SPDX-License-Identifier: MIT
#include "tcp/congestion/bbr.h"

#include <algorithm>
#include <cmath>

namespace millrace::tcp {

namespace {

constexpr uint32_t kBandwidthRounds = 10;
constexpr Duration kMinRttWindow = Duration::seconds(10);
constexpr Duration kProbeRttTime = Duration::millis(200);
constexpr float kHighGain = 2.885f;  // 2/ln 2: doubles the rate in every round
constexpr float kWindowGain = 2.0f;
constexpr float kPacingMargin = 0.99f;  // a little below the line's rate: no queue builds up
constexpr float kPhaseGain[] = {1.25f, 0.75f, 1, 1, 1, 1, 1, 1};
constexpr uint8_t kPhases = 8;
constexpr uint32_t kPhasesRandom = 7;  // any phase but the one that drains
constexpr uint32_t kWindowMinSegments = 4;
constexpr uint32_t kInitialSegments = 10;
constexpr float kFullGrowth = 1.25f;
constexpr uint8_t kFullRounds = 3;
constexpr uint8_t kAggregationRounds = 5;
constexpr uint32_t kAggregationBytesMax = 1u << 30;
constexpr float kAggregationMaxSeconds = 0.1f;
constexpr uint32_t kSlowBytesPerS = 150'000;  // 1.2 Mbit/s: below it a burst is one segment

}  // namespace

void Bbr::begin(CongestionWindow& w, Instant now, uint32_t srtt_us) {
  min_rtt_at_ = aggregation_at_ = cycle_at_ = now;
  w.ssthresh_bytes = UINT32_MAX;
  w.keeps_time = true;
  pace_by_rtt(w, srtt_us);
}

// The first rate: the initial window in a round trip, at the gain of the start.
void Bbr::pace_by_rtt(CongestionWindow& w, uint32_t srtt_us) {
  seen_rtt_ = srtt_us != 0;
  const double seconds = (srtt_us ? srtt_us : 1000) * 1e-6;
  w.pacing_bytes_per_s = uint64_t(w.cwnd_bytes / seconds * double(kHighGain * kPacingMargin));
}

bool Bbr::on_sample(CongestionWindow& w, const RateSample& s) {
  update_bandwidth(s);
  update_aggregation(w, s);
  update_cycle(w, s);
  look_for_full_pipe(s);
  update_drain(w, s);
  update_min_rtt(w, s);
  if (!seen_rtt_ && s.srtt_us) pace_by_rtt(w, s.srtt_us);
  set_pacing_rate(w, pacing_gain());
  set_window(w, s);
  return mode_ == Mode::kProbeRtt;
}

// ---------------------------------------------------------------- the model

void Bbr::update_bandwidth(const RateSample& s) {
  round_start_ = false;
  if (s.sample_bytes < 0 || s.interval_us <= 0) return;
  if (s.prior_delivered_bytes >= next_round_bytes_) {
    next_round_bytes_ = s.delivered_bytes;
    ++round_;
    round_start_ = true;
    conserving_ = false;
  }
  sample_policer(s);
  const float rate = float(double(s.sample_bytes) * 1e6 / double(s.interval_us));
  // What the application held back says only that the path can do this much.
  if (!s.app_limited || rate >= best_[0].bytes_per_s) note_bandwidth(rate);
}

// The maximum over a window, from three candidates: the best, the best since that one, the best
// since that. One that has held its place for a part of the window makes room behind it.
void Bbr::note_bandwidth(float bytes_per_s) {
  const Best sample{round_, bytes_per_s};
  if (bytes_per_s >= best_[0].bytes_per_s || round_ - best_[2].round > kBandwidthRounds) {
    best_[0] = best_[1] = best_[2] = sample;
    return;
  }
  if (bytes_per_s >= best_[1].bytes_per_s) {
    best_[1] = best_[2] = sample;
  } else if (bytes_per_s >= best_[2].bytes_per_s) {
    best_[2] = sample;
  }
  const uint32_t age = round_ - best_[0].round;
  if (age > kBandwidthRounds) {
    best_[0] = best_[1];
    best_[1] = best_[2];
    best_[2] = sample;
    if (round_ - best_[0].round > kBandwidthRounds) {
      best_[0] = best_[1];
      best_[1] = best_[2];
    }
  } else if (best_[1].round == best_[0].round && age > kBandwidthRounds / 4) {
    best_[1] = best_[2] = sample;
  } else if (best_[2].round == best_[1].round && age > kBandwidthRounds / 2) {
    best_[2] = sample;
  }
}

// How much more arrives at once than the rate explains (Wi-Fi, merged ACKs): the window must cover
// it, or the sender would stand still in between.
void Bbr::update_aggregation(const CongestionWindow& w, const RateSample& s) {
  if (s.acked_bytes == 0 || s.sample_bytes < 0 || s.interval_us <= 0) return;
  if (round_start_ && ++aggregation_rounds_ >= kAggregationRounds) {
    aggregation_rounds_ = 0;
    aggregation_index_ = !aggregation_index_;
    aggregated_[aggregation_index_] = 0;
  }
  const double seconds = double((s.now - aggregation_at_).ns) * 1e-9;
  double expected = double(bandwidth()) * seconds;
  if (aggregation_bytes_ <= expected || aggregation_bytes_ > kAggregationBytesMax) {
    aggregation_bytes_ = 0;
    aggregation_at_ = s.now;
    expected = 0;
  }
  aggregation_bytes_ += s.acked_bytes;
  const double extra = std::min(double(aggregation_bytes_) - expected, double(w.cwnd_bytes));
  uint32_t& most = aggregated_[aggregation_index_];
  if (extra > most) most = uint32_t(extra);
}

void Bbr::next_phase(Instant now) {
  phase_ = uint8_t((phase_ + 1) % kPhases);
  cycle_at_ = now;
}

void Bbr::enter_probe_bandwidth(Instant now) {
  mode_ = Mode::kProbeBandwidth;
  seed_ = seed_ * 1664525 + 1013904223;  // flows that share a line must not probe in step
  phase_ = uint8_t(kPhases - 1 - (uint64_t(seed_) * kPhasesRandom >> 32));
  next_phase(now);
}

void Bbr::update_cycle(const CongestionWindow& w, const RateSample& s) {
  if (mode_ != Mode::kProbeBandwidth) return;
  const bool full_length = (s.now - cycle_at_).micros() > int64_t(min_rtt_us_);
  const float gain = pacing_gain();
  bool next = full_length;
  if (gain > 1) {
    next = full_length && (s.lost_bytes > 0 || s.prior_pipe_bytes >= in_flight_for(w, gain));
  } else if (gain < 1) {
    next = full_length || s.prior_pipe_bytes <= in_flight_for(w, 1);
  }
  if (next) next_phase(s.now);
}

// The start is over when three rounds did not bring a quarter more.
void Bbr::look_for_full_pipe(const RateSample& s) {
  if (full_ || !round_start_ || s.app_limited) return;
  if (best_[0].bytes_per_s >= full_rate_ * kFullGrowth) {
    full_rate_ = best_[0].bytes_per_s;
    full_rounds_ = 0;
    return;
  }
  full_ = ++full_rounds_ >= kFullRounds;
}

void Bbr::update_drain(CongestionWindow& w, const RateSample& s) {
  if (mode_ == Mode::kStartup && full_) {
    mode_ = Mode::kDrain;
    w.ssthresh_bytes = uint32_t(std::min<uint64_t>(in_flight_for(w, 1), UINT32_MAX - 1));
  }
  if (mode_ == Mode::kDrain && s.pipe_bytes <= in_flight_for(w, 1)) enter_probe_bandwidth(s.now);
}

void Bbr::update_min_rtt(CongestionWindow& w, const RateSample& s) {
  const bool expired = s.now > min_rtt_at_ + kMinRttWindow;
  if (s.rtt_us && (s.rtt_us < min_rtt_us_ || expired)) {
    min_rtt_us_ = s.rtt_us;
    min_rtt_at_ = s.now;
  }
  if (expired && !idle_restart_ && mode_ != Mode::kProbeRtt) {
    save_window(w);
    mode_ = Mode::kProbeRtt;
    probe_rtt_done_ = {};
  }
  if (mode_ == Mode::kProbeRtt && stay_at_min_rtt(w, s)) leave_probe_rtt(w, s.now);
  if (s.sample_bytes > 0) idle_restart_ = false;
}

// Four segments in flight for 200 ms and a round trip: the queue that others see is gone by then.
bool Bbr::stay_at_min_rtt(CongestionWindow& w, const RateSample& s) {
  if (probe_rtt_done_.ns == 0) {
    if (s.pipe_bytes > kWindowMinSegments * w.mss_bytes) return false;
    probe_rtt_done_ = s.now + kProbeRttTime;
    probe_rtt_round_ = false;
    next_round_bytes_ = s.delivered_bytes;
    return false;
  }
  if (round_start_) probe_rtt_round_ = true;
  return probe_rtt_round_;
}

void Bbr::leave_probe_rtt(CongestionWindow& w, Instant now) {
  if (probe_rtt_done_.ns == 0 || now <= probe_rtt_done_) return;
  min_rtt_at_ = now;
  w.cwnd_bytes = std::max(w.cwnd_bytes, prior_window_);
  if (full_) {
    enter_probe_bandwidth(now);
  } else {
    mode_ = Mode::kStartup;
  }
}

// ---------------------------------------------------------------- rate and window

float Bbr::pacing_gain() const {
  if (mode_ == Mode::kStartup) return kHighGain;
  if (mode_ == Mode::kDrain) return 1 / kHighGain;
  if (mode_ == Mode::kProbeRtt || policed_) return 1;
  return kPhaseGain[phase_];
}

float Bbr::window_gain() const {
  if (mode_ == Mode::kStartup || mode_ == Mode::kDrain) return kHighGain;
  return mode_ == Mode::kProbeRtt ? 1 : kWindowGain;
}

uint64_t Bbr::product_bytes(const CongestionWindow& w, float gain) const {
  if (min_rtt_us_ == UINT32_MAX) return kInitialSegments * w.mss_bytes;
  return uint64_t(std::ceil(double(bandwidth()) * min_rtt_us_ * 1e-6 * double(gain)));
}

// Room for whole bursts at the sender, the receiver and in between, and for the probe to show.
uint64_t Bbr::quantized(const CongestionWindow& w, uint64_t bytes) const {
  const uint64_t mss = w.mss_bytes;
  const uint64_t burst = std::min<uint64_t>(w.pacing_bytes_per_s >> 10, 65'000);
  const uint64_t least = w.pacing_bytes_per_s < kSlowBytesPerS ? 1 : 2;
  bytes += 3 * mss * std::clamp<uint64_t>(burst / mss, least, 127);
  bytes = (bytes + 2 * mss - 1) / (2 * mss) * (2 * mss);
  if (mode_ == Mode::kProbeBandwidth && phase_ == 0) bytes += 2 * mss;
  return bytes;
}

uint64_t Bbr::in_flight_for(const CongestionWindow& w, float gain) const {
  const float rate = best_[0].bytes_per_s;
  if (min_rtt_us_ == UINT32_MAX) return quantized(w, kInitialSegments * w.mss_bytes);
  return quantized(w, uint64_t(std::ceil(double(rate) * min_rtt_us_ * 1e-6 * double(gain))));
}

void Bbr::set_pacing_rate(CongestionWindow& w, float gain) {
  const uint64_t rate = uint64_t(double(bandwidth()) * double(gain) * double(kPacingMargin));
  // Before the pipe is known to be full a low sample must not slow the start down.
  if (rate > 0 && (full_ || rate > w.pacing_bytes_per_s)) w.pacing_bytes_per_s = rate;
}

void Bbr::save_window(const CongestionWindow& w) {
  const bool whole = prior_phase_ == RateSample::Phase::kOpen && mode_ != Mode::kProbeRtt;
  prior_window_ = whole ? w.cwnd_bytes : std::max(prior_window_, w.cwnd_bytes);
}

// The first round of a recovery sends what is delivered, no more; its end restores the window. True
// while the former.
bool Bbr::recover_or_restore(CongestionWindow& w, const RateSample& s) {
  using Phase = RateSample::Phase;
  if (s.lost_bytes > 0) {
    const uint32_t left = w.cwnd_bytes > s.lost_bytes ? w.cwnd_bytes - s.lost_bytes : 0;
    w.cwnd_bytes = std::max(left, w.mss_bytes);
  }
  if (s.phase == Phase::kFast && prior_phase_ != Phase::kFast) {
    conserving_ = true;
    next_round_bytes_ = s.delivered_bytes;
    w.cwnd_bytes = s.pipe_bytes + s.acked_bytes;
  } else if (prior_phase_ != Phase::kOpen && s.phase == Phase::kOpen) {
    w.cwnd_bytes = std::max(w.cwnd_bytes, prior_window_);
    conserving_ = false;
  }
  prior_phase_ = s.phase;
  if (conserving_) w.cwnd_bytes = std::max(w.cwnd_bytes, s.pipe_bytes + s.acked_bytes);
  return conserving_;
}

void Bbr::set_window(CongestionWindow& w, const RateSample& s) {
  if (s.acked_bytes > 0 && !recover_or_restore(w, s)) {
    uint64_t target = product_bytes(w, window_gain());
    if (full_) {
      const uint64_t most = uint64_t(double(bandwidth()) * double(kAggregationMaxSeconds));
      target += std::min<uint64_t>(std::max(aggregated_[0], aggregated_[1]), most);
    }
    target = std::min<uint64_t>(quantized(w, target), 1u << 30);
    const uint32_t grown = w.cwnd_bytes + s.acked_bytes;
    if (full_) {
      w.cwnd_bytes = std::min(grown, uint32_t(target));
    } else if (w.cwnd_bytes < target || s.delivered_bytes < kInitialSegments * w.mss_bytes) {
      w.cwnd_bytes = grown;
    }
    w.cwnd_bytes = std::max(w.cwnd_bytes, kWindowMinSegments * w.mss_bytes);
  }
  if (mode_ == Mode::kProbeRtt) {
    w.cwnd_bytes = std::min(w.cwnd_bytes, kWindowMinSegments * w.mss_bytes);
  }
}

// ---------------------------------------------------------------- events

uint32_t Bbr::on_loss(const CongestionWindow& w, uint32_t) {
  save_window(w);
  return w.ssthresh_bytes;
}

void Bbr::on_timeout() {
  prior_phase_ = RateSample::Phase::kLoss;
  full_rate_ = 0;
  round_start_ = true;
}

void Bbr::on_undo(const CongestionWindow&) {
  full_rate_ = 0;  // perhaps there was no loss and the pipe is not full
  full_rounds_ = 0;
  forget_policer();
}

// What follows is paced at the rate found before, and is no reason to probe the round trip: the
// silence has emptied the queue.
void Bbr::on_idle(CongestionWindow& w, Instant now, Duration) {
  idle_restart_ = true;
  aggregation_at_ = now;
  aggregation_bytes_ = 0;
  if (mode_ == Mode::kProbeBandwidth) {
    set_pacing_rate(w, 1);
  } else if (mode_ == Mode::kProbeRtt) {
    leave_probe_rtt(w, now);
  }
}

}  // namespace millrace::tcp
