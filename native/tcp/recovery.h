// SPDX-License-Identifier: MIT
// Loss: what an acknowledgement says about segments in flight, which of them are lost, how much may
// be sent meanwhile, and taking all of it back when nothing was lost. RACK-TLP (RFC 8985) finds
// losses by time, PRR (RFC 6937) meters recovery, F-RTO (RFC 5682), Eifel (RFC 3522) and DSACK (RFC
// 3708) undo.
#pragma once

#include "tcp/core.h"
#include "tcp/segment.h"

namespace millrace::tcp {

// Duplicate ACKs, or segments SACKed, that mean a loss (RFC 5681 3.2, RFC 8985 6.2).
inline constexpr uint32_t kDupThresh = 3;

// What one acknowledgement changed.
struct AckSummary {
  Seq prior_una;
  uint32_t prior_flight_bytes = 0;
  uint32_t prior_pipe_bytes = 0;
  uint32_t delivered_bytes = 0;  // newly acknowledged or SACKed
  uint32_t payload_bytes = 0;    // newly acknowledged payload
  bool una_advanced = false;
  bool newly_sacked = false;
  bool resent_acked = false;        // a segment that was sent more than once is acknowledged
  bool original_delivered = false;  // a segment from before the recovery, never resent, has arrived
  bool dsack = false;
  bool resent_twice = false;  // and it may be about a retransmission of ours
  bool duplicate = false;     // RFC 5681 duplicate ACK (peers without SACK)
  bool fin_acked = false;
  bool ece = false;       // the peer echoes a mark (RFC 3168)
  bool lost_now = false;  // more was marked lost
  // Delivery rate: of the segment among those newly delivered that was sent last.
  bool has_rate = false;
  bool rate_app_limited = false;
  uint32_t rate_order = 0;
  uint32_t rate_prior_bytes = 0;
  uint32_t rate_prior_us = 0;
  uint32_t rate_send_us = 0;
  uint32_t prior_lost_bytes = 0;
  Instant now;
  Instant oldest_sent = Instant::never();  // of newly acknowledged segments never resent
  Instant latest_sacked = Instant::never();
  uint32_t ts_echo = 0;  // 0: none
  uint32_t rtt_us = 0;
};

// --- sack.cc
// Takes the blocks of `s` into the scoreboard. Bounded: kSackStepsMax frames are looked at,
// whatever the blocks; SACK is advice, and what is left out is told again by later ACKs.
void take_sack(Core& core, Connection& c, const Segment& s, AckSummary& a);
void forget_sack_hints(Connection& c);

// --- rack.cc
void rack_delivered(Connection& c, TxNote& n, AckSummary& a);
void rack_update_reordering(Connection& c, const AckSummary& a);
void rack_recovered(LossState& l);  // from losses that were real
// Marks what RACK deems lost. Returns true if something was, sets the reordering timer if something
// may be.
bool rack_detect_loss(Core& core, Instant now, Connection& c);
void rack_timeout(Core& core, Instant now, Connection& c);

// --- recovery.cc
void on_ack_recovery(Core& core, Connection& c, AckSummary& a);
// Nothing is in flight any more, but the ACK may report that what was resent arrived twice.
void late_dsack(Core& core, Connection& c, const AckSummary& a);
void enter_loss(Core& core, Instant now, Connection& c);
void enter_recovery(Core& core, Instant now, Connection& c, uint32_t prior_flight_bytes);
void note_resent(Connection& c, Instant now, bool first);
// The algorithm has changed. One that cuts the window does so for the losses that are being
// repaired: the threshold at which that ends is the former's, or, after BBR, no threshold at all.
void recover_with_other_congestion_control(Connection& c);
// After a tail loss probe, RFC 8985 7.4.
void tail_probe_acked(Core& core, Connection& c, const AckSummary& a);

}  // namespace millrace::tcp
