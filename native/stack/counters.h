// SPDX-License-Identifier: MIT
// Counters of the stack as a whole: name and meaning in one place.
#pragma once

#include <cstdint>

// X(name, meaning)
#define MILLRACE_STACK_COUNTERS(X)                                             \
  X(turns, "turns of the stack")                                               \
  X(guardian_turns, "turns that the guardian ran because JavaScript was busy") \
  X(commands, "commands taken from JavaScript")                                \
  X(events, "events published to JavaScript")                                  \
  X(event_ring_full, "times that an event had to wait for room in the ring")   \
  X(slabs_empty, "times that received bytes had to wait for a receive slab")   \
  X(connections_opened, "connections opened by connect()")                     \
  X(connections_accepted, "connections accepted")                              \
  X(sockets_refused, "sockets refused because the table of sockets was full")  \
  X(sends_failed, "datagrams that could not be sent (no frame, no neighbour)")

namespace millrace {

struct Counters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_STACK_COUNTERS(X)
#undef X
};

}  // namespace millrace
