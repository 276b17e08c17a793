// SPDX-License-Identifier: MIT
#include "tcp/timers.h"

#include <algorithm>

#include "tcp/emit.h"
#include "tcp/lifecycle.h"
#include "tcp/output.h"
#include "tcp/path_mtu.h"
#include "tcp/receive.h"
#include "tcp/recovery.h"

namespace millrace::tcp {

namespace {

constexpr uint8_t kSynLinear = 4;         // SYNs at a constant second before the doubling begins
constexpr uint8_t kBlackHoleRetries = 3;  // Linux tcp_retries1
constexpr uint8_t kPersistProbes = 15;
constexpr Duration kMaxAckDelay = Duration::millis(200);

// How long `retries` retransmissions take from the smallest RTO on (Linux's way to count: a path
// with a long RTT is not given up later). 15: 924.6 s.
Duration retries_span(const Core& core, uint8_t retries) {
  int64_t ns = 0;
  int64_t rto = core.options.rto_min.ns;
  for (int i = 0; i <= retries; ++i) {
    ns += rto;
    rto = std::min(rto * 2, core.options.rto_max.ns);
  }
  return {ns};
}

// How long an attempt to connect goes on: what `retries` doublings of a second take, however many
// SYNs that was (Linux: those at a constant second are more). 6: 127 s.
Duration syn_patience(uint8_t retries) {
  constexpr int kDoublings = 6;  // those that stay below Linux's longest RTO, two minutes
  const int64_t s = (2ll << std::min<int>(retries, kDoublings)) - 1;
  return Duration::seconds(s + 120ll * std::max(0, retries - kDoublings));
}

bool given_up(const Core& core, Instant now, const Connection& c) {
  if (c.loss.stalled_since.ns == 0) return false;
  const Duration stalled = now - c.loss.stalled_since;
  if (c.user_timeout_ms) return stalled >= Duration::millis(c.user_timeout_ms);
  const bool orphan = !c.owned && !c.queued;
  return stalled >=
         retries_span(core, orphan ? core.options.orphan_retries : core.options.data_retries);
}

void time_out(Core& core, Connection& c) {
  ++core.counters.tcp_timed_out;
  fail_connection(core, c, c.soft_error ? c.soft_error : ETIMEDOUT);
}

// Not later than the user's patience (RFC 5482).
Instant capped(const Connection& c, Instant at) {
  if (c.user_timeout_ms == 0 || c.loss.stalled_since.ns == 0) return at;
  return std::min(at, c.loss.stalled_since + Duration::millis(c.user_timeout_ms));
}

void keepalive_timeout(Core& core, Instant now, Connection& c) {
  if (!c.keepalive || c.state == State::kSynSent || c.state == State::kSynReceived) return;
  const Duration idle = Duration::seconds(c.keepalive_idle_s);
  const Duration interval = Duration::seconds(c.keepalive_interval_s);
  const Duration quiet = now - c.last_received_at;
  if (c.snd.queue.head || quiet < idle) {  // data in flight has timers of its own
    c.keepalive_sent = 0;
    const Duration left = c.snd.queue.head ? idle : idle - quiet;
    set_life_deadline(core, c, now + left);
    return;
  }
  const bool over = c.user_timeout_ms
                        ? quiet >= Duration::millis(c.user_timeout_ms) && c.keepalive_sent > 0
                        : c.keepalive_sent >= c.keepalive_probes;
  if (over) {
    send_reset(core, now, c);
    time_out(core, c);
    return;
  }
  if (send_control(core, now, c, c.snd.una - 1, wire::kTcpAck))
    ++core.counters.tcp_keepalive_probes;
  ++c.keepalive_sent;
  set_life_deadline(core, c, now + interval);
}

void life_timeout(Core& core, Instant now, Connection& c) {
  if (c.state == State::kTimeWait) {
    bury(core, c);
  } else if (c.state == State::kFinWait2 && !c.owned) {
    bury(core, c);  // an orphan whose peer never closes: Linux forgets it without a word
  } else {
    keepalive_timeout(core, now, c);
  }
}

void retransmit_deadline(Core& core, Instant now, Connection& c) {
  const RetransmitMode mode = c.retransmit_mode;
  c.retransmit_mode = RetransmitMode::kNone;
  switch (mode) {
    case RetransmitMode::kNone:
      return;
    case RetransmitMode::kTimeout:
      if (c.state == State::kSynSent || c.state == State::kSynReceived) {
        syn_timeout(core, now, c);
      } else {
        retransmit_timeout(core, now, c);
      }
      return;
    case RetransmitMode::kTailProbe:
      tail_probe_timeout(core, now, c);
      return;
    case RetransmitMode::kReorder:
      rack_timeout(core, now, c);
      send_pending(core, now, c);
      if (c.retransmit_mode == RetransmitMode::kNone) arm_retransmit_or_probe(core, now, c);
      return;
    case RetransmitMode::kPersist:
      persist_timeout(core, now, c);
      return;
  }
}

void ack_deadline(Core& core, Instant now, Connection& c) {
  if (c.rcv.ack_pending || c.rcv.ack_now) {
    Receiver& r = c.rcv;
    // The delay ran out: nobody answered in time, so do not count on it (Linux).
    if (r.interactive) {
      r.interactive = false;
    } else {
      r.ato_us = std::min<uint32_t>(r.ato_us * 2, c.rtt.rto_us(120'000'000));
    }
    send_ack(core, now, c);
  }
  if (c.blocked) {
    c.blocked = false;
    send_pending(core, now, c);
  }
}

}  // namespace

void connection_timer(Timer& timer, void* owner, Instant now) {
  Connection& c = *static_cast<Connection*>(owner);
  // Everything that it stood for was dealt with in time, which is the rule: the rest of the
  // connection is not needed.
  if (c.ack_at.is_never() && c.retransmit_at.is_never() && c.pace_at.is_never()) return;
  Core& core = c.core;
  if (c.ack_at <= now) {
    c.ack_at = Instant::never();
    ack_deadline(core, now, c);
  }
  if (c.retransmit_at <= now) {
    c.retransmit_at = Instant::never();
    retransmit_deadline(core, now, c);
  }
  if (c.pace_at <= now) {
    c.pace_at = Instant::never();
    send_pending(core, now, c);
  }
  set_timer(core, timer, std::min({c.ack_at, c.retransmit_at, c.pace_at}));
  reap(core, c);
}

void connection_life_timer(Timer& timer, void* owner, Instant now) {
  Connection& c = *static_cast<Connection*>(owner);
  Core& core = c.core;
  if (c.life_at <= now) {
    c.life_at = Instant::never();
    life_timeout(core, now, c);
  }
  set_timer(core, timer, c.life_at);
  reap(core, c);
}

Duration current_rto(const Core& core, const Connection& c) {
  const int64_t us = c.rtt.rto_us(uint32_t(core.options.rto_max.micros()));
  const int shift = std::min<int>(c.loss.backoff, 20);
  return std::min(Duration::micros(us << shift), core.options.rto_max);
}

void arm_retransmit(Core& core, Instant now, Connection& c) {
  if (!c.snd.queue.in_flight()) {
    if (c.retransmit_mode != RetransmitMode::kPersist) {
      c.retransmit_mode = RetransmitMode::kNone;
      clear_deadline(c.retransmit_at);
    }
    return;
  }
  c.retransmit_mode = RetransmitMode::kTimeout;
  set_deadline(core, c, c.retransmit_at, capped(c, now + current_rto(core, c)));
}

void arm_retransmit_or_probe(Core& core, Instant now, Connection& c) {
  const LossState& l = c.loss;
  const TxQueue& q = c.snd.queue;
  if (c.retransmit_mode == RetransmitMode::kReorder) return;
  const bool probe = c.sack && l.phase <= Recovery::kCwr && q.in_flight() && q.sacked_frames == 0 &&
                     !l.probe_outstanding && l.backoff == 0;
  if (!probe) {
    if (c.retransmit_mode != RetransmitMode::kTimeout || !q.in_flight())
      arm_retransmit(core, now, c);
    return;
  }
  Duration pto = Duration::seconds(1);
  if (c.rtt.valid()) {
    pto = Duration::micros(2ll * c.rtt.srtt_us());
    // A single segment may wait for the peer's delayed ACK (RFC 8985 7.2).
    pto = pto + (q.head->next == q.unsent ? kMaxAckDelay : Duration::millis(2));
  }
  pto = std::min(pto, current_rto(core, c));
  c.retransmit_mode = RetransmitMode::kTailProbe;
  set_deadline(core, c, c.retransmit_at, now + pto);
}

void arm_persist(Core& core, Instant now, Connection& c) {
  if (c.retransmit_mode == RetransmitMode::kPersist) return;
  c.retransmit_mode = RetransmitMode::kPersist;
  const int64_t us = c.rtt.rto_us(uint32_t(core.options.rto_max.micros()));
  const int shift = std::min<int>(c.loss.probe_backoff, 20);
  const Duration wait = std::min(Duration::micros(us << shift), core.options.rto_max);
  set_deadline(core, c, c.retransmit_at, capped(c, now + wait));
}

void restart_keepalive(Core& core, Instant now, Connection& c) {
  c.keepalive_sent = 0;
  if (c.state == State::kTimeWait || (c.state == State::kFinWait2 && !c.owned)) return;
  if (!c.keepalive) {
    clear_deadline(c.life_at);
    return;
  }
  set_life_deadline(core, c, now + Duration::seconds(c.keepalive_idle_s));
}

void retransmit_timeout(Core& core, Instant now, Connection& c) {
  TxQueue& q = c.snd.queue;
  LossState& l = c.loss;
  if (!q.in_flight()) return;
  // Linux counts patience, the user's too, from the first timeout: with a long RTO all of it might
  // be spent before anything was sent a second time.
  if (l.stalled_since.ns == 0) l.stalled_since = now;
  // A peer that closes its window over data in flight and goes on answering is not dead.
  const bool answering = c.snd.window_bytes == 0 && now - c.last_received_at < core.options.rto_max;
  if (given_up(core, now, c) && !(answering && !c.user_timeout_ms)) {
    time_out(core, c);
    return;
  }
  ++core.counters.tcp_timeouts;
  follow_path(core, c);
  forget_mtu_probe(core, c);
  if (l.backoff >= kBlackHoleRetries) note_black_hole(core, now, c);
  enter_loss(core, now, c);
  const bool sent = resend_frame(core, now, c, q.head);
  if (!sent) {  // no memory or no ring: a local matter, try again soon
    c.retransmit_mode = RetransmitMode::kTimeout;
    set_deadline(core, c, c.retransmit_at, now + core.options.rto_min);
    return;
  }
  if (l.backoff < UINT8_MAX) ++l.backoff;
  arm_retransmit(core, now, c);
}

void tail_probe_timeout(Core& core, Instant now, Connection& c) {
  TxQueue& q = c.snd.queue;
  LossState& l = c.loss;
  if (!q.in_flight()) return;
  bool sent = false;
  follow_path(core, c);
  l.probe_resent = false;
  const int32_t room = (c.snd.una + c.snd.window_bytes) - c.snd.nxt;
  if (q.unsent && room >= int32_t(note_of(q.unsent).length)) {
    sent = send_new_frame(core, now, c, c.snd.mss_bytes);  // RFC 8985 7.3: new data preferred
  } else if (!note_of(q.last_sent()).has(TxNote::kSacked | TxNote::kLost)) {
    sent = resend_frame(core, now, c, q.last_sent());
    l.probe_resent = sent;
  }
  if (sent) {
    ++core.counters.tcp_loss_probes;
    l.probe_outstanding = true;
    l.probe_end = c.snd.nxt;
  }
  arm_retransmit(core, now, c);
}

void persist_timeout(Core& core, Instant now, Connection& c) {
  TxQueue& q = c.snd.queue;
  LossState& l = c.loss;
  if (q.in_flight() || !q.unsent) return;
  if (l.stalled_since.ns == 0) l.stalled_since = now;
  const bool orphan = !c.owned && !c.queued;
  const bool impatient = c.user_timeout_ms && given_up(core, now, c);
  const bool tired = orphan && l.probe_backoff > core.options.orphan_retries;
  if (l.probes >= kPersistProbes || impatient || tired) {
    if (orphan) send_reset(core, now, c);
    time_out(core, c);
    return;
  }
  ++core.counters.tcp_zero_window_probes;
  const int32_t room = (c.snd.una + c.snd.window_bytes) - c.snd.nxt;
  if (l.probe_backoff < 30) ++l.probe_backoff;
  if (room > 0) {
    // Silly window avoidance held this back; the timer overrides it (RFC 9293 3.8.6.2.1).
    if (send_new_frame(core, now, c, uint32_t(room))) {
      arm_retransmit(core, now, c);
      return;
    }
  } else if (send_control(core, now, c, c.snd.una - 1, wire::kTcpAck)) {
    ++l.probes;
  }
  arm_persist(core, now, c);
}

void syn_timeout(Core& core, Instant now, Connection& c) {
  LossState& l = c.loss;
  const bool answer = c.state == State::kSynReceived;
  const Duration waited = now - c.loss.stalled_since;
  const bool impatient = c.user_timeout_ms && waited >= Duration::millis(c.user_timeout_ms);
  const bool over =
      answer ? l.backoff >= core.options.syn_ack_retries
             : waited >= syn_patience(c.syn_retries ? c.syn_retries : core.options.syn_retries);
  if (over || impatient) {
    ++core.counters.tcp_open_failed;
    time_out(core, c);
    return;
  }
  if (l.backoff < UINT8_MAX) ++l.backoff;
  c.syn_resent_again = c.syn_resent;
  c.syn_resent = true;
  ++core.counters.tcp_retransmits;
  send_syn(core, now, c);
  // The neighbour does not answer: there is nobody to wait for.
  if (c.soft_error == EHOSTUNREACH && c.state == State::kSynSent) {
    ++core.counters.tcp_open_failed;
    fail_connection(core, c, EHOSTUNREACH);
    return;
  }
  const int doubled = answer ? l.backoff : std::max(0, l.backoff - kSynLinear);
  c.retransmit_mode = RetransmitMode::kTimeout;
  const Duration wait = Duration::seconds(1ll << std::min(doubled, 20));
  set_deadline(core, c, c.retransmit_at, capped(c, now + std::min(wait, core.options.rto_max)));
}

void half_open_timer(Timer&, void* owner, Instant now) {
  HalfOpen& h = *static_cast<HalfOpen*>(owner);
  Core& core = h.core;
  const uint8_t defer = h.listener->options.defer_accept;
  if (h.retries >= core.options.syn_ack_retries && (!h.acked || h.retries >= defer)) {
    ++core.counters.tcp_half_open_expired;
    destroy_half_open(core, h);
    return;
  }
  ++h.retries;
  // One that has answered is asked again only when the listener's patience is at its end.
  if (!h.acked || h.retries >= defer) {
    ++core.counters.tcp_syn_acks_resent;
    send_syn_ack(core, now, h);
  }
  core.wheel.arm(h.timer, now + Duration::seconds(1ll << h.retries));
}

}  // namespace millrace::tcp
