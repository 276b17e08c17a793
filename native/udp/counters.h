// SPDX-License-Identifier: MIT
// Counters of UDP: name and meaning in one place, read by `stats()` and the docs.
#pragma once

#include <cstdint>

// X(name, meaning)
#define MILLRACE_UDP_COUNTERS(X)                                                                \
  X(udp_received, "UDP datagrams put into a socket's receive queue")                            \
  X(udp_sent, "UDP datagrams sent")                                                             \
  X(udp_send_failed, "UDP datagrams that could not be sent")                                    \
  X(udp_bad_length, "UDP datagrams dropped because their lengths contradict each other")        \
  X(udp_bad_checksum, "UDP datagrams dropped for a wrong checksum, or none over IPv6")          \
  X(udp_no_port, "UDP datagrams dropped because no socket takes them")                          \
  X(udp_queue_full, "UDP datagrams dropped because the socket's receive buffer was full")       \
  X(udp_memory_full, "UDP datagrams dropped because all sockets together hold too many frames") \
  X(udp_icmp_errors, "ICMP errors told to a connected UDP socket")                              \
  X(udp_icmp_ignored, "ICMP errors about UDP that no connected socket wants to know")

namespace millrace::udp {

struct Counters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_UDP_COUNTERS(X)
#undef X
};

}  // namespace millrace::udp
