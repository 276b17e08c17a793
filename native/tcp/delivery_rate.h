// SPDX-License-Identifier: MIT
// Delivery rate samples (draft-cheng-iccrg-delivery-rate-estimation) and pacing, for congestion
// control that works with rates. Each segment notes how much had been delivered when it was sent;
// its ACK then tells how much was delivered meanwhile. Costs nothing while nobody asks for it.
#pragma once

#include "tcp/recovery.h"
#include "tcp/timers.h"

namespace millrace::tcp {

// --- samples
void note_rate_sent(Connection& c, TxNote& n, Instant now);
void note_rate_delivered(Connection& c, TxNote& n, AckSummary& a);
RateSample rate_sample(Connection& c, const AckSummary& a);
// Before data is queued: the sender may have run out of it.
void look_for_app_limit(Connection& c);
// The algorithm of `c` has changed, or the connection has just been established.
void begin_congestion_control(Connection& c, Instant now);

// --- pacing
// True: the next segment has to wait; a timer is set.
bool pacing_holds(Core& core, Instant now, Connection& c);
void note_paced(Connection& c, Instant now, uint32_t bytes);

}  // namespace millrace::tcp
