// SPDX-License-Identifier: MIT
#include "tcp/output.h"

#include <algorithm>

#include "tcp/delivery_rate.h"
#include "tcp/emit.h"
#include "tcp/lifecycle.h"
#include "tcp/path_mtu.h"
#include "tcp/receive.h"
#include "tcp/recovery.h"
#include "tcp/timers.h"

namespace millrace::tcp {

namespace {

constexpr Duration kRetryAfter = Duration::millis(1);  // no memory, or the device is full

// A window that was not used for longer than the RTO is old news: Linux halves it for every RTO of
// idleness, down to the initial one (RFC 5681 4.1 goes there at once).
void restart_after_idle(Core& core, Instant now, Connection& c) {
  const Sender& s = c.snd;
  if (!core.options.slow_start_after_idle) return;
  if (s.queue.in_flight() || s.last_at.ns == 0) return;
  const Duration idle = now - s.last_at;
  const Duration rto = Duration::micros(c.rtt.rto_us(uint32_t(core.options.rto_max.micros())));
  if (c.window.keeps_time) c.congestion().on_idle(c.window, now, idle);
  if (idle <= rto || c.rate_based) return;
  const uint32_t floor = std::min(initial_window_bytes(c), c.window.cwnd_bytes);
  // RFC 2861: three quarters of what was lost is remembered in ssthresh.
  c.window.ssthresh_bytes =
      std::max(c.window.ssthresh_bytes, c.window.cwnd_bytes - c.window.cwnd_bytes / 4);
  int64_t rounds = idle.ns / std::max<int64_t>(rto.ns, 1);
  while (rounds-- > 0 && c.window.cwnd_bytes > floor) c.window.cwnd_bytes /= 2;
  c.window.cwnd_bytes = std::max(c.window.cwnd_bytes, floor);
  c.cwnd_limited = false;
}

// RFC 9293 3.7.4 with Minshall's change: a short segment waits only while another short one is
// unacknowledged.
bool nagle_holds(const Connection& c, const Frame* f, const TxNote& n) {
  if (n.has(TxNote::kFin) || n.length >= c.snd.mss_bytes || f->next || c.push_once) return false;
  if (c.corked || c.more) return true;
  if (c.nodelay) return false;
  if (!c.snd.queue.in_flight()) return false;
  return c.snd.small_end > c.snd.una && c.snd.small_end <= c.snd.nxt;
}

// How much of the frame the peer's window takes now, by the rules of RFC 9293 3.8.6.2.1; 0: wait.
// `behind_full`: a full segment has just gone that this one may ride behind, all the window takes.
uint32_t window_allows(const Connection& c, const TxNote& n, bool behind_full) {
  const int32_t room = (c.snd.una + c.snd.window_bytes) - n.seq;
  const uint32_t wanted = std::min<uint32_t>(n.length, c.snd.mss_bytes);
  if (int32_t(wanted) <= room) return std::max<uint32_t>(wanted, 1);
  if (room <= 0) return n.length == 0 ? 1 : 0;  // a bare FIN needs no window
  const bool small_outstanding = c.snd.small_end > c.snd.una && c.snd.small_end <= c.snd.nxt;
  if (behind_full && (c.nodelay || !small_outstanding)) return uint32_t(room);
  return 0;  // half of the largest window is a full segment already: update_mss()
}

// Segments that Linux would hand to the card as one (its tcp_tso_autosize()): what it paces out in
// a millisecond, more on short paths. Each such run ends with PSH, which lets the receiver's card
// and stack pass it up at once.
uint32_t run_segments(const Connection& c) {
  constexpr uint64_t kLargest = 65536;
  uint64_t bytes = kLargest;
  if (c.rtt.valid()) {
    const CongestionWindow& w = c.window;
    const uint32_t percent = w.cwnd_bytes < w.ssthresh_bytes / 2 ? 200 : 120;
    const uint64_t rate = uint64_t(std::max(w.cwnd_bytes, c.snd.queue.flight_bytes())) * percent *
                          10'000 / c.rtt.srtt_us();
    const uint32_t shift = c.rtt.min_us() >> 9;
    bytes = std::min(kLargest, (rate >> 10) + (shift < 32 ? kLargest >> shift : 0));
  }
  return std::max<uint32_t>(uint32_t(bytes / c.snd.mss_bytes), 2);
}

// How much of `f` may go now with `pipe` bytes on the way; 0: nothing. Sets cwnd_blocked.
uint32_t sendable(Connection& c, const Frame* f, const TxNote& n, uint32_t pipe, bool in_run) {
  const uint32_t length = std::min<uint32_t>(n.length, c.snd.mss_bytes);
  if (pipe > 0 && pipe + length > c.window.cwnd_bytes) {
    c.cwnd_blocked = true;
    return 0;
  }
  if (nagle_holds(c, f, n)) return 0;
  return window_allows(c, n, in_run);
}

// RFC 7661, as Linux has it: whether the window was full, or else how much of it was used, for as
// long as a round trip takes.
void note_usage(Connection& c) {
  const uint32_t flight = c.snd.queue.flight_bytes();
  const bool full = c.cwnd_blocked || pipe_bytes(c) + c.snd.mss_bytes > c.window.cwnd_bytes;
  if (c.snd.una < c.usage_end && !full && (c.cwnd_limited || flight <= c.flight_max_bytes)) return;
  c.cwnd_limited = full;
  c.flight_max_bytes = flight;
  c.usage_end = c.snd.nxt;
}

void retry_soon(Core& core, Instant now, Connection& c) {
  const Instant at = now + kRetryAfter;
  c.blocked = true;
  if (c.ack_at.is_never() || c.ack_at > at) set_deadline(core, c, c.ack_at, at);
}

// True when everything that recovery wanted to send again has gone.
bool resend_lost(Core& core, Instant now, Connection& c) {
  TxQueue& q = c.snd.queue;
  if (c.loss.phase == Recovery::kLoss && c.loss.frto) return true;  // RFC 5682: new data first
  while (Frame* f = q.lost.head) {
    if (pipe_bytes(c) > 0 && pipe_bytes(c) + note_of(f).length > c.window.cwnd_bytes) {
      c.cwnd_limited = true;
      return false;
    }
    if (pacing_holds(core, now, c)) return false;
    const bool head = f == q.head;
    if (!resend_frame(core, now, c, f)) {
      retry_soon(core, now, c);
      return false;
    }
    if (head) arm_retransmit(core, now, c);
  }
  return true;
}

// While something is on its way its ACK will free memory, if there is a frame left to receive it
// in.
bool split_frame(Core& core, Connection& c, Frame* f, uint32_t keep) {
  if (core.memory_scarce() && pipe_bytes(c) > 0) return false;
  return c.snd.queue.split(core.pool, f, keep);
}

void note_send_clock(Instant now, Connection& c, bool window_limited) {
  SendClock& clock = c.send_clock;
  if (c.snd.queue.head) clock.start(now, SendClock::kBusy);
  if (window_limited) {
    clock.start(now, SendClock::kReceiveWindow);
  } else {
    clock.stop(now, SendClock::kReceiveWindow, !c.snd.queue.head);
  }
  const bool starved = c.writer_waits && !c.cwnd_limited && !c.snd.queue.unsent;
  if (starved && c.snd.queue.head) clock.start(now, SendClock::kSendBuffer);
}

// New data, until something forbids. True when at least one segment left.
bool send_new(Core& core, Instant now, Connection& c) {
  TxQueue& q = c.snd.queue;
  uint32_t run = 0, run_max = 0;
  bool sent = false, window_limited = false;
  SegmentRun segments;
  while (Frame* f = q.unsent) {
    if (c.snd.mtu_low_bytes && send_mtu_probe(core, now, c)) {
      sent = true;
      continue;
    }
    TxNote& n = note_of(f);
    if (n.length < c.snd.mss_bytes && f->next) q.fill_from_next(core.pool, f, c.snd.mss_bytes);
    const uint32_t pipe = pipe_bytes(c);
    const uint32_t allowed = sendable(c, f, n, pipe, run > 0);
    if (allowed == 0) {
      window_limited = !c.cwnd_blocked && !nagle_holds(c, f, n);
      break;
    }
    if (pacing_holds(core, now, c)) break;
    if (allowed < n.length && !split_frame(core, c, f, allowed)) {
      ++core.counters.tcp_no_memory;
      retry_soon(core, now, c);
      break;
    }
    ++run;
    if (f->next) {
      if (run_max == 0) run_max = run_segments(c);
      const Frame* next = f->next;
      const bool ends =
          run >= run_max || sendable(c, next, note_of(f->next), pipe + allowed, true) == 0;
      if (ends && run > 1) n.flags |= TxNote::kPush;
      if (ends) run = 0;
    }
    if (!send_new_frame(core, now, c, allowed, &segments)) {
      retry_soon(core, now, c);
      break;
    }
    sent = true;
  }
  note_send_clock(now, c, window_limited);
  return sent;
}

}  // namespace

uint32_t initial_window_bytes(const Connection& c) {
  // RFC 6928 2 begins with one segment when the SYN was lost. Linux forgives the first loss: with
  // an initial timeout of a second (RFC 6298) it need not be one.
  return (c.syn_resent_again ? 1 : 10) * uint32_t(c.window.mss_bytes);
}

bool resend_frame(Core& core, Instant now, Connection& c, Frame* frame) {
  TxNote& n = note_of(frame);
  if (n.length > c.snd.mss_bytes && !split_frame(core, c, frame, c.snd.mss_bytes)) {
    ++core.counters.tcp_no_memory;
    return false;
  }
  const uint32_t room = uint32_t(std::max<int32_t>((c.snd.una + c.snd.window_bytes) - n.seq, 0));
  const uint32_t most = std::min<uint32_t>(room, c.snd.mss_bytes);
  while (n.length < most) {
    const Frame* gone = c.snd.queue.merge_next(core.pool, frame, most);
    if (!gone) break;
    if (c.loss.sack_cursor == gone) c.loss.sack_cursor = frame;
  }
  if (!send_frame(core, now, c, frame)) return false;
  note_resent(c, now, true);
  ++core.counters.tcp_retransmits;
  ++c.stats.segments_resent;
  if (n.length) ++c.stats.data_segments_sent;
  c.stats.bytes_resent += n.length;
  c.loss.prr_out += n.length;
  note_rate_sent(c, n, now);
  note_paced(c, now, n.length);
  c.snd.queue.mark_resent(frame, now);
  c.snd.last_at = now;
  return true;
}

bool send_new_frame(Core& core, Instant now, Connection& c, uint32_t limit_bytes, SegmentRun* run) {
  TxQueue& q = c.snd.queue;
  Frame* f = q.unsent;
  TxNote& n = note_of(f);
  const uint32_t limit = std::min<uint32_t>(limit_bytes, c.snd.mss_bytes);
  if (n.length > limit && !split_frame(core, c, f, limit)) {
    ++core.counters.tcp_no_memory;
    return false;
  }
  if (!send_frame(core, now, c, f, run)) return false;
  note_rate_sent(c, n, now);
  note_paced(c, now, n.length);
  q.mark_sent(f, now);
  c.snd.nxt = n.end();
  if (n.length < c.snd.mss_bytes) c.snd.small_end = n.end();
  c.stats.bytes_sent += n.length;
  c.loss.prr_out += n.length;
  c.snd.last_at = now;
  if (n.length) ++c.stats.data_segments_sent;
  if (n.length) note_data_sent(core, now, c);
  return true;
}

void send_pending(Core& core, Instant now, Connection& c) {
  if (!c.can_send()) return;
  TxQueue& q = c.snd.queue;
  if (c.snd.fin_waiting) queue_fin(core, c);
  if (c.snd.fin_waiting) retry_soon(core, now, c);
  if (!q.unsent && q.lost.empty()) return;
  follow_path(core, c);
  if (q.unsent) restart_after_idle(core, now, c);
  if (!resend_lost(core, now, c)) return;
  c.cwnd_blocked = false;
  const bool sent = send_new(core, now, c);
  if (sent || c.cwnd_blocked) note_usage(c);
  const bool paced = !c.pace_at.is_never();  // its timer will go on
  if (c.loss.frto_new_data) {
    // RFC 5682 2.1 step 2b: new data was to tell whether the timeout was spurious. None could go
    // (window, Nagle), so nothing will tell: recover as usual.
    c.loss.frto_new_data = false;
    if (!sent && !paced) {
      c.loss.frto = false;
      (void)resend_lost(core, now, c);
    }
  }
  if (sent) {
    arm_retransmit_or_probe(core, now, c);
  } else if (q.unsent && !q.in_flight() && !paced) {
    arm_persist(core, now, c);
  }
}

}  // namespace millrace::tcp
