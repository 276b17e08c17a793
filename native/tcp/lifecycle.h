// SPDX-License-Identifier: MIT
// From state to state, and the end of things. A connection in kClosed is out of the tables and
// holds no timer and no send queue; its memory goes when its user has closed it (reap), never in
// the middle of a call.
#pragma once

#include "tcp/core.h"
#include "tcp/segment.h"

namespace millrace::tcp {

// Null when there is no room for another.
Connection* create_connection(Core& core, const wire::FlowKey& key, uint64_t hash,
                              const ConnectionOptions& options, const net::Path& path);
// The handshake is done: windows, timers and congestion control start.
void start_established(Core& core, Instant now, Connection& c);
// The peer's FIN has been reached in sequence.
void peer_closed(Core& core, Instant now, Connection& c);
// Our FIN has been acknowledged.
void fin_acked(Core& core, Instant now, Connection& c);
void enter_time_wait(Core& core, Instant now, Connection& c);
// Dead, with the reason for the user.
void fail_connection(Core& core, Connection& c, int error);
// Out of every table; queues that nobody can read any more are given back.
void bury(Core& core, Connection& c);
// Nobody will accept it.
void leave_accept_queue(Connection& c);
// Queues our FIN; sent by output.
void queue_fin(Core& core, Connection& c);
// Tells the user what has come, and frees the connection if nobody has it. Ends every entry into
// Tcp.
void reap(Core& core, Connection& c);
void orphan(Core& core, Instant now, Connection& c);

void destroy_half_open(Core& core, HalfOpen& h);
// One slot of `connections` freed by ending the oldest TIME-WAIT. False if there is none.
bool recycle_time_wait(Core& core);

Listener* match_listener(const Core& core, const wire::Endpoint& local);

}  // namespace millrace::tcp
