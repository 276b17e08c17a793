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
  epoch_started_ = true;
  epoch_ = now;
  growth_ = 0;
  w_est_ = float(cwnd);
  if (cwnd < w_max_) {
    origin_ = w_max_;
    k_seconds_ = float(std::cbrt((w_max_ - cwnd) / kC));  // RFC 9438 equation 2
  } else {
    origin_ = float(cwnd);
    k_seconds_ = 0;
  }
}

// RFC 9438 4.2: where the curve will be one round trip from now, within [cwnd, 1.5 cwnd].
double Cubic::target_segments(Instant now, uint32_t srtt_us, double cwnd) const {
  const double t = double((now - epoch_).ns) * 1e-9 + srtt_us * 1e-6 - k_seconds_;
  return std::clamp(kC * t * t * t + origin_, cwnd, 1.5 * cwnd);
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
  if (!epoch_started_) start_epoch(window, event.now);
  window.keeps_time = true;
  const double cwnd = double(window.cwnd_bytes) / window.mss_bytes;
  const double acked_segments = double(acked) / window.mss_bytes;
  // RFC 9438 4.3: once Reno's estimate is back where the window was cut it grows by one per window.
  const double alpha = w_est_ >= w_prior_ ? 1.0 : kAlpha;
  w_est_ = float(w_est_ + alpha * acked_segments / cwnd);
  double target = target_segments(event.now, event.srtt_us, cwnd);
  double gain = (target - cwnd) / cwnd * acked_segments;  // segments
  if (w_max_ == 0) gain = std::max(gain, acked_segments * kSearchGain);
  if (w_est_ > cwnd + gain) gain = std::min(w_est_ - cwnd, acked_segments);
  const double bytes = gain * window.mss_bytes + growth_;
  const double whole = std::floor(bytes);
  growth_ = float(bytes - whole);
  window.cwnd_bytes = uint32_t(std::min(double(window.cwnd_bytes) + whole, 1e9));
}

uint32_t Cubic::on_loss(const CongestionWindow& window, uint32_t) {
  const float cwnd = float(window.cwnd_bytes) / float(window.mss_bytes);
  w_max_before_ = w_max_;
  w_prior_ = cwnd;
  // RFC 9438 4.7 fast convergence: a flow that lost before it was back at its old maximum makes
  // room.
  w_max_ = cwnd < w_max_ ? float(cwnd * (1 + kBeta) / 2) : cwnd;
  epoch_started_ = false;
  return std::max(uint32_t(window.cwnd_bytes * kBeta), 2 * window.mss_bytes);
}

// RFC 9438 4.8: what was known of the path is no longer so.
void Cubic::on_timeout() {
  epoch_started_ = false;
  w_max_ = 0;
}

void Cubic::on_undo(const CongestionWindow&) {
  w_max_ = w_max_before_;
  epoch_started_ = false;
}

void Cubic::on_idle(CongestionWindow&, Instant, Duration idle) {
  // RFC 9438 5.8: time in which nothing was sent does not count on the curve.
  if (epoch_started_ && idle.ns > 0) epoch_ = epoch_ + idle;
}

}  // namespace millrace::tcp
