// SPDX-License-Identifier: MIT
// Multicast (RFC 1112, RFC 3678): which of our sockets takes a group's datagrams. Joining and
// leaving towards the network is the kernel's, through the socket beside ours.
#include "udp/udp.h"

namespace millrace::udp {

using wire::Endpoint;
using wire::IpAddress;

uint64_t Udp::group_hash(const IpAddress& group, uint16_t port) const {
  uint8_t bytes[18];
  std::memcpy(bytes, group.data(), 16);
  std::memcpy(bytes + 16, &port, 2);
  return SipHash::hash(key_, bytes);
}

Membership* Udp::find_membership(const Socket& socket, const Group& group) const {
  return groups_.find(group_hash(group.address, socket.bound.port),
                      [&](const Membership& m) { return m.socket == &socket && m.group == group; });
}

Error Udp::join(Socket& socket, const Group& group) {
  const bool takes = socket.bound.address.is_unspecified() &&
                     (socket.dual_stack || socket.bound.address.is_v4() == group.address.is_v4());
  if (!takes || !group.address.is_multicast()) return {EINVAL};
  if (find_membership(socket, group)) return {EADDRINUSE};
  Membership* membership = memberships_.create();
  if (!membership) return {ENOBUFS};
  if (const Error error = ip_.join_group(group.interface, group.address)) {
    memberships_.destroy(membership);
    return error;
  }
  membership->socket = &socket;
  membership->group = group;
  groups_.insert(membership, group_hash(group.address, socket.bound.port));
  socket.memberships.push_back(membership);
  return kOk;
}

Error Udp::leave(Socket& socket, const Group& group) {
  Membership* membership = find_membership(socket, group);
  if (!membership) return {EADDRNOTAVAIL};
  drop(membership);
  return kOk;
}

void Udp::drop(Membership* membership) {
  ip_.leave_group(membership->group.interface, membership->group.address);
  groups_.remove(membership);
  static_cast<ListNode<MembershipTag>*>(membership)->unlink();
  memberships_.destroy(membership);
}

bool Udp::in_group(const Socket& socket, const IpAddress& address) const {
  return groups_.find(group_hash(address, socket.bound.port), [&](const Membership& m) {
    return m.socket == &socket && m.group.address == address;
  });
}

// RFC 3678 5: a source that nobody asked for is not delivered, though somebody else's membership
// let it through the interface. A connected socket has an address of its own by then and, as on
// Linux, hears no group.
Socket* Udp::find_group(const Endpoint& to, const Endpoint& from, uint8_t interface) const {
  const Membership* found = groups_.find(group_hash(to.address, to.port), [&](const Membership& m) {
    return m.group.address == to.address && m.group.interface == interface &&
           m.socket->bound.port == to.port &&
           (m.group.source.is_unspecified() || m.group.source == from.address) &&
           !m.socket->connected;
  });
  return found ? found->socket : nullptr;
}

}  // namespace millrace::udp
