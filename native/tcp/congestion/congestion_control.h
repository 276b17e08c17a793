// SPDX-License-Identifier: MIT
// Congestion control as the sender sees it: an algorithm decides how the window grows and how far
// it is cut; what was lost and what may be sent now is loss recovery's business. Everything is in
// bytes. RFC 5681, 3465, 6928.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "wire/seq.h"

namespace millrace::tcp {

struct CongestionWindow {
  uint32_t cwnd_bytes = 0;
  uint32_t ssthresh_bytes = UINT32_MAX;
  uint32_t mss_bytes = 0;
  bool slow_start() const { return cwnd_bytes < ssthresh_bytes; }
  // The very first slow start: nothing is known of the path yet.
  bool first_slow_start() const { return ssthresh_bytes == UINT32_MAX; }
};

struct AckEvent {
  Instant now;
  uint32_t acked_bytes = 0;  // newly delivered
  uint32_t rtt_us = 0;       // 0: no sample
  uint32_t srtt_us = 0;
  wire::Seq una{};  // after the acknowledgement
  wire::Seq nxt{};
  bool after_timeout = false;  // slow start that repairs a timeout
};

class CongestionController {
 public:
  virtual ~CongestionController() = default;
  virtual const char* name() const = 0;
  // Only called while the window is what limits the sender (RFC 7661 3).
  virtual void on_ack(CongestionWindow& window, const AckEvent& event) = 0;
  // A loss event: returns the new slow start threshold. The caller sets the window.
  virtual uint32_t on_loss(const CongestionWindow& window, uint32_t flight_bytes) = 0;
  // After on_loss(), when the event was a retransmission timeout.
  virtual void on_timeout() = 0;
  // The loss event was none (RFC 3522, 5682, DSACK): take back what on_loss() noted.
  virtual void on_undo(const CongestionWindow& window) = 0;
  // The sender was idle or limited by the application for this long.
  virtual void on_idle(Duration idle) = 0;
};

// Slow start with appropriate byte counting (RFC 3465), without its limit of 2 segments per
// acknowledgement (RFC 9406: 8 for senders that do not pace): receivers that coalesce answer dozens
// of segments with one ACK, and Linux counts them all. `divisor`: of the growth (RFC 9406). Returns
// bytes not used.
inline uint32_t slow_start(CongestionWindow& window, const AckEvent& event, uint32_t divisor = 1) {
  uint32_t grow = event.acked_bytes / divisor;
  const uint32_t room = window.ssthresh_bytes - window.cwnd_bytes;
  uint32_t left = 0;
  if (grow > room) {
    left = grow - room;
    grow = room;
  }
  window.cwnd_bytes += grow;
  return left;
}

}  // namespace millrace::tcp
