// SPDX-License-Identifier: MIT
#include "tcp/ecn.h"

#include "tcp/core.h"
#include "tcp/receive.h"

namespace millrace::tcp {

namespace {

constexpr uint8_t kAsk = wire::kTcpEce | wire::kTcpCwr;

}  // namespace

uint8_t ecn_syn_flags(const Core& core, Connection& c) {
  if (c.state == State::kSynReceived) return c.ecn.active ? wire::kTcpEce : 0;
  c.ecn.requested = core.options.ecn == Ecn::kOn && !c.syn_resent;
  return c.ecn.requested ? kAsk : 0;
}

void take_ecn_syn(Core& core, Connection& c, const Segment& s) {
  // Both flags on a SYN-ACK come from a host that only reflects them (RFC 3168 6.1.1).
  const uint8_t expected = s.has(wire::kTcpAck) ? wire::kTcpEce : kAsk;
  c.ecn.active = c.ecn.requested && (s.flags & kAsk) == expected;
  if (c.ecn.active) ++core.counters.tcp_ecn_agreed;
}

bool ecn_asked(const Core& core, const Segment& syn) {
  return core.options.ecn != Ecn::kOff && (syn.flags & kAsk) == kAsk && syn.ecn == 0;
}

void take_ecn_data(Core& core, Connection& c, const Segment& s, bool fresh) {
  EcnState& e = c.ecn;
  if (!e.active) return;
  if (s.has(wire::kTcpCwr) && s.length > 0) {
    e.echo = false;
    c.rcv.ack_now = true;  // the end of ECE is not to wait (Linux)
  }
  if (!fresh) return;
  if (s.ecn == kIpCe) {
    ++core.counters.tcp_ecn_marks;
    // The sender may have little left to send: it needs its ACKs (Linux).
    if (!e.echo) enter_quick_ack(c, 2);
    e.echo = true;
  } else if (s.ecn == 0 && e.seen) {
    enter_quick_ack(c, 2);  // not markable, so a retransmission: the sender repairs a loss
  }
  e.seen = e.seen || s.ecn != 0;
}

}  // namespace millrace::tcp
