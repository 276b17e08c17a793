// SPDX-License-Identifier: MIT
// rtnetlink(7) messages read into the facts of net/tables.h: pure parsing, nothing is remembered.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <optional>
#include <span>

#include "net/tables.h"

namespace millrace::control {

struct AddressFact {
  uint32_t ifindex = 0;
  wire::IpAddress address;
  uint8_t prefix_length = 0;
  bool link_local = false;  // IPv6: means nothing without its interface (RFC 4007)
  auto operator<=>(const AddressFact&) const = default;
};

struct NeighborFact {
  uint32_t ifindex = 0;
  wire::IpAddress address;
  net::MacAddress mac{};
  net::NeighborState state = net::NeighborState::kNone;
  bool fixed = false;  // by whoever administers the machine: never to be asked for
};

// RTM_NEWLINK, RTM_DELLINK (which is a link that is down, and gone unless a bridge says it).
std::optional<net::LinkConfig> parse_link(const nlmsghdr& message);
// RTM_NEWADDR. None for addresses that cannot be used: tentative or duplicate ones.
std::optional<AddressFact> parse_address(const nlmsghdr& message);
// RTM_NEWNEIGH, RTM_DELNEIGH.
std::optional<NeighborFact> parse_neighbor(const nlmsghdr& message);
// RTM_NEWROUTE. `attached`: the interfaces that are ours; of several next hops one of theirs is
// chosen. Destinations that never leave the machine (local, broadcast) or are refused (unreachable,
// blackhole) are given the kernel's loopback interface. None for tables and kinds that do not
// matter here.
std::optional<net::Route> parse_route(const nlmsghdr& message, std::span<const uint32_t> attached);

// Orders by what makes two routes the same one: prefix, metric, interface, gateway. The rest
// (preferred source, MTU) may change in place.
int compare_identity(const net::Route& a, const net::Route& b);
bool same_route(const net::Route& a, const net::Route& b);

}  // namespace millrace::control
