// SPDX-License-Identifier: MIT
// Our own addresses, per interface, and the choice of a source among them (RFC 1122 3.3.4.3, RFC
// 6724 5). Addresses of interfaces that this stack does not drive are kept too: they must be known
// as local, and not as reachable through us.
#pragma once

#include <cstdint>

#include "base/fixed_vector.h"
#include "base/result.h"
#include "net/tables.h"

namespace millrace::net {

struct LocalAddress {
  IpAddress address;
  uint32_t ifindex = 0;
  uint8_t prefix_length = 0;
};

class AddressTable {
 public:
  explicit AddressTable(uint32_t addresses_max) : addresses_(addresses_max) {}

  // ENOBUFS when full; ESRCH when the address to be removed is not there.
  Error change(const LocalAddress& address, bool present);
  // The entry for `address`, on any interface; null when it is not one of ours.
  const LocalAddress* find(const IpAddress& address) const;
  bool has(uint32_t ifindex, const IpAddress& address) const;
  // The source for packets to `remote` by way of `next_hop` out of `ifindex`. False when that
  // interface has no address of the family.
  bool choose_source(uint32_t ifindex, const IpAddress& remote, const IpAddress& next_hop,
                     IpAddress& out) const;
  // True when `address` is the broadcast address of one of our IPv4 subnets.
  bool is_subnet_broadcast(const IpAddress& address) const;
  const FixedVector<LocalAddress>& all() const { return addresses_; }

 private:
  FixedVector<LocalAddress> addresses_;  // in the order told: earlier means preferred, as in Linux
};

}  // namespace millrace::net
