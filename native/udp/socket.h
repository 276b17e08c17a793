// SPDX-License-Identifier: MIT
// A UDP socket, for the files of this folder only; everyone else has a pointer to one.
#pragma once

#include <cstdint>
#include <type_traits>

#include "base/hash_table.h"
#include "base/list.h"
#include "net/tables.h"
#include "packet/frame.h"
#include "wire/ip_address.h"

namespace millrace::udp {

struct ConnectedTag;
struct BoundTag;
struct AllTag;
struct GroupTag;
struct MembershipTag;
class Socket;

// What a queued datagram remembers, in its frame's scratch.
struct Received {
  wire::Endpoint from;
  wire::IpAddress to;
  uint32_t charge_bytes;
};
static_assert(std::is_trivially_copyable_v<Received>);

// A path and the source address that was asked for when it was resolved.
struct CachedPath {
  net::Path path;
  wire::IpAddress wanted_local;
};

// A group as a socket asks for it. Source unspecified (of the group's family): any.
struct Group {
  wire::IpAddress address;
  wire::IpAddress source;
  uint8_t interface = 0;
  bool operator==(const Group&) const = default;
};

struct Membership : HashNode<GroupTag>, ListNode<MembershipTag> {
  Socket* socket = nullptr;
  Group group;
};

class Socket : public HashNode<ConnectedTag>, public HashNode<BoundTag>, public ListNode<AllTag> {
 public:
  wire::Endpoint bound;   // as given to bind()
  wire::Endpoint local;   // the same, but a connected socket always has an address
  wire::Endpoint remote;  // while connected
  bool connected = false;
  bool dual_stack = false;
  uint8_t ttl = 64;
  uint32_t user = 0;
  uint32_t receive_buffer_bytes = 0;
  uint32_t queued_bytes = 0;
  FrameQueue queue;
  List<Membership, MembershipTag> memberships;
  CachedPath peer;  // while connected: the way to `remote`
};

}  // namespace millrace::udp
