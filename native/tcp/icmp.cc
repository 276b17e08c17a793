// SPDX-License-Identifier: MIT
// ICMP errors about our segments: RFC 1122 4.2.3.9, 5461, 5927 (only what quotes data in flight is
// believed), path MTU discovery by RFC 1191 and 8201.
#include <algorithm>

#include "tcp/emit.h"
#include "tcp/icmp.h"
#include "tcp/lifecycle.h"
#include "tcp/output.h"
#include "tcp/recovery.h"
#include "tcp/timers.h"
#include "wire/byte_order.h"

namespace millrace::tcp {

namespace {

constexpr uint32_t kMtuFloorV4 = 552;   // Linux min_pmtu
constexpr uint32_t kMtuFloorV6 = 1280;  // RFC 8200 5

void lower_mtu(Core& core, Instant now, Connection& c, uint32_t mtu_bytes) {
  const bool v4 = c.key.remote.address.is_v4();
  const uint32_t current =
      c.snd.pmtu_bytes ? std::min<uint32_t>(c.snd.pmtu_bytes, c.path.mtu_bytes) : c.path.mtu_bytes;
  // A router that does not say the MTU (0) means the floor: Linux does not try the plateaus of RFC
  // 1191 7.1.
  mtu_bytes = std::max(mtu_bytes, v4 ? kMtuFloorV4 : kMtuFloorV6);
  if (mtu_bytes >= current) return;
  c.snd.pmtu_bytes = uint16_t(std::min<uint32_t>(mtu_bytes, UINT16_MAX));
  c.snd.pmtu_at = now;
  ++core.counters.tcp_pmtu_lowered;
  update_mss(core, c);
  // What is too big was dropped: again, smaller, at once, and it was no congestion (RFC 1191 6.4).
  TxQueue& q = c.snd.queue;
  for (Frame* f = q.head; f != q.unsent; f = f->next) {
    const TxNote& n = note_of(f);
    if (n.length > c.snd.mss_bytes && !n.has(TxNote::kSacked)) q.mark_lost(f);
  }
  send_pending(core, now, c);
}

void fail_opening(Core& core, Connection& c, int error) {
  ++core.counters.tcp_open_failed;
  fail_connection(core, c, error);
}

}  // namespace

void take_icmp_error(Core& core, Instant now, const net::IcmpError& e) {
  if (e.quoted_transport.size() < 8) {
    ++core.counters.tcp_icmp_ignored;
    return;
  }
  const uint8_t* q = e.quoted_transport.data();
  const wire::FlowKey key{{e.local, wire::load16(q)}, {e.remote, wire::load16(q + 2)}};
  FlowNode* node = core.find(key, core.flow_hash(key));
  if (!node || node->half_open) {  // a half-open handshake ends by itself
    ++core.counters.tcp_icmp_ignored;
    return;
  }
  Connection& c = *static_cast<Connection*>(node);
  const Seq seq(wire::load32(q + 4));
  // RFC 5927 4.1: an attacker would have to guess a number that is in flight.
  const bool opening = c.state == State::kSynSent || c.state == State::kSynReceived;
  const Seq first = opening ? c.snd.iss : c.snd.una;
  if (seq < first || seq > c.snd.nxt || c.state == State::kTimeWait) {
    ++core.counters.tcp_icmp_ignored;
    return;
  }
  if (e.error.code == EMSGSIZE) {
    if (!opening) lower_mtu(core, now, c, e.mtu_bytes);
  } else if (opening) {
    // RFC 1122 4.2.3.9 would wait after the soft ones. Linux does not: a connect() to a host that a
    // router calls unreachable fails at once.
    fail_opening(core, c, e.error.code);
  } else {
    c.soft_error = uint16_t(e.error.code);  // all soft once synchronized (RFC 5927 5.2)
  }
  reap(core, c);
}

}  // namespace millrace::tcp
