// SPDX-License-Identifier: MIT
// Segments for connections in a synchronized state: RFC 9293 3.10.7.4 with RFC 5961 and RFC 7323.
#include "tcp/emit.h"
#include "tcp/input.h"
#include "tcp/lifecycle.h"
#include "tcp/output.h"
#include "tcp/receive.h"
#include "tcp/timers.h"

namespace millrace::tcp {

namespace {

// A segment from outside the window is answered with an ACK, which tells an honest peer where we
// are. Without data such answers are limited: two confused ends must not keep each other busy.
void answer_unacceptable(Core& core, Instant now, Connection& c, const Segment& s) {
  if (s.length > 0 || s.has(wire::kTcpFin)) {
    ++core.counters.tcp_duplicates;
    if (s.seq < c.rcv.nxt) note_duplicate(c, s.seq, wire::seq_min(s.end(), c.rcv.nxt));
    enter_quick_ack(c, 2);
    send_ack(core, now, c);
    return;
  }
  send_challenge_ack(core, now, c);
}

void reset_received(Core& core, Connection& c) {
  ++core.counters.tcp_resets_received;
  // Linux: EPIPE once the peer had closed, ECONNREFUSED when it never really was open.
  const int error = c.state == State::kCloseWait     ? EPIPE
                    : c.state == State::kSynReceived ? ECONNREFUSED
                                                     : ECONNRESET;
  fail_connection(core, c, error);
}

constexpr int32_t kTicksForgiven = 1;

// A duplicate ACK that reordering delayed brings nothing but its SACK blocks, which cannot harm
// and may tell of a loss. Linux takes it if it is no older than a retransmission timeout.
bool is_late_duplicate_ack(const Core& core, const Connection& c, const Segment& s) {
  const bool pure = s.has(wire::kTcpAck) && s.length == 0 && !s.has(wire::kTcpSyn | wire::kTcpFin);
  if (!pure || s.seq != c.rcv.nxt || s.ack != c.snd.una) return false;
  const uint32_t window_bytes = uint32_t(s.window) << c.snd.shift;
  const bool new_window = s.seq > c.snd.wl1 || window_bytes > c.snd.window_bytes || !window_bytes;
  const int64_t late_ms = int32_t(c.rcv.ts_recent - s.options.ts_value);
  return !new_window && late_ms <= current_rto(core, c).millis();
}

// A peer that resets after its FIN may give the RST the number of the FIN (macOS): as exact as the
// next one, and Linux takes it too.
bool has_number_of_fin(const Connection& c, const Segment& s) {
  const bool closed =
      c.state == State::kCloseWait || c.state == State::kClosing || c.state == State::kLastAck;
  return closed && s.seq + 1 == c.rcv.nxt;
}

// The first four checks. False: the segment is done with.
bool check_acceptable(Core& core, Instant now, Connection& c, const Segment& s) {
  const Receiver& r = c.rcv;
  const bool rst = s.has(wire::kTcpRst);
  if (!rst && core.options.timestamps_required && c.timestamps && !s.options.has_timestamps) {
    ++core.counters.tcp_paws_dropped;
    return false;
  }
  if (!rst && paws_rejects(now, c, s, kTicksForgiven) && !is_late_duplicate_ack(core, c, s)) {
    ++core.counters.tcp_paws_dropped;
    answer_unacceptable(core, now, c, s);
    return false;
  }
  if (rst && has_number_of_fin(c, s)) {
    reset_received(core, c);
    return false;
  }
  // RFC 9293 3.10.7.4 first: not wholly before what was acknowledged, not beyond the window.
  if (s.end() < r.acked || s.seq > wire::seq_max(r.edge, r.nxt)) {
    ++core.counters.tcp_out_of_window;
    if (rst) return false;
    if (s.has(wire::kTcpSyn)) {
      send_challenge_ack(core, now, c);
    } else {
      answer_unacceptable(core, now, c, s);
    }
    return false;
  }
  if (rst) {
    // RFC 5961 3.2: only the exact number kills.
    if (s.seq == r.nxt) {
      reset_received(core, c);
    } else if (s.seq > r.nxt) {
      send_challenge_ack(core, now, c);
    }
    return false;
  }
  if (s.has(wire::kTcpSyn)) {  // RFC 5961 4.2, whatever its number
    if (c.state == State::kSynReceived && s.has(wire::kTcpAck) && s.seq == c.irs) {
      return true;  // simultaneous open: the peer's SYN-ACK
    }
    send_challenge_ack(core, now, c);
    return false;
  }
  return s.has(wire::kTcpAck);
}

// SYN-RECEIVED after a simultaneous open: RFC 9293 3.10.7.4 fifth.
bool complete_simultaneous(Core& core, Instant now, Connection& c, Segment& s) {
  if (s.ack != c.snd.nxt) {
    answer_with_reset(core, now, c.key, s);
    return false;
  }
  const bool syn = s.has(wire::kTcpSyn);
  c.snd.una = s.ack;
  c.snd.window_bytes = uint32_t(s.window) << (syn ? 0 : c.snd.shift);
  c.snd.window_max_bytes = c.snd.window_bytes;
  c.snd.wl1 = s.seq;
  c.snd.wl2 = s.ack;
  if (!c.syn_resent) {
    c.rtt.sample(now, now - c.loss.stalled_since, c.snd.una, c.snd.nxt,
                 uint32_t(core.options.rto_min.micros()));
  }
  start_established(core, now, c);
  if (syn) {  // the SYN was taken before; what else it carried comes again
    s.flags &= uint8_t(~(wire::kTcpSyn | wire::kTcpFin));
    s.window = uint16_t(s.window >> c.snd.shift);  // RFC 7323 2.2: it was not scaled
    s.seq += 1;
    s.length = 0;
    s.frame->trim_to(0);
    send_ack(core, now, c);
  }
  core.handler.on_connected(c);
  return true;
}

// RFC 2525 2.17: the user is gone and cannot get this data; the peer must learn it.
bool data_for_nobody(const Connection& c, const Segment& s) {
  return c.read_closed && (c.state == State::kFinWait1 || c.state == State::kFinWait2) &&
         s.length > 0 && s.seq + s.length > c.rcv.nxt;
}

}  // namespace

void input_synchronized(Core& core, Instant now, Connection& c, Segment& s) {
  if (!check_acceptable(core, now, c, s)) return;
  if (c.state == State::kSynReceived && !complete_simultaneous(core, now, c, s)) return;
  if (!input_ack(core, now, c, s)) return;
  if (c.state == State::kClosed) return;
  if (data_for_nobody(c, s)) {
    ++core.counters.tcp_data_after_close;
    // By the number that it acknowledges, as if nobody had ever been here (Linux).
    answer_with_reset(core, now, c.key, s);
    fail_connection(core, c, ECONNRESET);
    return;
  }
  receive_payload(core, now, c, s);
  if (c.state == State::kClosed) return;
  const bool waiting = c.snd.queue.unsent || c.snd.fin_waiting;
  if (waiting || !c.snd.queue.lost.empty()) send_pending(core, now, c);
  acknowledge(core, now, c);
}

}  // namespace millrace::tcp
