// SPDX-License-Identifier: MIT
// The way in, split by the state that the segment meets (RFC 9293 3.10.7).
#pragma once

#include "tcp/core.h"
#include "tcp/segment.h"

namespace millrace::tcp {

// --- input.cc: parses, finds the connections, dispatches. Takes over the frames.
//
// With many connections each one is cold in the caches when its segment comes, and waiting for its
// memory line by line would cost several times what the protocol does. So a burst goes through in
// two passes: the first parses and asks for the bucket of the flow table, the second asks for the
// connection a few segments ahead of the one that it processes. What is asked for in this way is a
// hint: the lookup that counts comes when it is the segment's turn, since those before it may open
// and close connections.
void input_burst(Core& core, Instant now, std::span<const net::Received> burst);

// --- input_listen.cc
void input_listen(Core& core, Instant now, Listener& l, const wire::FlowKey& key, uint64_t hash,
                  Segment& s);
void input_half_open(Core& core, Instant now, HalfOpen& h, Segment& s);

// The accept queue takes no more; as Linux, one more than the backlog fits.
inline bool backlog_full(const Listener& l) {
  return l.ready > l.backlog;
}
// All of a handshake but its numbers, from the options of the peer's SYN.
Handshake handshake_of(const Core& core, const Listener& l, const wire::FlowKey& key,
                       const wire::TcpOptions& syn);
// The third segment of a handshake has come: a connection, or null when there is no room for it.
Connection* create_accepted(Core& core, Instant now, Listener& l, const wire::FlowKey& key,
                            uint64_t hash, const Handshake& h, const Segment& s);
// It is established and waits to be accepted; `s` is processed, and the listener's user told.
void begin_accepted(Core& core, Instant now, Listener& l, Connection& c, Segment& s);

// --- input.cc
// A segment of no connection and no handshake: a reset, unless somebody else knows its flow.
void refuse_stray(Core& core, Instant now, const wire::FlowKey& key, Segment& s);

// --- input_cookie.cc
// Handshakes in progress have used up the table or the listener's share of it.
bool cookies_wanted(const Core& core, const Listener& l);
void answer_with_cookie(Core& core, Instant now, Listener& l, const wire::FlowKey& key,
                        const Segment& s);
// True: the ACK was dealt with: it held a cookie, or there is no telling now. False: it is to be
// refused. `instead_of`: a handshake of the same 4-tuple, begun by a later SYN, which it replaces.
bool take_cookie(Core& core, Instant now, Listener& l, const wire::FlowKey& key, uint64_t hash,
                 Segment& s, HalfOpen* instead_of);

// --- input_syn_sent.cc
void input_syn_sent(Core& core, Instant now, Connection& c, Segment& s);
// What the SYN of the peer said, for both directions of opening.
void take_syn_options(Core& core, Instant now, Connection& c, const Segment& s);
uint16_t believed_mss(const wire::TcpOptions& options, const wire::IpAddress& peer);

// --- input_synchronized.cc
void input_synchronized(Core& core, Instant now, Connection& c, Segment& s);

// --- input_ack.cc
// False: the segment must not be processed further.
bool input_ack(Core& core, Instant now, Connection& c, const Segment& s);

// --- input_time_wait.cc
// True: the segment is a SYN that may reopen; the connection is gone.
bool input_time_wait(Core& core, Instant now, Connection& c, Segment& s);

// RFC 7323 5.3 R3: which segments may move TS.Recent.
inline void take_timestamp(Instant now, Connection& c, const Segment& s) {
  if (!c.timestamps || !s.options.has_timestamps) return;
  if (s.seq <= c.rcv.acked && int32_t(s.options.ts_value - c.rcv.ts_recent) >= 0) {
    c.rcv.ts_recent = s.options.ts_value;
    c.rcv.ts_recent_at = now;
  }
}
// RFC 7323 5.3 R1. TS.Recent is not believed after 24 days (5.5). A path that reorders within a
// tick of the peer's clock is no wrapped sequence number: Linux forgives one while it is connected.
inline bool paws_rejects(Instant now, const Connection& c, const Segment& s, int32_t forgiven = 0) {
  return c.timestamps && s.options.has_timestamps &&
         int32_t(c.rcv.ts_recent - s.options.ts_value) > forgiven &&
         now - c.rcv.ts_recent_at < Duration::seconds(24 * 86400);
}

}  // namespace millrace::tcp
