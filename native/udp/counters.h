// SPDX-License-Identifier: MIT
// Counters of UDP: name and meaning in one place, read by `stats()` and the docs.
#pragma once

#include <cstdint>

// X(name, meaning)
#define MILLRACE_UDP_COUNTERS(X) \
  X(udp_received, "UDP datagrams received")

namespace millrace::udp {

struct Counters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_UDP_COUNTERS(X)
#undef X
};

}  // namespace millrace::udp
