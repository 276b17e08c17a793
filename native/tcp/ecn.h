// SPDX-License-Identifier: MIT
// Explicit congestion notification (RFC 3168, 8311) of one connection: what was agreed, the mark to
// be echoed and the cut to be told. Routers mark new data that says it can be marked, ECT(0), with
// CE instead of dropping it; the receiver says ECE in every ACK until the sender says CWR, which
// has cut its window once for that round trip. ECT(1) is the same as ECT(0) (RFC 8311 4).
#pragma once

#include "tcp/segment.h"

namespace millrace::tcp {

struct Core;
class Connection;

struct EcnState {
  bool requested = false;  // our latest SYN asked for it
  bool active = false;     // agreed
  bool seen = false;       // the peer has sent data that can be marked
  bool echo = false;       // a mark came: ECE until CWR
  bool reduced = false;    // our window was cut: CWR goes with the next new data
};

inline constexpr uint8_t kIpEcnMask = 3;  // of the traffic class
inline constexpr uint8_t kIpEct0 = 2;
inline constexpr uint8_t kIpCe = 3;

// Flags for our SYN, or SYN-ACK of a simultaneous open. A SYN that was not answered is repeated
// without (RFC 3168 6.1.1.1): there are boxes that drop it.
uint8_t ecn_syn_flags(const Core& core, Connection& c);
// The peer's SYN or SYN-ACK in SYN-SENT.
void take_ecn_syn(Core& core, Connection& c, const Segment& s);
// A SYN to a listener asks for ECN, and is to get it. One that could itself be marked breaks the
// rules (RFC 3168 6.1.1) and is not believed, as by Linux.
bool ecn_asked(const Core& core, const Segment& syn);
// Data has come; `fresh`: some of it is new.
void take_ecn_data(Core& core, Connection& c, const Segment& s, bool fresh);

}  // namespace millrace::tcp
