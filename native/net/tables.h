// SPDX-License-Identifier: MIT
// What the control plane tells: links, addresses, routes, neighbours; and the paths resolved from
// them.
#pragma once

#include <array>
#include <cstdint>

#include "base/time.h"
#include "port/port.h"
#include "wire/ip_address.h"

namespace millrace::net {

using wire::IpAddress;
using MacAddress = std::array<uint8_t, 6>;

inline constexpr uint8_t kInterfacesMax = 8;

inline constexpr uint32_t kGoneIfindex = UINT32_MAX;  // the kernel gives no such number

struct LinkConfig {
  uint32_t ifindex = 0;  // the kernel's number; 0 for interfaces the kernel does not know
  MacAddress mac{};
  uint32_t mtu_bytes = 1500;
  bool up = true;
  bool gone = false;  // deleted or in another namespace: what has its number from now on is another
};

struct Route {
  IpAddress destination;       // prefix; family by the address
  uint8_t prefix_length = 0;   // of the family: 0-32 or 0-128
  IpAddress gateway;           // unspecified: on link
  IpAddress preferred_source;  // unspecified: choose
  uint32_t ifindex = 0;
  uint32_t metric = 0;     // lower wins
  uint32_t mtu_bytes = 0;  // 0: the link's
};

// Linux NUD states, as far as they matter here.
enum class NeighborState : uint8_t { kNone, kIncomplete, kReachable, kStale, kFailed };

// A resolved way to a destination, kept by its user. `generation` tells whether it is still
// current.
struct Path {
  uint32_t mtu_bytes = 0;
  uint32_t generation = 0;
  uint32_t neighbor = UINT32_MAX;  // index in the neighbour table, or none
  uint8_t interface = 0;
  bool may_be_cut = false;  // IPv4: a link is narrower than any MTU that is believed; no DF
  IpAddress local;
  IpAddress remote;
  IpAddress next_hop;
};

}  // namespace millrace::net
