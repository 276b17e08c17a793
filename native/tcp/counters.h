// SPDX-License-Identifier: MIT
// Counters of TCP: name and meaning in one place, read by `stats()` and the docs.
#pragma once

#include <cstdint>

// X(name, meaning)
#define MILLRACE_TCP_COUNTERS(X) \
  X(tcp_received, "TCP segments received")

namespace millrace::tcp {

struct Counters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_TCP_COUNTERS(X)
#undef X
};

}  // namespace millrace::tcp
