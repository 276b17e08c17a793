// SPDX-License-Identifier: MIT
// Takes away an XDP program that somebody attached without a link, by rtnetlink(7): one that stays
// when its owner dies, as DPDK's driver for AF_XDP attaches it.
#pragma once

#include <cstdint>

namespace millrace::steer {

// Whatever the program's mode. 0, also when there was none, or a negative errno.
int detach_xdp(uint32_t ifindex);

}  // namespace millrace::steer
