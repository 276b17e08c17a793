// SPDX-License-Identifier: MIT
// Segment size and path MTU: what ICMP tells (RFC 1191, 8201) goes to the Internet layer, so that
// all connections to that host know; where ICMP is filtered, probing finds out (RFC 4821, as
// Linux's tcp_mtu_probing): smaller segments when the timeouts look like a black hole, then larger
// ones, one at a time, whose loss is no congestion.
#pragma once

#include "tcp/recovery.h"

namespace millrace::tcp {

// Before anything is built: when the tables have changed, the path's MTU may have.
void follow_path(Core& core, Connection& c);
// A checked ICMP error: packets to the peer must not be longer.
void lower_mtu(Core& core, Instant now, Connection& c, uint32_t mtu_bytes, bool may_be_cut);

// The connection is established, or its timeouts repeat themselves.
void begin_mtu_probing(Core& core, Instant now, Connection& c);
void note_black_hole(Core& core, Instant now, Connection& c);
// Sends a probe of the unsent data if one is due and everything is quiet. True when it left.
bool send_mtu_probe(Core& core, Instant now, Connection& c);
// SND.UNA has moved.
void look_for_mtu_probe_acked(Core& core, Connection& c);
// What RACK has just deemed lost is the probe and nothing else: no congestion.
bool mtu_probe_lost(Core& core, Connection& c);
void forget_mtu_probe(Core& core, Connection& c);

}  // namespace millrace::tcp
