// SPDX-License-Identifier: MIT
// LISTEN and SYN-RECEIVED: RFC 9293 3.10.7.2 and 3.10.7.4. A handshake lives in a HalfOpen, a few
// hundred bytes, until its last ACK comes; only then is there a Connection. Both are bounded.
#include <algorithm>

#include "tcp/emit.h"
#include "tcp/input.h"
#include "tcp/lifecycle.h"
#include "tcp/receive.h"
#include "tcp/timers.h"

namespace millrace::tcp {

namespace {

uint32_t receive_buffer_of(const Core& core, const ConnectionOptions& options) {
  const uint32_t bytes = options.receive_buffer_bytes ? options.receive_buffer_bytes
                                                      : core.options.receive_buffer_bytes;
  return std::min(bytes, core.options.receive_buffer_max_bytes);
}

void begin_half_open(Core& core, Instant now, Listener& l, const wire::FlowKey& key, uint64_t hash,
                     const Segment& s) {
  HalfOpen* h = core.half_opens.create(core, half_open_timer);
  if (!h) {
    ++core.counters.tcp_half_open_full;
    return;
  }
  static_cast<Handshake&>(*h) = handshake_of(core, l, key, s.options);
  h->half_open = true;
  h->key = key;
  h->listener = &l;
  h->ecn = ecn_asked(core, s);
  h->irs = s.seq;
  h->iss = core.initial_seq(now, key);
  if (s.reopens && h->iss <= s.last_sent + 65536) h->iss = s.last_sent + 65536 + 1;
  h->peer_window_bytes = s.window;
  core.flows.insert(h, hash);
  core.all.push_back(h);
  l.half_open.push_back(h);
  ++l.half_opens;
  send_syn_ack(core, now, *h);
  core.wheel.arm(h->timer, now + Duration::seconds(1));
}

// The first round trip, of the SYN-ACK.
void sample_handshake(Core& core, Instant now, const HalfOpen& h, Connection& c, const Segment& s) {
  c.syn_resent = h.retries > 0;
  c.syn_resent_again = h.retries > 1;
  if (h.retries == 0) {
    c.rtt.sample(now, now - h.sent, c.snd.una, c.snd.nxt, uint32_t(core.options.rto_min.micros()));
  } else if (c.timestamps && s.options.has_timestamps) {
    const uint32_t ms = ts_now(now, h.ts_offset) - s.options.ts_echo;
    if (ms < 600'000) {
      c.rtt.sample(now, Duration::millis(std::max<uint32_t>(ms, 1)), c.snd.una, c.snd.nxt,
                   uint32_t(core.options.rto_min.micros()));
    }
  }
}

}  // namespace

Handshake handshake_of(const Core& core, const Listener& l, const wire::FlowKey& key,
                       const wire::TcpOptions& syn) {
  Handshake h;
  h.ts_offset = core.timestamp_offset(key);
  h.ts_recent = syn.ts_value;
  const StackOptions& ours = core.options;
  h.timestamps = syn.has_timestamps && ours.timestamps;
  h.sack = syn.sack_permitted && ours.sack;
  h.scaling = syn.has_window_scale && ours.window_scaling;
  h.shift = core.window_shift(l.options);
  h.peer_shift = syn.window_scale;
  h.peer_mss_bytes = believed_mss(syn, key.remote.address);
  h.window_bytes = 65535;
  // The path is asked for again when the SYN-ACK leaves; without one there will be none.
  if (Result<net::Path> path = core.ip.resolve(key.local.address, key.remote.address)) {
    const uint32_t mss = announced_mss(*path, l.options.mss_max_bytes);
    h.window_bytes = first_window(receive_buffer_of(core, l.options), l.options.window_clamp_bytes,
                                  mss - (h.timestamps ? wire::kTcpTimestampBytes : 0));
  }
  return h;
}

Connection* create_accepted(Core& core, Instant now, Listener& l, const wire::FlowKey& key,
                            uint64_t hash, const Handshake& h, const Segment& s) {
  Result<net::Path> path = core.ip.resolve(key.local.address, key.remote.address);
  if (!path) return nullptr;
  Connection* c = create_connection(core, key, hash, l.options, *path);
  if (!c) return nullptr;
  c->snd.iss = h.iss;
  c->snd.una = c->snd.nxt = c->snd.end = h.iss + 1;
  c->snd.wl1 = s.seq;
  c->snd.wl2 = s.ack;
  c->snd.peer_mss_bytes = h.peer_mss_bytes;
  c->snd.shift = h.scaling ? h.peer_shift : 0;
  c->snd.window_bytes = uint32_t(s.window) << c->snd.shift;
  c->snd.window_max_bytes = c->snd.window_bytes;
  c->irs = h.irs;
  c->rcv.nxt = c->rcv.acked = h.irs + 1;
  c->rcv.edge = c->rcv.nxt + h.window_bytes;
  c->rcv.ts_recent = h.ts_recent;
  c->rcv.ts_recent_at = now;
  c->timestamps = h.timestamps;
  c->sack = h.sack;
  c->scaling = h.scaling;
  c->ecn.active = h.ecn;
  if (h.ecn) ++core.counters.tcp_ecn_agreed;
  return c;
}

void begin_accepted(Core& core, Instant now, Listener& l, Connection& c, Segment& s) {
  start_established(core, now, c);
  c.listener = &l;
  c.queued = true;
  l.acceptable.push_back(&c);
  ++l.ready;
  ++core.counters.tcp_passive_opens;
  input_synchronized(core, now, c, s);
  reap(core, c);
  core.handler.on_acceptable(l);
}

void input_listen(Core& core, Instant now, Listener& l, const wire::FlowKey& key, uint64_t hash,
                  Segment& s) {
  if (s.has(wire::kTcpRst | wire::kTcpAck)) {
    if (s.has(wire::kTcpAck) && take_cookie(core, now, l, key, hash, s, nullptr)) return;
    refuse_stray(core, now, key, s);
    return;
  }
  if (!s.has(wire::kTcpSyn) || s.has(wire::kTcpFin)) return;  // C2: FIN, null, Xmas, SYN+FIN
  if (key.local == key.remote) {                              // LAND
    ++core.counters.tcp_bad_address;
    return;
  }
  if (core.ip.resolve(key.local.address, key.remote.address).error().code == ENETUNREACH) {
    ++core.counters.tcp_no_route_back;
    core.handler.on_no_route_back(key);
    return;
  }
  if (backlog_full(l)) {
    ++core.counters.tcp_listen_overflows;
    return;
  }
  // No promise of what could not be kept: the handshake would end in a connection.
  if (core.connections.full() && core.time_waits.empty()) {
    ++core.counters.tcp_connections_full;
    return;
  }
  // Data on a SYN is dropped (C6): our SYN-ACK acknowledges the SYN only, the peer sends it again.
  // A TIME-WAIT that makes way needs a number above its own and adds no state: no cookie, as Linux.
  if (cookies_wanted(core, l) && !s.reopens) {
    answer_with_cookie(core, now, l, key, s);
  } else {
    begin_half_open(core, now, l, key, hash, s);
  }
}

void input_half_open(Core& core, Instant now, HalfOpen& h, Segment& s) {
  const Seq expected = h.irs + 1;
  if (s.has(wire::kTcpSyn) && !s.has(wire::kTcpAck | wire::kTcpRst) && s.seq == h.irs) {
    // RFC 7323 4.3: the newest timestamp is echoed; an old one would pass for a round trip of all
    // the time since.
    if (h.timestamps && s.options.has_timestamps && int32_t(s.options.ts_value - h.ts_recent) > 0) {
      h.ts_recent = s.options.ts_value;
    }
    // The SYN again: our answer was lost, or is late. Rate limited, it may be forged.
    if (now - h.sent >= Duration::millis(500)) {
      ++core.counters.tcp_syn_acks_resent;
      send_syn_ack(core, now, h);
    }
    return;
  }
  const bool paws =
      h.timestamps && s.options.has_timestamps && int32_t(s.options.ts_value - h.ts_recent) < 0;
  // RFC 9293 3.10.7.4, first; Linux takes an empty segment at the right edge too.
  const Seq edge = expected + h.window_bytes;
  const bool acceptable = s.seq == expected || (s.end() > expected && s.seq < edge) ||
                          (s.seq == edge && s.end() == edge);
  if (!acceptable || (paws && !s.has(wire::kTcpRst))) {
    if (!s.has(wire::kTcpRst)) send_half_open_ack(core, now, h);
    return;
  }
  if (s.has(wire::kTcpRst)) {
    if (s.seq != expected) {
      send_half_open_ack(core, now, h);  // RFC 5961 3.2
      return;
    }
    ++core.counters.tcp_resets_received;
    destroy_half_open(core, h);
    return;
  }
  if (s.has(wire::kTcpSyn)) {
    send_half_open_ack(core, now, h);
    return;
  }
  if (!s.has(wire::kTcpAck)) return;
  Listener& l = *h.listener;
  if (s.ack != h.iss + 1) {
    if (take_cookie(core, now, l, h.key, h.hash, s, &h)) return;
    ++core.counters.tcp_bad_acks;
    answer_with_reset(core, now, h.key, s);
    return;
  }
  if (h.retries < l.options.defer_accept && s.length == 0 && !s.has(wire::kTcpFin)) {
    h.acked = true;  // the user wants to hear of connections that have something to say
    return;
  }
  if (backlog_full(l)) {
    // Linux: forget the ACK, keep the handshake; the SYN-ACK is repeated and the peer asks again.
    ++core.counters.tcp_listen_overflows;
    return;
  }
  Connection* c = create_accepted(core, now, l, h.key, h.hash, h, s);
  if (!c) return;
  sample_handshake(core, now, h, *c, s);
  destroy_half_open(core, h);
  begin_accepted(core, now, l, *c, s);
}

}  // namespace millrace::tcp
