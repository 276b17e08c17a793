// SPDX-License-Identifier: MIT
// Acknowledgements: RFC 9293 3.10.7.4 fifth, RFC 5961 5, RFC 6298 5, and what loss recovery makes
// of them.
#include <algorithm>

#include "tcp/emit.h"
#include "tcp/input.h"
#include "tcp/lifecycle.h"
#include "tcp/output.h"
#include "tcp/path_mtu.h"
#include "tcp/receive.h"
#include "tcp/recovery.h"
#include "tcp/timers.h"

namespace millrace::tcp {

namespace {

// RFC 9293 3.10.7.4: an old segment must not change the window (SND.WL1, SND.WL2). One that
// acknowledges new bytes is not old, whatever its number (a repeated FIN, say): keeping the old
// window with the new SND.UNA would move the right edge to where the peer never put it.
bool update_window(Core& core, Connection& c, const Segment& s) {
  Sender& t = c.snd;
  const uint32_t window = uint32_t(s.window) << t.shift;
  // Of several with the same numbers the largest counts (Linux): they may have been reordered.
  if (s.ack < t.una) return false;
  const bool newer = s.ack > t.una || s.seq > t.wl1 ||
                     (s.seq == t.wl1 && (window > t.window_bytes || window == 0));
  if (!newer) return false;
  t.wl1 = s.seq;
  t.wl2 = s.ack;
  const bool changed = window != t.window_bytes;
  t.window_bytes = window;
  if (window > t.window_max_bytes) {
    t.window_max_bytes = window;
    update_mss(core, c);
  }
  return changed;
}

// Takes what is acknowledged off the send queue.
void clean_queue(Core& core, Connection& c, Seq ack, AckSummary& a) {
  TxQueue& q = c.snd.queue;
  LossState& l = c.loss;
  while (q.in_flight()) {
    Frame* f = q.head;
    TxNote& n = note_of(f);
    if (n.end() > ack) break;
    if (!n.has(TxNote::kSacked)) {
      rack_delivered(c, n, a);
      a.delivered_bytes += n.seq_length();
      if (n.has(TxNote::kEverResent)) {
        a.resent_acked = true;
      } else {
        a.oldest_sent = std::min(a.oldest_sent, n.sent);
        if (n.end() <= l.high) a.original_delivered = true;
      }
    }
    a.payload_bytes += n.length;
    if (n.has(TxNote::kFin)) a.fin_acked = true;
    if (l.sack_cursor == f) l.sack_cursor = nullptr;
    q.pop_head();
    core.pool.release(f);
  }
  if (q.in_flight() && note_of(q.head).seq < ack) {  // part of a frame: the peer merged or split
    const uint32_t part = uint32_t(ack - note_of(q.head).seq);
    a.delivered_bytes += note_of(q.head).has(TxNote::kSacked) ? 0 : part;
    a.payload_bytes += part;
    q.trim_head(part);
  }
  c.stats.bytes_acked += a.payload_bytes;
  if (!a.resent_acked) return;
  // RFC 6298 3 (Karn): what lay behind the hole that was filled has waited for it, perhaps long.
  // And without SACK nothing says whether the originals or the repetitions arrived (Linux).
  a.oldest_sent = Instant::never();
  if (!c.sack) a.original_delivered = false;
}

void sample_rtt(Core& core, Connection& c, AckSummary& a) {
  int64_t us = 0;
  if (!a.oldest_sent.is_never()) {
    us = (a.now - a.oldest_sent).micros();
  } else if (!a.latest_sacked.is_never()) {
    us = (a.now - a.latest_sacked).micros();
  } else if (a.una_advanced && c.timestamps && a.ts_echo != 0) {
    const uint32_t ms = ts_now(a.now, c.ts_offset) - a.ts_echo;  // RFC 7323 4: also for resent data
    if (ms < 600'000) us = std::max<uint32_t>(ms, 1) * 1000ll;
  } else {
    return;
  }
  a.rtt_us = uint32_t(std::clamp<int64_t>(us, 1, INT32_MAX));
  c.rtt.sample(a.now, Duration::micros(a.rtt_us), c.snd.una, c.snd.nxt,
               uint32_t(core.options.rto_min.micros()));
  c.loss.backoff = 0;  // Karn: only a measurement ends the backoff
}

// Nothing is in flight: the ACK can only have opened the window or answered a probe.
void answer_to_probe(Core& core, Instant now, Connection& c) {
  const TxQueue& q = c.snd.queue;
  if (c.retransmit_mode != RetransmitMode::kPersist) return;
  const TxNote* n = q.unsent ? &note_of(q.unsent) : nullptr;
  const int32_t room = (c.snd.una + c.snd.window_bytes) - c.snd.nxt;
  if (!n || room >= int32_t(std::min<uint32_t>(n->length, c.snd.mss_bytes))) {
    c.loss.probe_backoff = 0;
    c.loss.stalled_since = {};
    c.retransmit_mode = RetransmitMode::kNone;
    clear_deadline(c.retransmit_at);
  } else {
    c.retransmit_mode = RetransmitMode::kNone;
    arm_persist(core, now, c);
  }
}

// RFC 5961 5.2. False: out of range, dropped.
bool ack_in_range(Core& core, Instant now, Connection& c, const Segment& s) {
  const Sender& t = c.snd;
  if (s.ack <= t.nxt && s.ack >= t.una - t.window_max_bytes) return true;
  ++core.counters.tcp_bad_acks;
  send_challenge_ack(core, now, c);
  return false;
}

void set_timers(Core& core, Connection& c, const AckSummary& a) {
  if (a.una_advanced) {
    c.loss.stalled_since = {};
    c.loss.probe_backoff = 0;
    if (c.retransmit_mode != RetransmitMode::kReorder || !c.snd.queue.in_flight()) {
      c.retransmit_mode = RetransmitMode::kNone;
      clear_deadline(c.retransmit_at);
      arm_retransmit_or_probe(core, a.now, c);
    }
  } else if (c.retransmit_mode == RetransmitMode::kTailProbe && c.snd.queue.sacked_frames > 0) {
    arm_retransmit(core, a.now, c);  // SACK has begun to tell: RACK does the rest
  } else if (c.retransmit_mode == RetransmitMode::kNone) {
    arm_retransmit_or_probe(core, a.now, c);
  }
}

}  // namespace

bool input_ack(Core& core, Instant now, Connection& c, const Segment& s) {
  Sender& t = c.snd;
  if (!ack_in_range(core, now, c, s)) return false;
  c.last_received_at = now;
  c.soft_error = 0;  // what works is no error (Linux)
  c.keepalive_sent = 0;
  c.loss.probes = 0;
  take_timestamp(now, c, s);
  AckSummary a;
  a.now = now;
  a.prior_una = t.una;
  a.prior_flight_bytes = t.queue.flight_bytes();
  a.prior_pipe_bytes = pipe_bytes(c);
  a.prior_lost_bytes = t.queue.lost_total_bytes;
  a.una_advanced = s.ack > t.una;
  a.ece = c.ecn.active && s.has(wire::kTcpEce) && !s.has(wire::kTcpSyn);
  if (c.timestamps && s.options.has_timestamps) a.ts_echo = s.options.ts_echo;
  const bool window_changed = update_window(core, c, s);
  if (!t.queue.in_flight()) {
    if (c.sack && s.options.sack_count) {
      take_sack(core, c, s, a);
      late_dsack(core, c, a);
    }
    answer_to_probe(core, now, c);
    return true;
  }
  const bool plain = s.length == 0 && !s.has(wire::kTcpFin) && !window_changed;
  a.duplicate = s.ack == t.una && plain && !c.sack;
  if (c.sack && s.options.sack_count) take_sack(core, c, s, a);
  if (a.una_advanced) {
    t.una = s.ack;
    clean_queue(core, c, s.ack, a);
    if (t.mtu_probe_bytes) look_for_mtu_probe_acked(core, c);
  }
  sample_rtt(core, c, a);
  on_ack_recovery(core, c, a);
  set_timers(core, c, a);
  if (a.una_advanced) {
    core.ip.confirm(now, c.path);
    if (!t.queue.head) c.send_clock.stop(now, SendClock::kBusy, true);
    if (a.fin_acked) fin_acked(core, now, c);
    if (a.payload_bytes && c.owned) core.handler.on_acked(c);
  }
  return true;
}

}  // namespace millrace::tcp
