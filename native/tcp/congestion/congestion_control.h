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
  // The algorithm keeps time: it is to be told of idleness (on_idle()). One that does not is left
  // alone, and so is its memory.
  bool keeps_time = false;
  uint64_t pacing_bytes_per_s = 0;  // 0: not paced
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

// What an ACK says about the rate at which the path delivers (draft-cheng-iccrg-delivery-rate-
// estimation): `sample_bytes` were delivered within `interval_us`, which is the longer of the times
// that sending them and that acknowledging them took.
struct RateSample {
  enum class Phase : uint8_t { kOpen, kFast, kLoss };
  Instant now;
  uint64_t delivered_bytes = 0;        // in all, by now
  uint64_t prior_delivered_bytes = 0;  // when the newest segment acknowledged here was sent
  int64_t sample_bytes = -1;           // -1: no sample
  int64_t interval_us = -1;
  uint32_t acked_bytes = 0;  // newly delivered
  uint32_t lost_bytes = 0;   // newly lost
  uint32_t lost_total_bytes = 0;
  uint32_t prior_pipe_bytes = 0;
  uint32_t pipe_bytes = 0;
  uint32_t rtt_us = 0;  // 0: no sample
  uint32_t srtt_us = 0;
  Phase phase = Phase::kOpen;
  bool app_limited = false;  // there was nothing to send at some time within the interval
};

class CongestionController {
 public:
  virtual ~CongestionController() = default;
  virtual const char* name() const = 0;
  // True: it sets window and pacing rate by on_sample(), in recovery too; neither on_ack() nor
  // proportional rate reduction is used.
  virtual bool rate_based() const { return false; }
  // The connection is established, or begins to use this algorithm.
  virtual void begin(CongestionWindow& window, Instant now, uint32_t srtt_us) {}
  // For every ACK. True: it holds the sender back itself, the samples of what is in flight count as
  // limited by the application.
  virtual bool on_sample(CongestionWindow& window, const RateSample& sample) { return false; }
  // Only called while the window is what limits the sender (RFC 7661 3).
  virtual void on_ack(CongestionWindow& window, const AckEvent& event) = 0;
  // A loss event: returns the new slow start threshold. The caller sets the window.
  virtual uint32_t on_loss(const CongestionWindow& window, uint32_t flight_bytes) = 0;
  // After on_loss(), when the event was a retransmission timeout.
  virtual void on_timeout() = 0;
  // The loss event was none (RFC 3522, 5682, DSACK): take back what on_loss() noted.
  virtual void on_undo(const CongestionWindow& window) = 0;
  // Nothing was in flight for this long; something is about to be sent.
  virtual void on_idle(CongestionWindow& window, Instant now, Duration idle) = 0;
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
