// SPDX-License-Identifier: MIT
#include "tcp/lifecycle.h"

#include <algorithm>

#include "tcp/delivery_rate.h"
#include "tcp/emit.h"
#include "tcp/output.h"
#include "tcp/path_mtu.h"
#include "tcp/receive.h"
#include "tcp/timers.h"

namespace millrace::tcp {

Connection::Connection(Core& core_, Timer::Callback fire, Timer::Callback fire_life)
    : core(core_), timer(fire, this), life_timer(fire_life, this) {
  use_congestion(CongestionControl::kCubic);
}

Connection::~Connection() {
  congestion().~CongestionController();
}

void Connection::use_congestion(CongestionControl algorithm) {
  static_assert(sizeof(Cubic) <= sizeof congestion_storage);
  static_assert(sizeof(NewReno) <= sizeof congestion_storage);
  static_assert(sizeof(Bbr) <= sizeof congestion_storage);
  window.keeps_time = false;
  if (algorithm == CongestionControl::kNewReno) {
    new (congestion_storage) NewReno();
  } else if (algorithm == CongestionControl::kBbr) {
    new (congestion_storage) Bbr(core.random.next_u32());
  } else {
    new (congestion_storage) Cubic(core.options.cubic_reno_slope);
  }
}

Connection* create_connection(Core& core, const wire::FlowKey& key, uint64_t hash,
                              const ConnectionOptions& options, const net::Path& path) {
  if (core.connections.full() && !recycle_time_wait(core)) {
    ++core.counters.tcp_connections_full;
    return nullptr;
  }
  Connection* c = core.connections.create(core, connection_timer, connection_life_timer);
  const StackOptions& stack = core.options;
  c->key = key;
  c->path = path;
  c->nodelay = options.nodelay;
  c->keepalive = options.keepalive;
  c->keepalive_idle_s = uint32_t(options.keepalive_idle.ns / 1'000'000'000);
  c->keepalive_interval_s = uint32_t(options.keepalive_interval.ns / 1'000'000'000);
  c->keepalive_probes = uint8_t(std::min<uint32_t>(options.keepalive_probes, 127));
  c->user_timeout_ms = uint32_t(options.user_timeout.millis());
  c->snd.mss_max_bytes = options.mss_max_bytes;
  c->corked = options.cork;
  c->linger2_s = options.linger2_s;
  c->syn_retries = options.syn_retries;
  c->rcv.clamp_bytes = options.window_clamp_bytes;
  c->rcv.shift = core.window_shift(options);
  c->ttl = options.ttl;
  c->traffic_class = options.traffic_class;
  if (options.congestion != CongestionControl::kCubic) {
    c->congestion().~CongestionController();
    c->use_congestion(options.congestion);
  }
  c->rcv.buffer_fixed = options.receive_buffer_bytes != 0;
  c->rcv.buffer_bytes =
      std::min(c->rcv.buffer_fixed ? options.receive_buffer_bytes : stack.receive_buffer_bytes,
               stack.receive_buffer_max_bytes);
  c->send_buffer_fixed = options.send_buffer_bytes != 0;
  c->send_buffer_bytes =
      std::min(c->send_buffer_fixed ? options.send_buffer_bytes : stack.send_buffer_bytes,
               stack.send_buffer_max_bytes);
  c->ts_offset = core.timestamp_offset(key);
  c->hashed = true;
  core.flows.insert(c, hash);
  core.all.push_back(c);
  return c;
}

void start_established(Core& core, Instant now, Connection& c) {
  c.state = State::kEstablished;
  c.established_at = c.last_received_at = now;
  c.loss.backoff = 0;
  c.loss.stalled_since = {};
  c.loss.high = c.snd.una - 1;
  c.loss.fack = c.snd.una;
  c.loss.dsack_round = c.snd.una;
  c.snd.small_end = c.snd.una;
  c.rcv.consumed = c.rcv.tune_seq = c.rcv.rtt_seq = c.rcv.nxt;
  c.rcv.tune_at = now;
  c.rcv.tune_space_bytes = c.rcv.buffer_bytes / 2;
  clear_deadline(c.retransmit_at);
  c.retransmit_mode = RetransmitMode::kNone;
  update_mss(core, c);
  c.rcv.peer_segment_bytes = uint16_t(std::min<uint32_t>(c.snd.mss_bytes, 536));
  if (core.options.mtu_probing == MtuProbing::kAlways) begin_mtu_probing(core, now, c);
  c.window.cwnd_bytes = initial_window_bytes(c);
  c.usage_end = c.snd.una;
  begin_congestion_control(c, now);
  // RFC 6298 5.7: after a lost SYN, and nothing measured since, data begins with 3 s.
  if (c.syn_resent && !c.rtt.valid()) c.rtt.set_fallback_us(3'000'000);
  restart_keepalive(core, now, c);
  core.ip.confirm(now, c.path);
  if (c.snd.fin_queued) {
    c.state = State::kFinWait1;
  }
}

void enter_time_wait(Core& core, Instant now, Connection& c) {
  if (c.state != State::kTimeWait) core.time_waits.push_back(&c);
  c.state = State::kTimeWait;
  c.snd.queue.release_all(core.pool);
  c.loss.sack_cursor = nullptr;
  release_reassembly(core, c);
  if (!c.owned) release_received(core, c);
  clear_deadline(c.retransmit_at);
  c.retransmit_mode = RetransmitMode::kNone;
  set_life_deadline(core, c, now + core.options.time_wait);
}

void peer_closed(Core& core, Instant now, Connection& c) {
  switch (c.state) {
    case State::kEstablished:
      c.state = State::kCloseWait;
      return;
    case State::kFinWait1:
      c.state = State::kClosing;
      return;
    case State::kFinWait2:
      send_ack(core, now, c);
      enter_time_wait(core, now, c);
      return;
    default:
      return;
  }
}

namespace {

// Nobody here waits for the peer's FIN any more: not for ever, or by TCP_LINGER2 not at all.
void enter_orphaned_fin_wait2(Core& core, Instant now, Connection& c, uint8_t ack_flag) {
  if (c.linger2_s < 0) {
    (void)send_control(core, now, c, c.snd.nxt, wire::kTcpRst | ack_flag);
    ++core.counters.tcp_resets_sent;
    bury(core, c);
    return;
  }
  const Duration wait = c.linger2_s > 0 ? Duration::seconds(c.linger2_s) : core.options.fin_timeout;
  set_life_deadline(core, c, now + wait);
}

}  // namespace

void fin_acked(Core& core, Instant now, Connection& c) {
  switch (c.state) {
    case State::kFinWait1:
      c.state = State::kFinWait2;
      if (!c.owned) enter_orphaned_fin_wait2(core, now, c, 0);
      return;
    case State::kClosing:
      enter_time_wait(core, now, c);
      return;
    case State::kLastAck:
      // Nobody remembers the connection from here on. Its last ACK may come once more, and would
      // pass for a SYN cookie one time in some hundred.
      if (core.counters.tcp_cookies_sent) core.cookies.spend(c.rcv.nxt - 1, c.snd.nxt - 1);
      bury(core, c);
      return;
    default:
      return;
  }
}

void bury(Core& core, Connection& c) {
  if (c.state == State::kClosed) return;
  // One that waits to be accepted goes on waiting: accept() returns it, with its error (Linux).
  if (!c.queued) static_cast<ListNode<QueueTag>&>(c).unlink();
  c.state = State::kClosed;
  if (c.hashed) {
    core.flows.remove(&c);
    c.hashed = false;
    core.handler.on_freed(c.key);
  }
  core.wheel.cancel(c.timer);
  core.wheel.cancel(c.life_timer);
  c.retransmit_at = c.ack_at = c.pace_at = c.life_at = Instant::never();
  c.retransmit_mode = RetransmitMode::kNone;
  c.snd.queue.release_all(core.pool);
  c.loss.sack_cursor = nullptr;
  release_reassembly(core, c);
  if (!c.owned && !c.queued) release_received(core, c);
}

void leave_accept_queue(Connection& c) {
  if (!c.queued) return;
  static_cast<ListNode<QueueTag>&>(c).unlink();
  --c.listener->ready;
  c.queued = false;
  c.listener = nullptr;
}

void fail_connection(Core& core, Connection& c, int error) {
  if (c.state == State::kClosed) return;
  c.error = uint16_t(error);
  bury(core, c);
  if (c.owned) core.handler.on_error(c, Error{error});
}

void queue_fin(Core& core, Connection& c) {
  Sender& s = c.snd;
  s.fin_queued = true;
  s.fin_waiting = false;
  TxQueue& q = s.queue;
  if (q.unsent) {  // rides on the last segment
    TxNote& n = note_of(q.tail);
    n.flags |= TxNote::kFin;
    q.bytes += 1;
    q.unsent_bytes += 1;
  } else {
    Frame* f = core.pool.alloc();
    if (!f) {
      ++core.counters.tcp_no_memory;
      s.fin_waiting = true;
      return;
    }
    q.append(f, s.end, TxNote::kFin);
  }
  s.end += 1;
}

void orphan(Core& core, Instant now, Connection& c) {
  c.owned = false;
  c.read_closed = true;
  if (c.state == State::kFinWait2) enter_orphaned_fin_wait2(core, now, c, wire::kTcpAck);
}

void reap(Core& core, Connection& c) {
  if (c.announced) {
    c.announced = false;
    if (c.owned) core.handler.on_readable(c);
  }
  if (c.state != State::kClosed || c.owned || c.queued) return;
  release_received(core, c);
  static_cast<ListNode<AllTag>&>(c).unlink();
  static_cast<ListNode<HeldTag>&>(c).unlink();
  core.connections.destroy(&c);
}

void destroy_half_open(Core& core, HalfOpen& h) {
  core.wheel.cancel(h.timer);
  core.flows.remove(&h);
  static_cast<ListNode<AllTag>&>(h).unlink();
  static_cast<ListNode<QueueTag>&>(h).unlink();
  --h.listener->half_opens;
  core.half_opens.destroy(&h);
}

bool recycle_time_wait(Core& core) {
  for (int tries = 0; tries < 8; ++tries) {
    Connection* oldest = core.time_waits.front();
    if (!oldest) return false;
    if (oldest->owned) {  // its user still looks at it: not ours to end
      static_cast<ListNode<QueueTag>*>(oldest)->unlink();
      core.time_waits.push_back(oldest);
      continue;
    }
    ++core.counters.tcp_time_wait_recycled;
    bury(core, *oldest);
    reap(core, *oldest);
    return true;
  }
  return false;
}

Listener* match_listener(const Core& core, const wire::Endpoint& local) {
  // An exact address before a wildcard of the family before a dual-stack wildcard.
  Listener* best = nullptr;
  int rank = 0;
  core.ports.find(local.port, [&](const Listener& l) {
    int r = 0;
    if (l.local.port != local.port)
      r = 0;
    else if (l.local.address == local.address)
      r = 3;
    else if (!l.local.address.is_unspecified())
      r = 0;
    else if (l.local.address.is_v4() == local.address.is_v4())
      r = 2;
    else if (l.dual_stack && local.address.is_v4())
      r = 1;
    if (r > rank) rank = r, best = const_cast<Listener*>(&l);
    return rank == 3;
  });
  return best;
}

}  // namespace millrace::tcp
