// SPDX-License-Identifier: MIT
// Counters of the Internet layer: name and meaning in one place, read by `stats()` and the docs.
#pragma once

#include <cstdint>

// X(name, meaning)
#define MILLRACE_NET_COUNTERS(X)                                            \
  X(ip_received, "IP packets received")                                    \
  X(ip_sent, "IP packets sent")                                            \
  X(ip_bad_header, "IP packets dropped for a malformed header or checksum")

namespace millrace::net {

struct Counters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_NET_COUNTERS(X)
#undef X
};

}  // namespace millrace::net
