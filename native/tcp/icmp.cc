// SPDX-License-Identifier: MIT
// ICMP errors about our segments: RFC 1122 4.2.3.9, 5461, 5927 (only what quotes data in flight is
// believed), path MTU discovery by RFC 1191 and 8201.
#include <algorithm>

#include "tcp/emit.h"
#include "tcp/icmp.h"
#include "tcp/lifecycle.h"
#include "tcp/path_mtu.h"
#include "tcp/recovery.h"
#include "tcp/timers.h"
#include "wire/byte_order.h"

namespace millrace::tcp {

namespace {

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
    if (!opening) lower_mtu(core, now, c, e.mtu_bytes, e.may_be_cut);
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
