// SPDX-License-Identifier: MIT
#include "net/address_table.h"

#include <bit>

#include "net/route_table.h"

namespace millrace::net {

namespace {

uint32_t common_bits(const IpAddress& a, const IpAddress& b) {
  uint32_t bits = 0;
  for (int i = 0; i < 16; ++i, bits += 8) {
    const uint8_t different = a.data()[i] ^ b.data()[i];
    if (different) return bits + uint32_t(std::countl_zero(different));
  }
  return bits;
}

// RFC 4291 2.5.7: fc00::/7 is a scope of its own in practice; RFC 6724's label rule keeps such
// sources for such destinations.
bool is_unique_local(const IpAddress& address) {
  return !address.is_v4() && (address.data()[0] & 0xfe) == 0xfc;
}

// Higher is better. RFC 6724 5 rules 1, 2, 6 and 8, of which the longest common prefix comes last.
uint32_t score(const IpAddress& source, const IpAddress& remote) {
  if (source == remote) return UINT32_MAX;
  uint32_t points = common_bits(source, remote);
  if (source.is_link_local() == remote.is_link_local()) points += 1024;
  if (is_unique_local(source) == is_unique_local(remote)) points += 256;
  return points;
}

}  // namespace

Error AddressTable::change(const LocalAddress& address, bool present) {
  for (uint32_t i = 0; i < addresses_.size(); ++i) {
    LocalAddress& known = addresses_[i];
    if (known.ifindex != address.ifindex || known.address != address.address) continue;
    if (present) {
      known.prefix_length = address.prefix_length;
    } else {
      addresses_.erase(i);
    }
    return kOk;
  }
  if (!present) return Error{ESRCH};
  return addresses_.push_back(address) ? kOk : Error{ENOBUFS};
}

const LocalAddress* AddressTable::find(const IpAddress& address) const {
  for (const LocalAddress& known : addresses_) {
    if (known.address == address) return &known;
  }
  return nullptr;
}

bool AddressTable::has(uint32_t ifindex, const IpAddress& address) const {
  for (const LocalAddress& known : addresses_) {
    if (known.ifindex == ifindex && known.address == address) return true;
  }
  return false;
}

bool AddressTable::choose_source(uint32_t ifindex, const IpAddress& remote,
                                 const IpAddress& next_hop, IpAddress& out) const {
  const LocalAddress* best = nullptr;
  uint32_t best_score = 0;
  for (const LocalAddress& known : addresses_) {
    if (known.ifindex != ifindex || known.address.is_v4() != remote.is_v4()) continue;
    uint32_t points;
    if (remote.is_v4()) {
      // Linux: the first address whose subnet holds the next hop, else the first one.
      points = same_prefix(known.address, next_hop, known.prefix_length) ? 2 : 1;
    } else {
      points = 1 + (score(known.address, remote) >> 1);
    }
    if (points > best_score) {
      best = &known;
      best_score = points;
    }
  }
  if (!best) return false;
  out = best->address;
  return true;
}

bool AddressTable::is_subnet_broadcast(const IpAddress& address) const {
  if (!address.is_v4()) return false;
  for (const LocalAddress& known : addresses_) {
    // RFC 3021: a /31 and a /32 have no broadcast address.
    if (!known.address.is_v4() || known.prefix_length > 30) continue;
    const uint32_t host = known.prefix_length == 0 ? UINT32_MAX : UINT32_MAX >> known.prefix_length;
    if ((known.address.as_v4() | host) == address.as_v4()) return true;
  }
  return false;
}

}  // namespace millrace::net
