// SPDX-License-Identifier: MIT
// UDP (RFC 768, RFC 1122 4.1): sockets, demultiplexing, bounded receive queues.
#pragma once

#include <array>
#include <cstdint>

#include "base/hash_table.h"
#include "base/list.h"
#include "base/object_pool.h"
#include "base/result.h"
#include "net/ip_layer.h"
#include "udp/counters.h"
#include "udp/socket.h"
#include "wire/ip_address.h"

namespace millrace::udp {

// Upcalls. They only note what is to be done; they never call back into Udp.
class Handler {
 public:
  virtual ~Handler() = default;
  // A datagram was queued. For each one.
  virtual void on_readable(Socket& socket) = 0;
  // An asynchronous error (ICMP) of a connected socket: ECONNREFUSED and the like.
  virtual void on_error(Socket& socket, Error error) = 0;
};

struct Options {
  uint32_t sockets_max = 4096;
  uint32_t memberships_max = 1024;  // of all sockets together
  // Linux's rmem_default, and charged about as Linux does: 512 bytes and the payload, rounded up to
  // 256, each.
  uint32_t receive_buffer_bytes = 212992;
};

struct Datagram {
  Frame* frame = nullptr;  // begins with the payload; the caller releases it
  wire::Endpoint from;
  wire::IpAddress to;
};

class Udp final : public net::TransportHandler {
 public:
  Udp(FramePool& pool, net::IpLayer& ip, Handler& handler, const Options& options);
  ~Udp() override;

  // Binds to `local` (address may be unspecified: any of its family; `dual_stack` lets :: take IPv4
  // too). `user` is the caller's number for the socket. EADDRINUSE, ENFILE past sockets_max. Port 0
  // is refused with EINVAL: the port is chosen by the kernel twin.
  Result<Socket*> bind(const wire::Endpoint& local, bool dual_stack, uint32_t user);
  void close(Socket* socket);
  // ENETUNREACH and EADDRNOTAVAIL from the path, EINVAL for port 0, EAFNOSUPPORT for an address
  // that the socket's family cannot reach. A wildcard socket gets the path's source address until
  // disconnect(). A connected socket receives from `remote` only and hears of ICMP errors.
  Error connect(Socket& socket, const wire::Endpoint& remote);
  void disconnect(Socket& socket);
  // Whether the socket's family has a way to say this address at all.
  bool speaks(const Socket& socket, const wire::IpAddress& remote) const {
    return !check_family(socket, remote);
  }
  // Multicast: a wildcard socket takes the group's datagrams as they come to us. The caller has
  // joined in the kernel, which sees to IGMP and MLD, and steers them here. EINVAL: no group, or
  // not of the socket's family; EADDRINUSE, EADDRNOTAVAIL: a member already, or not; ENOBUFS.
  Error join(Socket& socket, const Group& group);
  Error leave(Socket& socket, const Group& group);
  // Any membership of the socket's in it, whatever the interface and source.
  bool in_group(const Socket& socket, const wire::IpAddress& address) const;
  // Leaves them all; calls left(address) once for each group.
  template <typename Left>
  void leave_all(Socket& socket, Left&& left) {
    while (Membership* membership = socket.memberships.front()) {
      const wire::IpAddress address = membership->group.address;
      drop(membership);
      if (!in_group(socket, address)) left(address);
    }
  }
  // Sends the frame's bytes as one datagram; takes over the reference. EMSGSIZE past the link's MTU
  // (a larger datagram is fragmented by the kernel, through the twin), ENETUNREACH, EHOSTUNREACH,
  // ENOBUFS.
  Error send(Instant now, Socket& socket, Frame* frame, const wire::Endpoint& to);
  // The oldest received datagram; frame is null when there is none.
  Datagram receive(Socket& socket);
  bool readable(const Socket& socket) const;
  // Length of the datagram that receive() returns next; only while readable().
  uint32_t next_length(const Socket& socket) const;
  uint32_t user(const Socket& socket) const;
  void set_ttl(Socket& socket, uint8_t ttl);
  void set_receive_buffer(Socket& socket, uint32_t bytes);
  // True when a socket here would take a datagram from `from` to `to` (the loopback port's
  // question).
  bool would_receive(const wire::Endpoint& to, const wire::Endpoint& from) const;
  // Releases everything.
  void close_all();

  void receive(Instant now, std::span<const net::Received> burst) override;
  void icmp_error(Instant now, const net::IcmpError& error) override;
  const Counters& counters() const { return counters_; }

 private:
  static constexpr uint32_t kPathsMax = 256;

  // udp.cc
  Error check_family(const Socket& socket, const wire::IpAddress& remote) const;
  net::Path* path_to(Socket& socket, const wire::IpAddress& remote, Error& error);
  void insert(Socket& socket);
  void remove(Socket& socket);
  void release_queue(Socket& socket);

  // groups.cc
  uint64_t group_hash(const wire::IpAddress& group, uint16_t port) const;
  Membership* find_membership(const Socket& socket, const Group& group) const;
  Socket* find_group(const wire::Endpoint& to, const wire::Endpoint& from, uint8_t interface) const;
  void drop(Membership* membership);

  // udp_input.cc
  void input(Instant now, Frame* frame, const net::IpMeta& meta);
  uint64_t hash_of(const wire::Endpoint& local, const wire::Endpoint& remote) const;
  Socket* find_connected(const wire::Endpoint& local, const wire::Endpoint& remote) const;
  Socket* find_bound(const wire::Endpoint& local) const;
  void enqueue(Socket& socket, Frame* frame, const wire::Endpoint& from, const wire::IpAddress& to);

  FramePool& pool_;
  net::IpLayer& ip_;
  Handler& handler_;
  Options options_;
  SipKey key_;
  Counters counters_;
  uint32_t frames_queued_ = 0;
  uint32_t frames_queued_max_;
  ObjectPool<Socket> sockets_;
  ObjectPool<Membership> memberships_;
  HashTable<Socket, ConnectedTag> connected_;  // by 4-tuple
  HashTable<Socket, BoundTag> bound_;          // not connected; by port
  HashTable<Membership, GroupTag> groups_;     // by group and port
  List<Socket, AllTag> all_;
  // Direct-mapped by destination, shared by all sockets: a server's many peers.
  std::array<CachedPath, kPathsMax> paths_{};
};

}  // namespace millrace::udp
