// SPDX-License-Identifier: MIT
// The deadlines of a connection that come and go with its segments share one timer: it stands at
// the earliest of them or before. Moving a deadline out is a store; the timer then fires once for
// nothing and finds the new one. Keep-alive and the like have a timer of their own, so that the
// first does not have to go back there, hours away, from every exchange. RFC 6298, 9293.
#pragma once

#include "tcp/core.h"

namespace millrace::tcp {

inline void set_timer(Core& core, Timer& timer, Instant at) {
  if (!timer.armed() || at < timer.deadline()) {
    if (!at.is_never()) core.wheel.arm(timer, at);
  }
}
// `slot` is one of c.retransmit_at, c.ack_at, c.pace_at.
inline void set_deadline(Core& core, Connection& c, Instant& slot, Instant at) {
  slot = at;
  set_timer(core, c.timer, at);
}
inline void set_life_deadline(Core& core, Connection& c, Instant at) {
  c.life_at = at;
  set_timer(core, c.life_timer, at);
}
inline void clear_deadline(Instant& slot) {
  slot = Instant::never();
}

void connection_timer(Timer& timer, void* owner, Instant now);
void connection_life_timer(Timer& timer, void* owner, Instant now);
void half_open_timer(Timer& timer, void* owner, Instant now);

// The RTO with its backoff.
Duration current_rto(const Core& core, const Connection& c);
// Starts the retransmission timer if something is in flight, else stops it.
void arm_retransmit(Core& core, Instant now, Connection& c);
// The same, but a tail loss probe instead where RFC 8985 7.2 allows one.
void arm_retransmit_or_probe(Core& core, Instant now, Connection& c);
// Something waits behind a window too small for it and nothing is in flight (RFC 9293 3.8.6.1).
void arm_persist(Core& core, Instant now, Connection& c);
void restart_keepalive(Core& core, Instant now, Connection& c);
void retransmit_timeout(Core& core, Instant now, Connection& c);
void persist_timeout(Core& core, Instant now, Connection& c);
void tail_probe_timeout(Core& core, Instant now, Connection& c);
void syn_timeout(Core& core, Instant now, Connection& c);

}  // namespace millrace::tcp
