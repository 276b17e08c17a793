// SPDX-License-Identifier: MIT
#include "tcp/recovery.h"

#include <algorithm>

#include "tcp/delivery_rate.h"
#include "tcp/output.h"
#include "tcp/path_mtu.h"
#include "tcp/timers.h"

namespace millrace::tcp {

namespace {

void save_for_undo(Connection& c) {
  LossState& l = c.loss;
  l.undo_possible = true;
  l.undo_resent = 0;
  l.undo_marker = c.snd.una;
  l.undo_cwnd_bytes = c.window.cwnd_bytes;
  l.undo_ssthresh_bytes = c.window.ssthresh_bytes;
  l.has_first_resend_ts = false;
}

// The window is not given back, whatever becomes of the losses.
void no_window_to_undo(LossState& l) {
  l.undo_cwnd_bytes = l.undo_ssthresh_bytes = 0;
}

void undo(Core& core, Connection& c) {
  LossState& l = c.loss;
  ++core.counters.tcp_spurious_recoveries;
  if (!c.rate_based) c.window.cwnd_bytes = std::max(c.window.cwnd_bytes, l.undo_cwnd_bytes);
  c.window.ssthresh_bytes = std::max(c.window.ssthresh_bytes, l.undo_ssthresh_bytes);
  if (l.undo_cwnd_bytes > 0) {
    c.congestion().on_undo(c.window);
    c.ecn.reduced = false;
  }
  c.snd.queue.unmark_lost();
  l.undo_possible = false;
  l.frto = false;
  l.phase = Recovery::kOpen;
  l.dupacks = 0;
  l.high = c.snd.una - 1;  // RFC 6582 3.2's "recover" guards against what did not happen
}

// RFC 3522: the ACK echoes a timestamp from before the first retransmission, so the original
// arrived.
bool eifel_says_spurious(const LossState& l, const AckSummary& a) {
  return l.undo_possible && l.has_first_resend_ts && a.ts_echo != 0 &&
         int32_t(a.ts_echo - l.first_resend_ts) < 0;
}

// RFC 3708: every retransmission of this recovery arrived as a duplicate.
bool dsack_says_spurious(const LossState& l, const AckSummary& a) {
  return l.undo_possible && a.resent_twice && l.has_first_resend_ts && l.undo_resent == 0;
}

// RFC 6937: as much out as the reduction allows for what has been delivered.
void reduce_proportionally(Connection& c, const AckSummary& a) {
  LossState& l = c.loss;
  if (c.rate_based) return;
  l.prr_delivered += a.delivered_bytes;
  const uint32_t pipe = pipe_bytes(c);
  const uint32_t mss = c.window.mss_bytes;
  const uint32_t ssthresh = c.window.ssthresh_bytes;
  int64_t send = 0;
  if (pipe > ssthresh) {
    const uint64_t flight = std::max<uint32_t>(l.prr_flight, 1);
    // In whole segments, rounded up (Linux): what is due in part goes with this ACK, not the next.
    const uint64_t due = (uint64_t(l.prr_delivered) * ssthresh + flight - 1) / flight;
    send = int64_t((due + mss - 1) / mss * mss) - l.prr_out;
  } else {
    send = std::max<int64_t>(int64_t(l.prr_delivered) - l.prr_out, a.delivered_bytes);
    if (a.una_advanced && !a.lost_now) send += mss;  // progress: slow start back to ssthresh
    send = std::min<int64_t>(send, ssthresh - pipe);
  }
  send = std::max<int64_t>(send, l.prr_out == 0 ? mss : 0);  // the first retransmission always goes
  c.window.cwnd_bytes = uint32_t(std::max<int64_t>(pipe + send, mss));
}

bool detect_loss(Core& core, Connection& c, AckSummary& a) {
  LossState& l = c.loss;
  TxQueue& q = c.snd.queue;
  if (!q.in_flight()) return false;
  if (c.sack) {
    a.lost_now = rack_detect_loss(core, a.now, c);
  } else if (l.phase == Recovery::kFast) {
    // RFC 6582 3.2 step 3: a partial ACK means that the next segment is lost too.
    if (a.una_advanced && !note_of(q.head).has(TxNote::kEverResent)) {
      q.mark_lost(q.head);
      a.lost_now = true;
    }
  } else if (l.dupacks >= kDupThresh && (l.phase == Recovery::kCwr || c.snd.una > l.high) &&
             l.phase != Recovery::kLoss) {
    q.mark_lost(q.head);
    a.lost_now = true;
  }
  return a.lost_now;
}

void count_dupacks(Connection& c, AckSummary& a) {
  LossState& l = c.loss;
  if (c.sack) return;
  const uint32_t mss = c.window.mss_bytes;
  if (a.duplicate) {
    if (l.dupacks < UINT8_MAX) ++l.dupacks;
    a.delivered_bytes = std::min(mss, c.snd.queue.flight_bytes());
  } else if (a.una_advanced) {
    // Segments behind the hole were counted as delivered when their duplicates came.
    const uint32_t segments = (a.delivered_bytes + mss - 1) / mss;
    const uint32_t counted = std::min<uint32_t>(l.dupacks, segments ? segments - 1 : 0);
    a.delivered_bytes -= std::min(a.delivered_bytes, counted * mss);
    l.dupacks = l.phase == Recovery::kFast ? uint8_t(l.dupacks - counted) : 0;
  }
}

// What was resent may still turn out to have arrived twice: undo_possible stays. Reordered data
// fills its hole before the report about its retransmission comes.
void leave_recovery(Connection& c) {
  LossState& l = c.loss;
  if (l.phase != Recovery::kLoss && !c.rate_based) c.window.cwnd_bytes = c.window.ssthresh_bytes;
  if (l.phase != Recovery::kCwr) rack_recovered(l);
  l.phase = Recovery::kOpen;
  l.frto = false;
  l.dupacks = 0;
}

void fast_phase(Core& core, Connection& c, AckSummary& a) {
  LossState& l = c.loss;
  if ((a.una_advanced && eifel_says_spurious(l, a)) || dsack_says_spurious(l, a)) {
    undo(core, c);
    return;
  }
  if (c.snd.una >= l.high) {
    leave_recovery(c);
    return;
  }
  (void)detect_loss(core, c, a);
  reduce_proportionally(c, a);
}

// Starts to bring the window down to what congestion control says, by PRR.
void begin_reduction(Connection& c, uint32_t prior_flight_bytes) {
  LossState& l = c.loss;
  l.prr_delivered = 0;
  l.prr_out = 0;
  // RFC 9937 6.1: what was SACKed before will not count as delivered, nor does it count here.
  l.prr_flight =
      std::max<uint32_t>(std::min(prior_flight_bytes, c.window.cwnd_bytes), c.window.mss_bytes);
  c.window.ssthresh_bytes = c.congestion().on_loss(c.window, prior_flight_bytes);
  c.ecn.reduced = c.ecn.active;
}

// RFC 3168 6.1.2: a mark is answered like a loss, once per round trip: what is sent from here on
// can bring an echo of another.
void enter_cwr(Core& core, Connection& c, const AckSummary& a) {
  LossState& l = c.loss;
  ++core.counters.tcp_ecn_cuts;
  l.undo_possible = false;
  begin_reduction(c, a.prior_flight_bytes);
  l.phase = Recovery::kCwr;
  l.high = c.snd.nxt;
}

// kOpen and kCwr.
void open_phase(Core& core, Connection& c, AckSummary& a) {
  LossState& l = c.loss;
  // CWR goes with the first byte behind `high`: only its ACK ends the round.
  if (l.phase == Recovery::kCwr && c.snd.una > l.high) leave_recovery(c);
  late_dsack(core, c, a);
  if (a.ece && l.phase == Recovery::kOpen) enter_cwr(core, c, a);
}

// RFC 5682 3.1 (with SACK 3.2). True: what is marked lost must wait, new data goes out to find out.
void frto_step(Connection& c, const AckSummary& a) {
  LossState& l = c.loss;
  if (c.snd.nxt > l.high) {  // new data was sent after the first ACK
    if (a.newly_sacked || a.duplicate) l.frto = false;
  } else if (a.una_advanced && c.snd.una < l.high) {
    const bool new_data = c.snd.queue.unsent && c.snd.una + c.snd.window_bytes > c.snd.nxt;
    if (new_data) {
      l.high = c.snd.nxt;
      l.frto_new_data = true;
    } else {
      l.frto = false;
    }
  } else if (a.newly_sacked || a.duplicate) {
    l.frto = false;
  }
}

void loss_phase(Core& core, Connection& c, AckSummary& a) {
  LossState& l = c.loss;
  const bool recovered = c.snd.una >= l.high;
  if (a.una_advanced && eifel_says_spurious(l, a)) {
    undo(core, c);
    return;
  }
  if (l.frto) {
    if (a.original_delivered && l.undo_possible) {
      undo(core, c);
      return;
    }
    frto_step(c, a);
  }
  if (recovered) {
    if (dsack_says_spurious(l, a)) {
      undo(core, c);
    } else {
      leave_recovery(c);
    }
    return;
  }
  (void)detect_loss(core, c, a);
}

void grow_window(Connection& c, const AckSummary& a) {
  LossState& l = c.loss;
  const bool reducing = l.phase == Recovery::kFast || l.phase == Recovery::kCwr;
  if (reducing || a.delivered_bytes == 0 || !a.una_advanced) return;
  // RFC 7661: a window that was not used proves nothing. In slow start half of it is proof enough.
  const bool limited =
      c.cwnd_limited || (c.window.slow_start() && c.window.cwnd_bytes < 2 * c.flight_max_bytes);
  if (!limited) return;
  c.congestion().on_ack(c.window, {.now = a.now,
                                   .acked_bytes = a.delivered_bytes,
                                   .rtt_us = a.rtt_us,
                                   .srtt_us = c.rtt.srtt_us(),
                                   .una = c.snd.una,
                                   .nxt = c.snd.nxt,
                                   .after_timeout = l.phase == Recovery::kLoss});
}

}  // namespace

void note_resent(Connection& c, Instant now, bool first) {
  LossState& l = c.loss;
  if (!l.undo_possible) return;
  ++l.undo_resent;
  if (first && !l.has_first_resend_ts) {
    l.has_first_resend_ts = true;
    l.first_resend_ts = ts_now(now, c.ts_offset);
  }
}

void recover_with_other_congestion_control(Connection& c) {
  const Recovery phase = c.loss.phase;
  if (c.rate_based || (phase != Recovery::kFast && phase != Recovery::kCwr)) return;
  begin_reduction(c, c.snd.queue.flight_bytes());
}

void enter_recovery(Core& core, Instant now, Connection& c, uint32_t prior_flight_bytes) {
  LossState& l = c.loss;
  ++core.counters.tcp_fast_recoveries;
  save_for_undo(c);
  if (l.phase == Recovery::kCwr) {
    no_window_to_undo(l);  // the mark's cut stands, and is this round's
  } else {
    begin_reduction(c, prior_flight_bytes);
  }
  l.phase = Recovery::kFast;
  l.high = c.snd.nxt;
}

void enter_loss(Core& core, Instant now, Connection& c) {
  LossState& l = c.loss;
  TxQueue& q = c.snd.queue;
  const bool fresh = l.phase == Recovery::kOpen || c.snd.una >= l.high ||
                     (l.phase == Recovery::kLoss && l.backoff == 0);
  if (fresh) {
    save_for_undo(c);
    c.window.ssthresh_bytes = c.congestion().on_loss(c.window, q.flight_bytes());
    c.congestion().on_timeout();
    c.ecn.reduced = c.ecn.active;
  }
  // RFC 2018 8: a peer that SACKed the head would have acknowledged it. It has dropped what it had.
  const bool reneged = note_of(q.head).has(TxNote::kSacked);
  if (reneged) {
    ++core.counters.tcp_sack_reneged;
    forget_sack_hints(c);
  }
  const Duration patience = Duration::micros(l.rack_rtt_us);
  for (Frame* f = q.head; f != q.unsent; f = f->next) {
    TxNote& n = note_of(f);
    if (n.has(TxNote::kSacked)) {
      if (!reneged) continue;
      n.flags &= uint16_t(~TxNote::kSacked);
      q.sacked_bytes -= n.seq_length();
      --q.sacked_frames;
    } else if (c.sack && f != q.head && n.sent + patience > now) {
      continue;  // sent so recently that it cannot have been acknowledged yet
    }
    // All in the order of the stream: pieces of the head that were sent again do not go to the end.
    if (n.has(TxNote::kInLostList)) {
      q.requeue_lost(f);
    } else {
      q.mark_lost(f);
    }
  }
  l.dupacks = 0;
  l.phase = Recovery::kLoss;
  l.high = c.snd.nxt;
  l.frto = (fresh || l.backoff > 0) && c.snd.una < l.high;
  l.frto_new_data = false;
  l.probe_outstanding = false;
  c.window.cwnd_bytes = q.pipe_bytes() + c.window.mss_bytes;
  c.cwnd_limited = true;
}

void tail_probe_acked(Core& core, Connection& c, const AckSummary& a) {
  LossState& l = c.loss;
  if (c.snd.una < l.probe_end) return;
  if (!l.probe_resent || a.dsack) {
    l.probe_outstanding = false;  // new data arrived, or both the original and the probe did
  } else if (c.snd.una > l.probe_end) {
    // The probe repaired a loss that nobody else will answer for: RFC 8985 7.4.2.
    l.probe_outstanding = false;
    ++core.counters.tcp_loss_probe_recoveries;
    if (l.phase == Recovery::kOpen) {
      c.window.ssthresh_bytes = c.congestion().on_loss(c.window, a.prior_flight_bytes);
      if (!c.rate_based)
        c.window.cwnd_bytes = std::min(c.window.cwnd_bytes, c.window.ssthresh_bytes);
    }
  } else if (!a.una_advanced && !a.newly_sacked) {
    l.probe_outstanding = false;  // a duplicate ACK: the probe was superfluous
  }
}

void late_dsack(Core& core, Connection& c, const AckSummary& a) {
  if (c.loss.phase == Recovery::kOpen && dsack_says_spurious(c.loss, a)) undo(core, c);
}

void on_ack_recovery(Core& core, Connection& c, AckSummary& a) {
  LossState& l = c.loss;
  count_dupacks(c, a);
  rack_update_reordering(c, a);
  if (l.probe_outstanding) tail_probe_acked(core, c, a);
  if (l.phase == Recovery::kFast)
    fast_phase(core, c, a);
  else if (l.phase == Recovery::kLoss)
    loss_phase(core, c, a);
  else
    open_phase(core, c, a);
  if (l.phase <= Recovery::kCwr) {
    if (detect_loss(core, c, a) && !mtu_probe_lost(core, c))
      enter_recovery(core, a.now, c, a.prior_flight_bytes);
    if (l.phase != Recovery::kOpen) reduce_proportionally(c, a);
  }
  if (a.ece) no_window_to_undo(l);
  if (!c.rate_based) {
    grow_window(c, a);
  } else if (c.congestion().on_sample(c.window, rate_sample(c, a))) {
    c.rate.app_limited_until = std::max<uint64_t>(c.rate.delivered_bytes + pipe_bytes(c), 1);
  }
}

void rack_timeout(Core& core, Instant now, Connection& c) {
  LossState& l = c.loss;
  const uint32_t flight = c.snd.queue.flight_bytes();
  if (!rack_detect_loss(core, now, c) || mtu_probe_lost(core, c)) return;
  if (l.phase <= Recovery::kCwr) enter_recovery(core, now, c, flight);
  if (l.phase == Recovery::kFast) {
    AckSummary a;
    a.now = now;
    a.lost_now = true;
    reduce_proportionally(c, a);
  }
}

}  // namespace millrace::tcp
