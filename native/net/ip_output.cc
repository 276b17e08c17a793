// SPDX-License-Identifier: MIT
// The way out: IP header, neighbour, link header, batch.
#include <algorithm>
#include <cstring>

#include "net/ip_layer.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::net {

Error IpLayer::send(Instant now, Path& path, Frame* frame, const SendOptions& options) {
  if (path.generation != generation_) [[unlikely]] {
    if (const Error error = route(path)) {
      ++counters_.ip_send_no_route;
      return error;
    }
  }
  const bool v4 = path.remote.is_v4();
  const uint32_t header_bytes = v4 ? wire::kIpv4HeaderBytes : wire::kIpv6HeaderBytes;
  if (header_bytes + frame->length > path.mtu_bytes) [[unlikely]] {
    return send_beyond_path_mtu(now, path, frame, options);
  }
  MR_ASSERT(frame->tx_pending == 0 &&
            frame->headroom() >= header_bytes + wire::kEthernetHeaderBytes);
  Interface& interface = interfaces_[path.interface];
  if (!has_room(now, interface)) return Error{ENOBUFS};
  if (interface.ethernet) {
    Neighbor* neighbor = neighbor_of(now, path);
    if (!neighbor) return Error{ENOBUFS};
    neighbor->last_used = now;
    if (!neighbor->usable()) [[unlikely]] {
      if (const Error error = neighbors_.may_wait(now, *neighbor)) return error;
      push_ip_header(path, frame, options);
      neighbors_.wait(now, *neighbor, frame);
      return kOk;
    }
    push_ip_header(path, frame, options);
    push_ethernet_header(interface, *neighbor, v4, frame);
    if (now >= neighbor->ask_after) [[unlikely]]
      neighbors_.ask_to_confirm(now, *neighbor);
  } else {
    push_ip_header(path, frame, options);
  }
  put_in_batch(now, interface, frame);
  return kOk;
}

// The packet is longer than the path takes in one piece. IPv4: routers may cut it, as long as it
// fits our own link. IPv6: only the source may (RFC 8200 4.5).
Error IpLayer::send_beyond_path_mtu(Instant now, Path& path, Frame* frame,
                                    const SendOptions& options) {
  const bool v4 = path.remote.is_v4();
  const uint32_t header_bytes = v4 ? wire::kIpv4HeaderBytes : wire::kIpv6HeaderBytes;
  const uint32_t link_mtu = std::min(interfaces_[path.interface].link.mtu_bytes, kIpPacketMaxBytes);
  // RFC 8200 5: a link of less than 1,280 bytes carries no IPv6.
  if (options.dont_fragment || header_bytes + frame->length > link_mtu ||
      (!v4 && path.mtu_bytes < wire::kIpv6MtuMinBytes)) {
    ++counters_.ip_send_too_big;
    return Error{EMSGSIZE};
  }
  if (!v4) return send_fragments(now, path, *frame, options);
  Path wide = path;
  wide.mtu_bytes = link_mtu;
  const Error error = send(now, wide, frame, options);
  path.neighbor = wide.neighbor;
  return error;
}

Error IpLayer::send_fragments(Instant now, Path& path, const Frame& whole,
                              const SendOptions& options) {
  const uint32_t identification = random_.next_u32();  // RFC 7739: not to be guessed
  const uint32_t room = (path.mtu_bytes - wire::kIpv6HeaderBytes - wire::kIpv6FragmentBytes) & ~7u;
  SendOptions fragment_options = options;
  fragment_options.protocol = wire::kProtocolIpv6Fragment;
  fragment_options.dont_fragment = true;
  for (uint32_t at = 0; at < whole.length; at += room) {
    const uint32_t bytes = std::min(room, whole.length - at);
    Frame* piece = pool_.alloc();
    if (!piece) return Error{ENOBUFS};
    piece->length = wire::kIpv6FragmentBytes + bytes;
    wire::build_ipv6_fragment(piece->data(), options.protocol, at, at + bytes < whole.length,
                              identification);
    std::memcpy(piece->data() + wire::kIpv6FragmentBytes, whole.data() + at, bytes);
    const Error error = send(now, path, piece, fragment_options);
    pool_.release(piece);
    if (error) return error;
    ++counters_.ip_fragments_sent;
  }
  return kOk;
}

inline void IpLayer::push_ip_header(const Path& path, Frame* frame, const SendOptions& options) {
  const uint32_t payload_bytes = frame->length;
  if (path.remote.is_v4()) {
    // RFC 6864 4.1: the identification of a packet that cannot be fragmented means nothing.
    const bool whole = options.dont_fragment && !path.may_be_cut;
    const uint16_t identification =
        whole ? 0 : identifications_.next(path.local, path.remote, options.protocol);
    wire::build_ipv4(frame->push_front(wire::kIpv4HeaderBytes),
                     {.total_bytes = uint16_t(wire::kIpv4HeaderBytes + payload_bytes),
                      .identification = identification,
                      .dont_fragment = whole,
                      .ttl = options.ttl,
                      .traffic_class = options.traffic_class,
                      .protocol = options.protocol},
                     path.local, path.remote);
  } else {
    wire::build_ipv6(frame->push_front(wire::kIpv6HeaderBytes), uint16_t(payload_bytes),
                     options.protocol, options.ttl, options.traffic_class, path.local, path.remote);
  }
}

inline void IpLayer::push_ethernet_header(const Interface& interface, const Neighbor& neighbor,
                                          bool v4, Frame* frame) {
  wire::build_ethernet(frame->push_front(wire::kEthernetHeaderBytes), neighbor.mac.data(),
                       interface.link.mac.data(), v4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6);
  if (frame->length < wire::kEthernetFrameMinBytes) {
    // Padded here and with zeros: a driver might pad with what lies behind (CVE-2003-0001).
    const uint32_t pad = wire::kEthernetFrameMinBytes - frame->length;
    MR_ASSERT(pad <= frame->tailroom());
    std::memset(frame->data() + frame->length, 0, pad);
    frame->length = wire::kEthernetFrameMinBytes;
  }
}

// The neighbour that a current path leads to; null when there is no room for it in the table.
inline Neighbor* IpLayer::neighbor_of(Instant now, Path& path) {
  if (path.neighbor != UINT32_MAX) [[likely]]
    return &neighbors_.at(path.neighbor);
  Neighbor* neighbor = neighbors_.find_or_create(
      now, path.interface, interfaces_[path.interface].link.ifindex, path.next_hop);
  if (!neighbor) return nullptr;
  path.neighbor = neighbors_.index_of(*neighbor);
  return neighbor;
}

inline bool IpLayer::has_room(Instant now, Interface& interface) {
  if (!interface.batch.full()) [[likely]]
    return true;
  interface.batch.transmit(now, *interface.port, pool_);
  if (!interface.batch.full()) return true;
  ++counters_.ip_send_queue_full;
  return false;
}

inline void IpLayer::put_in_batch(Instant now, Interface& interface, Frame* frame) {
  ++counters_.ip_sent;
  if (interface.batch.push(frame)) interface.batch.transmit(now, *interface.port, pool_);
}

const SendOffloads& IpLayer::offloads(Path& path) {
  (void)refresh(path);  // where that fails, so will send()
  return *interfaces_[path.interface].offloads;
}

bool IpLayer::append(const Path& path, Frame* head, Frame* frame, uint16_t segment_bytes) {
  Interface& interface = interfaces_[path.interface];
  const SendOffloads& offloads = *interface.offloads;
  const bool v4 = path.remote.is_v4();
  if (!(v4 ? offloads.segments_v4 : offloads.segments_v6)) return false;
  const uint32_t link_bytes = interface.ethernet ? wire::kEthernetHeaderBytes : 0;
  if (!interface.batch.takes_more(head, frame->length, offloads, link_bytes)) return false;
  head->segment_bytes = segment_bytes;
  const uint32_t ip_bytes = interface.batch.append(frame) - link_bytes;
  uint8_t* ip = head->data() + link_bytes;
  // The checksum of an IPv4 header is different for each segment: it is the device's.
  if (v4) {
    wire::store16(ip + 2, uint16_t(ip_bytes));
  } else {
    wire::store16(ip + 4, uint16_t(ip_bytes - wire::kIpv6HeaderBytes));
  }
  ++counters_.ip_sent;
  ++counters_.ip_sent_joined;
  return true;
}

void IpLayer::neighbor_ready(Instant now, Neighbor& neighbor, Frame* frame) {
  Interface& interface = interfaces_[neighbor.interface];
  if (!has_room(now, interface)) return;
  push_ethernet_header(interface, neighbor, frame->data()[0] >> 4 == 4, frame);
  put_in_batch(now, interface, frame);
}

// Told as an ICMP error that we send to ourselves, as Linux does it.
void IpLayer::neighbor_failed(Instant now, Frame* frame) {
  wire::IcmpQuote quote;
  const bool v4 = frame->data()[0] >> 4 == 4;
  if (!(v4 ? wire::parse_quote4(frame->bytes(), quote)
           : wire::parse_quote6(frame->bytes(), quote))) {
    return;
  }
  TransportHandler* handler = handlers_[quote.protocol];
  if (!handler) return;
  handler->icmp_error(now, {.local = quote.source,
                            .remote = quote.destination,
                            .quoted_transport = quote.transport,
                            .error = Error{EHOSTUNREACH},
                            .hard = true,
                            .from_neighbor = true});
}

void IpLayer::flush(Instant now) {
  for (uint8_t i = 0; i < interface_count_; ++i) {
    Interface& interface = interfaces_[i];
    interface.batch.transmit(now, *interface.port, pool_);
    interface.port->flush(now);
  }
}

bool IpLayer::tx_backlogged() const {
  for (uint8_t i = 0; i < interface_count_; ++i) {
    if (interfaces_[i].batch.size() > 0) return true;
  }
  return false;
}

}  // namespace millrace::net
