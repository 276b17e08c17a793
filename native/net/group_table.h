// SPDX-License-Identifier: MIT
// The multicast groups whose datagrams are taken, by interface (RFC 1112, RFC 4604). Membership
// itself, IGMP and MLD, is the kernel's; here is only what is let in.
#pragma once

#include <cstdint>

#include "base/fixed_vector.h"
#include "base/result.h"
#include "wire/ip_address.h"

namespace millrace::net {

class GroupTable {
 public:
  explicit GroupTable(uint32_t groups_max) : groups_(groups_max) {}

  // Counted: as often as it was joined it must be left. ENOBUFS when full.
  Error join(uint8_t interface, const wire::IpAddress& group) {
    if (Group* known = find(interface, group)) {
      ++known->users;
      return kOk;
    }
    return groups_.push_back({group, 1, interface}) ? kOk : Error{ENOBUFS};
  }
  void leave(uint8_t interface, const wire::IpAddress& group) {
    Group* known = find(interface, group);
    MR_ASSERT(known);
    if (--known->users == 0) groups_.erase(uint32_t(known - groups_.begin()));
  }
  bool has(uint8_t interface, const wire::IpAddress& group) {
    return find(interface, group) != nullptr;
  }

 private:
  struct Group {
    wire::IpAddress address;
    uint32_t users;
    uint8_t interface;
  };
  Group* find(uint8_t interface, const wire::IpAddress& group) {
    for (Group& g : groups_) {
      if (g.interface == interface && g.address == group) return &g;
    }
    return nullptr;
  }

  FixedVector<Group> groups_;
};

}  // namespace millrace::net
