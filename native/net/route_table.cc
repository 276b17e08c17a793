// SPDX-License-Identifier: MIT
#include "net/route_table.h"

#include <algorithm>

#include "wire/byte_order.h"

namespace millrace::net {

namespace {

constexpr uint8_t kMappedBits = 96;

uint8_t total_bits(const Route& route) {
  return uint8_t(route.prefix_length + (route.destination.is_v4() ? kMappedBits : 0));
}

uint64_t load64(const uint8_t* p) {
  return uint64_t(wire::load32(p)) << 32 | wire::load32(p + 4);
}

// The 64 bits of a mask of `bits` ones.
uint64_t mask64(uint32_t bits) {
  return bits == 0 ? 0 : bits >= 64 ? UINT64_MAX : UINT64_MAX << (64 - bits);
}

void store64(uint8_t* p, uint64_t v) {
  wire::store32(p, uint32_t(v >> 32));
  wire::store32(p + 4, uint32_t(v));
}

IpAddress mask128(const IpAddress& address, uint32_t bits) {
  uint8_t bytes[16];
  store64(bytes, load64(address.data()) & mask64(bits));
  store64(bytes + 8, load64(address.data() + 8) & mask64(bits > 64 ? bits - 64 : 0));
  return IpAddress::v6_bytes(bytes);
}

// As numbers in network order.
int compare_addresses(const IpAddress& a, const IpAddress& b) {
  uint64_t x = load64(a.data()), y = load64(b.data());
  if (x == y) {
    x = load64(a.data() + 8);
    y = load64(b.data() + 8);
  }
  return x < y ? -1 : x > y;
}

}  // namespace

IpAddress prefix_of(const IpAddress& address, uint8_t bits) {
  return mask128(address, bits + (address.is_v4() ? kMappedBits : 0u));
}

bool same_prefix(const IpAddress& a, const IpAddress& b, uint8_t bits) {
  return a.is_v4() == b.is_v4() && prefix_of(a, bits) == prefix_of(b, bits);
}

int RouteTable::compare(const Route& a, const Route& b) {
  const int bits = int(total_bits(b)) - int(total_bits(a));
  if (bits != 0) return bits;
  if (const int c = compare_addresses(a.destination, b.destination); c != 0) return c;
  if (a.metric != b.metric) return a.metric < b.metric ? -1 : 1;
  if (a.ifindex != b.ifindex) return a.ifindex < b.ifindex ? -1 : 1;
  return compare_addresses(a.gateway, b.gateway);
}

uint32_t RouteTable::lower_bound(const Route& route) const {
  const Route* at =
      std::lower_bound(routes_.begin(), routes_.end(), route,
                       [](const Route& a, const Route& b) { return compare(a, b) < 0; });
  return uint32_t(at - routes_.begin());
}

Error RouteTable::change(const Route& given, bool present) {
  if (given.prefix_length > (given.destination.is_v4() ? 32 : 128)) return Error{EINVAL};
  Route route = given;
  route.destination = prefix_of(given.destination, given.prefix_length);
  const uint32_t at = lower_bound(route);
  const bool found = at < routes_.size() && compare(routes_[at], route) == 0;
  if (!present) {
    if (!found) return Error{ESRCH};
    routes_.erase(at);
  } else if (found) {
    routes_[at] = route;
  } else if (!routes_.insert(at, route)) {
    return Error{ENOBUFS};
  }
  count_prefixes();
  return kOk;
}

void RouteTable::count_prefixes() {
  group_count_ = 0;
  for (uint32_t i = 0; i < routes_.size(); ++i) {
    const uint8_t bits = total_bits(routes_[i]);
    if (group_count_ == 0 || groups_[group_count_ - 1].bits != bits) {
      groups_[group_count_++] = {bits, i, i};
    }
    groups_[group_count_ - 1].end = i + 1;
  }
}

const Route* RouteTable::lookup(const IpAddress& destination) const {
  const bool v4 = destination.is_v4();
  for (uint32_t g = 0; g < group_count_; ++g) {
    const Group& group = groups_[g];
    if (v4 && group.bits < kMappedBits) return nullptr;  // shorter ones are IPv6's alone
    const IpAddress key = mask128(destination, group.bits);
    const Route* first = routes_.begin() + group.begin;
    const Route* last = routes_.begin() + group.end;
    const Route* at = std::lower_bound(first, last, key, [](const Route& r, const IpAddress& k) {
      return compare_addresses(r.destination, k) < 0;
    });
    if (at != last && at->destination == key) return at;
  }
  return nullptr;
}

}  // namespace millrace::net
