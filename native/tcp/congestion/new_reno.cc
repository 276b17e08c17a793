// SPDX-License-Identifier: MIT
#include "tcp/congestion/new_reno.h"

#include <algorithm>

namespace millrace::tcp {

void NewReno::on_ack(CongestionWindow& window, const AckEvent& event) {
  uint32_t acked = event.acked_bytes;
  if (window.slow_start()) {
    acked = slow_start(window, event);
    if (acked == 0) return;
  }
  // RFC 3465 2.1: one segment for every window's worth of acknowledged bytes.
  credit_bytes_ += acked;
  if (credit_bytes_ >= window.cwnd_bytes) {
    credit_bytes_ -= window.cwnd_bytes;
    window.cwnd_bytes += window.mss_bytes;
  }
}

uint32_t NewReno::on_loss(const CongestionWindow& window, uint32_t flight_bytes) {
  credit_bytes_ = 0;
  // RFC 5681 equation 4. What SACK has covered still counts as in flight there; beyond the window
  // it must not.
  return std::max(std::min(flight_bytes, window.cwnd_bytes) / 2, 2 * window.mss_bytes);
}

}  // namespace millrace::tcp
