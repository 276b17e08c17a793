// SPDX-License-Identifier: MIT
#include "tcp/core.h"

#include <algorithm>

#include "tcp/lifecycle.h"

namespace millrace::tcp {

namespace {

// The smallest scale with which 16 bits can announce the largest buffer.
uint8_t shift_for(uint32_t bytes) {
  uint8_t shift = 0;
  while (shift < 14 && (bytes >> shift) > 65535) ++shift;
  return shift;
}

}  // namespace

Core::Core(FramePool& pool_, net::IpLayer& ip_, TimerWheel& wheel_, Random& random_,
           Handler& handler_, const StackOptions& options_)
    : pool(pool_),
      ip(ip_),
      wheel(wheel_),
      random(random_),
      handler(handler_),
      options(options_),
      flow_key(random_.sip_key()),
      isn_key(random_.sip_key()),
      clock_key(random_.sip_key()),
      cookies(random_),
      connections(options_.connections_max),
      listeners(options_.listeners_max),
      half_opens(options_.half_open_max),
      flows(options_.connections_max + options_.half_open_max),
      ports(options_.listeners_max) {}

Core::~Core() = default;

uint8_t Core::window_shift(const ConnectionOptions& o) const {
  const uint32_t fixed = o.receive_buffer_bytes;
  uint32_t most =
      fixed ? std::min(fixed, options.receive_buffer_max_bytes) : options.receive_buffer_max_bytes;
  if (o.window_clamp_bytes) most = std::min(most, o.window_clamp_bytes);
  return shift_for(most);
}

}  // namespace millrace::tcp
