// SPDX-License-Identifier: MIT
#include "tcp/hand_over.h"

#include "tcp/lifecycle.h"
#include "tcp/receive.h"

namespace millrace::tcp {

namespace {

// Payload of a queued frame; none for one that holds only the FIN.
void add_piece(net::Pieces& pieces, Frame* f) {
  const TxNote& n = note_of(f);
  if (n.length > 0) pieces.push_back({f->chunk + n.offset, n.length});
}

void describe_sender(const Connection& c, net::ConnectionState& out) {
  const Sender& s = c.snd;
  out.send_una = s.una.value();
  out.fin_queued = s.fin_queued;
  out.fin_acked = s.fin_queued && !s.fin_waiting && s.una == s.end;
  net::Pieces* pieces = &out.sent;
  for (Frame* f = s.queue.head; f; f = f->next) {
    if (f == s.queue.unsent) pieces = &out.unsent;
    add_piece(*pieces, f);
  }
  out.send_window_bytes = s.window_bytes;
  out.send_window_max_bytes = s.window_max_bytes;
  out.window_update_seq = s.wl1.value();
  out.send_shift = s.shift;
  out.peer_mss_bytes = s.peer_mss_bytes;
}

// What waits out of order stays behind: the peer has it until it is acknowledged (RFC 2018 8).
void describe_receiver(const Connection& c, net::ConnectionState& out) {
  const Receiver& r = c.rcv;
  out.fin_received = r.fin_received;
  out.receive_next = r.nxt.value() - (r.fin_received ? 1 : 0);
  out.receive_window_bytes = offered_window(c);
  out.receive_shift = r.shift;
  for (Frame* f = r.queue.front(); f; f = f->next) out.received.push_back(f->bytes());
}

}  // namespace

Error describe(Instant now, Connection& c, net::ConnectionState& out) {
  switch (c.state) {
    case State::kClosed:
    case State::kListen:
    case State::kSynSent:
    case State::kSynReceived:
    case State::kTimeWait:
      return Error{ENOTCONN};
    default:
      break;
  }
  out.flow = c.key;
  describe_sender(c, out);
  describe_receiver(c, out);
  out.window_scaling = c.scaling;
  out.sack = c.sack;
  out.timestamps = c.timestamps;
  out.timestamp = ts_now(now, c.ts_offset);
  out.nodelay = c.nodelay;
  out.keepalive = c.keepalive;
  out.keepalive_idle_s = c.keepalive_idle_s;
  out.keepalive_interval_s = c.keepalive_interval_s;
  out.keepalive_probes = c.keepalive_probes;
  out.ttl = c.ttl;
  out.traffic_class = c.traffic_class;
  return kOk;
}

void forget(Core& core, Connection& c) {
  ++core.counters.tcp_handed_over;
  c.owned = false;
  c.announced = false;
  bury(core, c);
  reap(core, c);
}

}  // namespace millrace::tcp
