// SPDX-License-Identifier: MIT
// Puts single segments on the wire: header, options, checksum, window. Decides nothing about what
// is to be sent; that is output.h and the timers.
#pragma once

#include "tcp/core.h"
#include "tcp/segment.h"

namespace millrace::tcp {

// Largest payload with which a segment of the connection still fits the path, into snd.mss_bytes.
void update_mss(Core& core, Connection& c);
// MSS to announce for a path (RFC 6691: options are not deducted).
uint16_t announced_mss(const net::Path& path, uint16_t mss_max_bytes);

// The window of a SYN or SYN-ACK: whole segments, as many as fit into the space (Linux).
uint16_t first_window(uint32_t space_bytes, uint32_t clamp_bytes, uint32_t mss_bytes);
uint16_t syn_window(const Connection& c);

// New segments that leave right behind one another: to a device that cuts, they are one packet as
// long as nothing but the sequence number and the payload tells them apart.
struct SegmentRun {
  Frame* head = nullptr;     // the first of them; null: there is none to go on from
  uint8_t* flags = nullptr;  // in its TCP header
  Seq end;
  uint16_t segment_bytes = 0;
};

// Sends the payload of a queued frame. False when nothing left (no memory, or refused below).
// `run`: the frame is new, and so are those in the run, which it may join.
bool send_frame(Core& core, Instant now, Connection& c, Frame* frame, SegmentRun* run = nullptr);
// A segment without payload. `seq` is given because probes carry SND.UNA-1.
bool send_control(Core& core, Instant now, Connection& c, Seq seq, uint8_t flags);
// A pure ACK now; if there is no memory, again soon.
void send_ack(Core& core, Instant now, Connection& c);
void send_syn(Core& core, Instant now, Connection& c);
void send_reset(Core& core, Instant now, Connection& c);
// At most one per 500 ms and connection (RFC 5961 7, Linux's rate).
void send_challenge_ack(Core& core, Instant now, Connection& c);
bool challenge_allowed(Core& core, Instant now, Connection& c);

void send_syn_ack(Core& core, Instant now, HalfOpen& h);
// The same without a HalfOpen, for a SYN cookie. False when nothing left.
bool send_syn_ack(Core& core, Instant now, const wire::FlowKey& key, const Listener& l,
                  const Handshake& h, uint32_t ts_value);
void send_half_open_ack(Core& core, Instant now, HalfOpen& h);
// RST in answer to a segment that no connection takes (RFC 9293 3.5.2 group 1).
void answer_with_reset(Core& core, Instant now, const wire::FlowKey& key, const Segment& s);

}  // namespace millrace::tcp
