// SPDX-License-Identifier: MIT
// A connection leaves this stack in mid-stream: its state for whoever goes on with it, and the end
// of ours without a word to the peer.
#pragma once

#include "net/connection_state.h"
#include "tcp/core.h"

namespace millrace::tcp {

// ENOTCONN: still in its handshake, dead, or in TIME-WAIT: there is nothing to go on with.
Error describe(Instant now, Connection& c, net::ConnectionState& out);
// Frees it, its user's reference included. No segment is sent.
void forget(Core& core, Connection& c);

}  // namespace millrace::tcp
