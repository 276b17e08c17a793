// SPDX-License-Identifier: MIT
// The receiving side: queue of in-order bytes, reassembly, the window and its tuning, and when to
// acknowledge. RFC 9293 3.8.6.2, 2018, 2883, 5681 4.2.
#pragma once

#include "tcp/core.h"
#include "tcp/segment.h"

namespace millrace::tcp {

// --- window and acknowledgements: receive_window.cc
// The window field for a segment that is being sent; moves rcv.edge.
uint16_t announce_window(const Core& core, Connection& c);
// Bytes that the peer may still send as far as it knows.
inline uint32_t offered_window(const Connection& c) {
  const int32_t window = c.rcv.edge - c.rcv.nxt;
  return window > 0 ? uint32_t(window) : 0;
}
void note_ack_sent(Instant now, Connection& c);
// Data has arrived in order or not: adapts the delayed ACK (Linux's ato).
void note_data_received(Core& core, Instant now, Connection& c, const Segment& s);
// Data is being sent: the exchange is interactive if it answers what just came.
void note_data_sent(Core& core, Instant now, Connection& c);
// Sends or schedules the ACK that is due.
void acknowledge(Core& core, Instant now, Connection& c);
void enter_quick_ack(Connection& c, uint8_t segments);
// The user has read: opens the window if that is worth a segment, and tunes the buffer.
void after_read(Core& core, Instant now, Connection& c);

// --- data: receive_data.cc
// Takes in the payload and FIN of an acceptable segment.
void receive_payload(Core& core, Instant now, Connection& c, Segment& s);
uint32_t copy_out(Core& core, Connection& c, std::span<uint8_t> out);
void release_received(Core& core, Connection& c);

// --- reassembly.cc
// Queues a segment that is not the next one. [seq, end) lies within the window.
void reassemble(Core& core, Connection& c, Segment& s);
// Moves what has become in-order to the receive queue.
void drain_reassembly(Core& core, Connection& c);
void release_reassembly(Core& core, Connection& c);
// Puts `f` behind the in-order data, into the last frame's memory if it fits there.
void enqueue_in_order(Core& core, Connection& c, Frame* f);
// A duplicate to be reported once (RFC 2883).
void note_duplicate(Connection& c, Seq start, Seq end);

}  // namespace millrace::tcp
