// SPDX-License-Identifier: MIT
// What the kernel says about a network device, asked by ioctl in the caller's network namespace.
#pragma once

#include <array>
#include <cstdint>

#include "base/setup_error.h"

namespace millrace::af_xdp {

struct Device {
  uint32_t ifindex = 0;
  std::array<uint8_t, 6> mac{};
  uint32_t mtu_bytes = 0;
  uint32_t rx_queues = 1;
  uint32_t tx_queues = 1;
  bool up = false;
  char driver[32] = "";
  char qdisc[32] = "";  // its queueing discipline at this moment; "" if that is not known

  // True for devices that hand over packets of the same machine with the transport checksum
  // unfinished. A driver of real hardware never does; in generic mode a guest's network device may
  // too.
  bool checksums_may_be_partial(bool native) const;
};

// False, and `error` says why: ENODEV names the interfaces that exist; EINVAL: not Ethernet.
bool query_device(const char* interface, Device& device, SetupError& error);

}  // namespace millrace::af_xdp
