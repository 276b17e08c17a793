// SPDX-License-Identifier: MIT
// The port that a host of the two-host tests has: WirePort, in memory, or another one with the same
// doors for a test, which the build names (test_dpdk: a DPDK device of rings).
#pragma once

#ifdef MILLRACE_WIRE_PORT
#include MILLRACE_WIRE_PORT
#else
#include "support/memory_port.h"

namespace millrace::test {
using WirePort = MemoryPort;
}
#endif
