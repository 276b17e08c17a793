// SPDX-License-Identifier: MIT
#include "tcp/congestion/cubic.h"

#include <algorithm>
#include <cmath>

namespace millrace::tcp {

namespace {
constexpr double kC = 0.4;
constexpr double kBeta = 0.7;
constexpr double kSearchGain = 0.05;  // of a window per round trip, while no maximum is known
constexpr double kAlpha = 3.0 * (1 - kBeta) / (1 + kBeta);  // RFC 9438 4.3: about 0.529
}  // namespace

void Cubic::start_epoch(const CongestionWindow& window, Instant now) {
  const double cwnd = double(window.cwnd_bytes) / window.mss_bytes;
  Curve& v = curve_;
  v.started = true;
  v.epoch = now;
  v.growth = 0;
  v.w_est = float(cwnd);
  if (cwnd < v.w_max) {
    v.origin = v.w_max;
    v.k_seconds = float(std::cbrt((v.w_max - cwnd) / kC));  // RFC 9438 equation 2
  } else {
    v.origin = float(cwnd);
    v.k_seconds = 0;
  }
}

// RFC 9438 4.2: where the curve will be one round trip from now, within [cwnd, 1.5 cwnd].
double Cubic::target_segments(Instant now, uint32_t srtt_us, double cwnd) const {
  const double t = double((now - curve_.epoch).ns) * 1e-9 + srtt_us * 1e-6 - curve_.k_seconds;
  return std::clamp(kC * t * t * t + curve_.origin, cwnd, 1.5 * cwnd);
}

void Cubic::on_ack(CongestionWindow& window, const AckEvent& event) {
  uint32_t acked = event.acked_bytes;
  if (window.slow_start()) {
    const uint32_t divisor = window.first_slow_start() ? hystart_.on_ack(window, event) : 1;
    if (window.slow_start()) {
      acked = slow_start(window, event, divisor);
      if (acked == 0) return;
    }
  }
  if (!curve_.started) start_epoch(window, event.now);
  window.keeps_time = true;
  Curve& v = curve_;
  const double cwnd = double(window.cwnd_bytes) / window.mss_bytes;
  const double acked_segments = double(acked) / window.mss_bytes;
  // RFC 9438 4.3: once Reno's estimate is back where the window was cut it grows by one per window.
  const double alpha = reno_slope_ && v.w_est >= v.w_prior ? 1.0 : kAlpha;
  v.w_est = float(v.w_est + alpha * acked_segments / cwnd);
  double target = target_segments(event.now, event.srtt_us, cwnd);
  double gain = (target - cwnd) / cwnd * acked_segments;  // segments
  if (v.w_max == 0) gain = std::max(gain, acked_segments * kSearchGain);
  if (v.w_est > cwnd + gain) gain = std::min(v.w_est - cwnd, acked_segments);
  const double bytes = gain * window.mss_bytes + v.growth;
  const double whole = std::floor(bytes);
  v.growth = float(bytes - whole);
  window.cwnd_bytes = uint32_t(std::min(double(window.cwnd_bytes) + whole, 1e9));
}

uint32_t Cubic::on_loss(const CongestionWindow& window, uint32_t) {
  const float cwnd = float(window.cwnd_bytes) / float(window.mss_bytes);
  before_ = curve_;
  curve_.w_prior = cwnd;
  // RFC 9438 4.7 fast convergence: a flow that lost before it was back at its old maximum makes
  // room.
  curve_.w_max = cwnd < curve_.w_max ? float(cwnd * (1 + kBeta) / 2) : cwnd;
  curve_.started = false;
  return std::max(uint32_t(window.cwnd_bytes * kBeta), 2 * window.mss_bytes);
}

// RFC 9438 4.8: what was known of the path is no longer so.
void Cubic::on_timeout() {
  curve_.started = false;
  curve_.w_max = 0;
}

// RFC 9438 4.9.1: the curve goes on as if nothing had happened.
void Cubic::on_undo(const CongestionWindow&) {
  curve_ = before_;
}

void Cubic::on_idle(CongestionWindow&, Instant, Duration idle) {
  // RFC 9438 5.8: time in which nothing was sent does not count on the curve.
  if (curve_.started && idle.ns > 0) curve_.epoch = curve_.epoch + idle;
}

}  // namespace millrace::tcp
