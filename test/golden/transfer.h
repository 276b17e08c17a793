// SPDX-License-Identifier: MIT
// One bulk transfer between two whole stacks over a simulated bottleneck, in virtual time. The same
// path gives the same figures, to the byte.
#pragma once

#include <cstdint>

#include "port/sim/conditions.h"
#include "tcp/counters.h"
#include "tcp/options.h"

namespace millrace::golden {

struct Path {
  tcp::CongestionControl congestion = tcp::CongestionControl::kCubic;
  tcp::Ecn ecn = tcp::Ecn::kPassive;
  uint64_t seed = 1;
  uint64_t rate_bits_per_s = 20'000'000;
  Duration round_trip = Duration::millis(10);
  uint32_t queue_bytes = 0;      // of the bottleneck; 0: without end
  uint32_t mark_from_bytes = 0;  // ECN
  uint32_t loss = 0;             // millionths of data packets, as all below
  uint32_t loss_of_acks = 0;
  uint32_t reorder_of_acks = 0;
  uint32_t reorder = 0;
  Duration reorder_by{};
  uint32_t early = 0;  // of data packets and ACKs
  uint32_t duplicate = 0;
  Duration time = Duration::seconds(20);
};

struct Figures {
  uint64_t bytes = 0;        // delivered
  double share = 0;          // of what the line carries, headers deducted
  double resent = 0;         // bytes sent again per byte delivered
  double queue_ms = 0;       // mean wait for the line, as smoothed round trips show it
  Duration longest_pause{};  // between two arrivals of data, once data flows
  tcp::Counters counters;    // of the sender
};

Figures transfer(const Path& path);

}  // namespace millrace::golden
