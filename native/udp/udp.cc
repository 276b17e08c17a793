// SPDX-License-Identifier: MIT
// Sockets and the way out.
#include "udp/udp.h"

#include "wire/ipv6.h"
#include "wire/udp.h"

namespace millrace::udp {

using wire::Endpoint;
using wire::IpAddress;

namespace {

constexpr uint32_t kDatagramMaxBytes = 65535;

uint32_t path_slot(const IpAddress& remote) {
  uint32_t words[4];
  std::memcpy(words, remote.data(), 16);
  const uint32_t mixed = (words[0] ^ words[1] ^ words[2] ^ words[3]) * 0x9e3779b1u;
  return mixed >> 24;
}

}  // namespace

Udp::Udp(FramePool& pool, net::IpLayer& ip, Handler& handler, const Options& options)
    : pool_(pool),
      ip_(ip),
      handler_(handler),
      options_(options),
      key_(ip.hash_key()),
      // Sockets that nobody reads must leave frames for the rest of the stack.
      frames_queued_max_(pool.capacity() / 4),
      sockets_(options.sockets_max),
      memberships_(options.memberships_max),
      connected_(options.sockets_max),
      bound_(options.sockets_max),
      groups_(options.memberships_max) {
  static_assert(kPathsMax == 256);  // path_slot()
}

Udp::~Udp() {
  close_all();
}

Result<Socket*> Udp::bind(const Endpoint& local, bool dual_stack, uint32_t user) {
  if (local.port == 0) return Error{EINVAL};
  if (!local.address.is_unspecified() && !ip_.is_local(local.address)) return Error{EADDRNOTAVAIL};
  const Socket* taken = bound_.find(local.port, [&](const Socket& s) { return s.bound == local; });
  if (taken) return Error{EADDRINUSE};
  Socket* socket = sockets_.create();
  if (!socket) return Error{ENFILE};
  socket->bound = socket->local = local;
  socket->dual_stack = dual_stack && !local.address.is_v4() && local.address.is_unspecified();
  socket->user = user;
  socket->receive_buffer_bytes = options_.receive_buffer_bytes;
  all_.push_back(socket);
  insert(*socket);
  return socket;
}

void Udp::insert(Socket& socket) {
  if (socket.connected) {
    connected_.insert(&socket, hash_of(socket.local, socket.remote));
  } else {
    bound_.insert(&socket, socket.local.port);
  }
}

void Udp::remove(Socket& socket) {
  if (socket.connected) {
    connected_.remove(&socket);
  } else {
    bound_.remove(&socket);
  }
}

void Udp::release_queue(Socket& socket) {
  frames_queued_ -= socket.queue.size();
  socket.queued_bytes = 0;
  pool_.release_all(socket.queue);
}

void Udp::close(Socket* socket) {
  while (Membership* membership = socket->memberships.front()) drop(membership);
  remove(*socket);
  release_queue(*socket);
  static_cast<ListNode<AllTag>*>(socket)->unlink();
  sockets_.destroy(socket);
}

void Udp::close_all() {
  while (Socket* socket = all_.front()) close(socket);
}

Error Udp::check_family(const Socket& socket, const IpAddress& remote) const {
  if (socket.bound.address.is_v4()) return remote.is_v4() ? kOk : Error{EAFNOSUPPORT};
  if (remote.is_v4() && !socket.dual_stack) return Error{ENETUNREACH};
  return kOk;
}

Error Udp::connect(Socket& socket, const Endpoint& remote) {
  if (remote.port == 0) return Error{EINVAL};
  if (const Error error = check_family(socket, remote.address)) return error;
  Result<net::Path> path = ip_.resolve(socket.bound.address, remote.address);
  if (!path.ok()) return path.error();
  remove(socket);
  socket.local = {path->local, socket.bound.port};
  socket.remote = remote;
  socket.connected = true;
  socket.peer = {*path, socket.local.address};
  insert(socket);
  return kOk;
}

void Udp::disconnect(Socket& socket) {
  if (!socket.connected) return;
  remove(socket);
  socket.local = socket.bound;
  socket.remote = {};
  socket.connected = false;
  socket.peer = {};
  insert(socket);
}

// A connected socket has its own path; all others share a table.
net::Path* Udp::path_to(Socket& socket, const IpAddress& remote, Error& error) {
  CachedPath& cached = socket.connected ? socket.peer : paths_[path_slot(remote)];
  if (cached.path.generation != ip_.generation() || cached.path.remote != remote ||
      cached.wanted_local != socket.local.address) [[unlikely]] {
    Result<net::Path> path = ip_.resolve(socket.local.address, remote);
    if (!path.ok()) {
      error = path.error();
      return nullptr;
    }
    cached = {*path, socket.local.address};
  }
  return &cached.path;
}

Error Udp::send(Instant now, Socket& socket, Frame* frame, const Endpoint& to) {
  Error error = to.port == 0 ? Error{EINVAL} : check_family(socket, to.address);
  if (!error && frame->length > kDatagramMaxBytes - wire::kUdpHeaderBytes) error = {EMSGSIZE};
  net::Path* path = error ? nullptr : path_to(socket, to.address, error);
  if (path) {
    MR_ASSERT(frame->headroom() >= wire::kUdpHeaderBytes);
    frame->push_front(wire::kUdpHeaderBytes);
    // As Linux: what fits the link but not the path is sent all the same, to be fragmented.
    const uint32_t ip_bytes =
        path->remote.is_v4() ? wire::kIpv4HeaderBytes : wire::kIpv6HeaderBytes;
    const bool whole = ip_bytes + frame->length <= path->mtu_bytes;
    if (whole && ip_.offloads(*path).checksums) {
      wire::build_udp_header(frame->bytes(), socket.local.port, to.port);
      frame->flags = Frame::kChecksumWanted;
    } else {
      wire::build_udp(frame->bytes(), socket.local.port, to.port, path->local, path->remote);
      frame->flags = 0;
    }
    error = ip_.send(now, *path, frame,
                     {.protocol = wire::kProtocolUdp, .ttl = socket.ttl, .dont_fragment = whole});
  }
  pool_.release(frame);
  ++(error ? counters_.udp_send_failed : counters_.udp_sent);
  return error;
}

Datagram Udp::receive(Socket& socket) {
  Frame* frame = socket.queue.pop_front();
  if (!frame) return {};
  const Received& note = frame->scratch_as<Received>();
  socket.queued_bytes -= note.charge_bytes;
  --frames_queued_;
  return {frame, note.from, note.to};
}

bool Udp::readable(const Socket& socket) const {
  return !socket.queue.empty();
}
uint32_t Udp::next_length(const Socket& socket) const {
  return socket.queue.front()->length;
}
uint32_t Udp::user(const Socket& socket) const {
  return socket.user;
}
void Udp::set_ttl(Socket& socket, uint8_t ttl) {
  socket.ttl = ttl;
}
void Udp::set_receive_buffer(Socket& socket, uint32_t bytes) {
  socket.receive_buffer_bytes = bytes;
}

}  // namespace millrace::udp
