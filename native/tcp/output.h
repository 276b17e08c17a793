// SPDX-License-Identifier: MIT
// What may be sent now: retransmissions first, then new data as far as the peer's window,
// congestion, Nagle and silly window avoidance let it. RFC 9293 3.7.4, 3.8.6.2.1, 5681, 6675.
#pragma once

#include "tcp/core.h"

namespace millrace::tcp {

struct SegmentRun;  // emit.h

// What is thought to be in the network (RFC 6675 4). Without SACK every duplicate ACK stands for
// one segment that has left it.
inline uint32_t pipe_bytes(const Connection& c) {
  const uint32_t pipe = c.snd.queue.pipe_bytes();
  if (c.sack || c.loss.dupacks == 0) return pipe;
  const uint32_t left = uint32_t(c.loss.dupacks) * c.window.mss_bytes;
  return pipe > left ? pipe - left : 0;
}

void send_pending(Core& core, Instant now, Connection& c);
// One lost or timed-out frame again, cut to the present segment size. False when it could not
// leave.
bool resend_frame(Core& core, Instant now, Connection& c, Frame* frame);
// The next new frame, not larger than `limit_bytes`. False when it could not leave. `run`: the
// segments that left just before.
bool send_new_frame(Core& core, Instant now, Connection& c, uint32_t limit_bytes,
                    SegmentRun* run = nullptr);
// RFC 6928: 10 segments; 1 after a lost SYN.
uint32_t initial_window_bytes(const Connection& c);

}  // namespace millrace::tcp
