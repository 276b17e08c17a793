// SPDX-License-Identifier: MIT
// Routes of both families as the kernel has them, on any interface, attached to this stack or not:
// a more specific route out of a foreign interface must be able to say that a destination is not
// ours. Longest prefix first, then the lowest metric (RFC 1812 5.2.4.3). Knows nothing of ports.
#pragma once

#include <array>
#include <cstdint>

#include "base/fixed_vector.h"
#include "base/result.h"
#include "net/tables.h"

namespace millrace::net {

// The first `bits` of an address. For IPv4, `bits` counts within the family (0-32).
IpAddress prefix_of(const IpAddress& address, uint8_t bits);
// True when the first `bits` (of the family) are equal; false across families.
bool same_prefix(const IpAddress& a, const IpAddress& b, uint8_t bits);

class RouteTable {
 public:
  explicit RouteTable(uint32_t routes_max) : routes_(routes_max) {}

  // Adding a route that differs only in source or MTU replaces it. ENOBUFS when full, EINVAL for an
  // impossible prefix; ESRCH when the route to be removed is not there.
  Error change(const Route& route, bool present);
  // The best route; null when there is none. Good until the next change().
  const Route* lookup(const IpAddress& destination) const;
  uint32_t size() const { return routes_.size(); }

 private:
  // Order: IPv6 prefix length (IPv4 counts as 96 + its own) descending, then prefix, then metric.
  static int compare(const Route& a, const Route& b);
  uint32_t lower_bound(const Route& route) const;
  void count_prefixes();

  FixedVector<Route> routes_;  // sorted by compare()
  // Where the routes with a prefix of so many bits (of the 128) begin, for those that exist.
  struct Group {
    uint8_t bits = 0;
    uint32_t begin = 0;
    uint32_t end = 0;
  };
  std::array<Group, 129> groups_{};
  uint32_t group_count_ = 0;
};

}  // namespace millrace::net
