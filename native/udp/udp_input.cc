// SPDX-License-Identifier: MIT
// The way in: checks, demultiplexing, receive queues, ICMP errors.
#include <cstring>

#include "udp/udp.h"
#include "wire/udp.h"

namespace millrace::udp {

using wire::Endpoint;
using wire::IpAddress;

namespace {

constexpr uint32_t kChargeBytes = 512;
constexpr uint32_t kChargeStepBytes = 256;

uint32_t charge_of(uint32_t payload_bytes) {
  return kChargeBytes +
         (payload_bytes + kChargeStepBytes - 1) / kChargeStepBytes * kChargeStepBytes;
}

}  // namespace

uint64_t Udp::hash_of(const Endpoint& local, const Endpoint& remote) const {
  uint8_t bytes[36];
  std::memcpy(bytes, local.address.data(), 16);
  std::memcpy(bytes + 16, remote.address.data(), 16);
  std::memcpy(bytes + 32, &local.port, 2);
  std::memcpy(bytes + 34, &remote.port, 2);
  return SipHash::hash(key_, bytes);
}

Socket* Udp::find_connected(const Endpoint& local, const Endpoint& remote) const {
  if (connected_.size() == 0) return nullptr;
  return connected_.find(hash_of(local, remote),
                         [&](const Socket& s) { return s.remote == remote && s.local == local; });
}

// The socket bound to the address, else a wildcard of the family, else one that takes both
// families.
Socket* Udp::find_bound(const Endpoint& local) const {
  Socket* wildcard = nullptr;
  const bool v4 = local.address.is_v4();
  Socket* exact = bound_.find(local.port, [&](Socket& s) {
    if (s.local.address == local.address) return true;
    if (s.local.address.is_unspecified()) {
      const bool same_family = s.local.address.is_v4() == v4;
      if (same_family || (s.dual_stack && !wildcard)) wildcard = &s;
    }
    return false;
  });
  return exact ? exact : wildcard;
}

bool Udp::would_receive(const Endpoint& to, const Endpoint& from) const {
  return find_connected(to, from) || find_bound(to);
}

void Udp::receive(Instant now, Frame* frame, const net::IpMeta& meta) {
  wire::UdpView udp;
  if (!wire::parse_udp(frame->bytes(), udp)) {
    ++counters_.udp_bad_length;
    return pool_.release(frame);
  }
  frame->trim_to(udp.length_bytes);
  const bool may_be_partial = frame->flags & Frame::kChecksumMayBePartial;
  if (!(frame->flags & Frame::kChecksumVerified) &&
      !wire::udp_checksum_ok(frame->bytes(), meta.source, meta.destination, may_be_partial)) {
    ++counters_.udp_bad_checksum;
    return pool_.release(frame);
  }
  const Endpoint from{meta.source, udp.source_port};
  const Endpoint to{meta.destination, udp.destination_port};
  const bool to_group = to.address.is_multicast();
  Socket* socket = to_group ? find_group(to, from, meta.interface) : find_connected(to, from);
  if (!socket && !to_group) socket = find_bound(to);
  if (!socket) {
    ++counters_.udp_no_port;
    // RFC 1122 4.1.3.1; 3.2.2: never about a datagram to a group.
    if (!to_group) ip_.send_port_unreachable(now, frame, meta);
    return pool_.release(frame);
  }
  frame->pop_front(wire::kUdpHeaderBytes);
  enqueue(*socket, frame, from, to.address);
}

void Udp::enqueue(Socket& socket, Frame* frame, const Endpoint& from, const IpAddress& to) {
  const uint32_t charge = charge_of(frame->length);
  // As Linux: the buffer may be passed by the last datagram, so that one always fits.
  if (socket.queued_bytes >= socket.receive_buffer_bytes && !socket.queue.empty()) {
    ++counters_.udp_queue_full;
    return pool_.release(frame);
  }
  if (frames_queued_ >= frames_queued_max_) {
    ++counters_.udp_memory_full;
    return pool_.release(frame);
  }
  frame->scratch_as<Received>() = {from, to, charge};
  socket.queued_bytes += charge;
  ++frames_queued_;
  socket.queue.push_back(frame);
  ++counters_.udp_received;
  handler_.on_readable(socket);
}

// RFC 1122 4.1.3.3. As Linux: only connected sockets hear of errors, and only of hard ones.
void Udp::icmp_error(Instant now, const net::IcmpError& error) {
  const uint8_t* p = error.quoted_transport.data();
  const Endpoint local{error.local, wire::load16(p)};
  const Endpoint remote{error.remote, wire::load16(p + 2)};
  Socket* socket = find_connected(local, remote);
  const bool too_big = error.mtu_bytes != 0;
  if (too_big && (socket || find_bound(local))) {
    ip_.learn_path_mtu(now, error.remote, error.mtu_bytes, error.may_be_cut);
  }
  // A neighbour that is silent for a moment is no news to a datagram socket: Linux counts it as
  // soft.
  if (!socket || error.from_neighbor || !(error.hard || too_big)) {
    ++counters_.udp_icmp_ignored;
    return;
  }
  ++counters_.udp_icmp_errors;
  handler_.on_error(*socket, error.error);
}

}  // namespace millrace::udp
