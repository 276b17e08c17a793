// SPDX-License-Identifier: MIT
// The way in: every rule by which a frame is dropped before a transport protocol sees it (RFC 791,
// RFC 1122 3.2.1, RFC 8200), in the order in which the headers come.
#include <cstring>

#include "net/ip_layer.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::net {

using wire::IpProblem;

namespace {

// RFC 4443 2.4 e.1: never an error about an error.
bool is_icmp6_error(std::span<const uint8_t> packet, const wire::Ipv6Chain& chain) {
  return chain.protocol == wire::kProtocolIcmpv6 &&
         (chain.offset >= packet.size() || packet[chain.offset] < wire::icmp6::kFirstInformational);
}

}  // namespace

void IpLayer::drop(Frame* frame, uint64_t& counter) {
  ++counter;
  pool_.release(frame);
}

void IpLayer::input(Instant now, uint8_t index, std::span<Frame* const> burst) {
  MR_DASSERT(index < interface_count_ && arrived_count_ == 0);
  counters_.ip_received += burst.size();
  for (Frame* frame : burst) input_one(now, index, frame);
  hand_up(now);
}

void IpLayer::hand_up(Instant now) {
  if (arrived_count_ == 0) return;
  handlers_[arrived_protocol_]->receive(now, {arrived_.data(), arrived_count_});
  arrived_count_ = 0;
}

void IpLayer::input_one(Instant now, uint8_t index, Frame* frame) {
  if (frame->length == 0) return drop(frame, counters_.link_bad_frame);
  uint8_t version = frame->data()[0] >> 4;
  bool to_group = false;
  if (interfaces_[index].ethernet &&
      !strip_ethernet(interfaces_[index], frame, version, to_group)) {
    return pool_.release(frame);
  }
  switch (version) {
    case 4:
      return input_ipv4(now, index, frame, to_group);
    case 6:
      return input_ipv6(now, index, frame, to_group);
    default:
      return drop(frame, counters_.ip_bad_header);
  }
}

// Counts what it refuses.
bool IpLayer::strip_ethernet(const Interface& interface, Frame* frame, uint8_t& version,
                             bool& to_group) {
  wire::EthernetView link;
  if (!wire::parse_ethernet(frame->bytes(), link)) {
    ++counters_.link_bad_frame;
    return false;
  }
  // Other hosts' frames are seen when the interface is promiscuous.
  to_group = link.destination[0] & 1;
  if (!to_group && std::memcmp(link.destination, interface.link.mac.data(), 6) != 0) {
    ++counters_.link_not_ours;
    return false;
  }
  if (link.vlan != 0) {
    ++counters_.link_unknown_vlan;
    return false;
  }
  if (link.ether_type == wire::kEtherTypeIpv4) {
    version = 4;
  } else if (link.ether_type == wire::kEtherTypeIpv6) {
    version = 6;
  } else {
    ++counters_.link_unknown_type;
    return false;
  }
  frame->pop_front(link.header_bytes);
  return true;
}

void IpLayer::input_ipv4(Instant now, uint8_t index, Frame* frame, bool to_group) {
  wire::Ipv4View ip;
  switch (wire::parse_ipv4(frame->bytes(), ip)) {
    case IpProblem::kNone:
      break;
    case IpProblem::kHeader:
      return drop(frame, counters_.ip_bad_header);
    case IpProblem::kChecksum:
      return drop(frame, counters_.ip_bad_checksum);
    case IpProblem::kSourceRoute:
      return drop(frame, counters_.ip_source_routed);
    case IpProblem::kOptions:
      return refuse_options(now, index, frame, ip, to_group);
  }
  frame->trim_to(ip.total_bytes);
  if (!check_addresses(interfaces_[index], ip.source, ip.destination, to_group)) {
    return pool_.release(frame);
  }
  if (ip.fragment) return drop(frame, counters_.ip_fragments);
  const IpMeta meta{ip.source, ip.destination, index, ip.ttl, ip.traffic_class};
  if (!handlers_[ip.protocol] && ip.protocol != wire::kProtocolIcmp) {
    send_error(now, frame->bytes(), meta, wire::icmp4::kUnreachable, wire::icmp4::kCodeProtocol, 0);
    return drop(frame, counters_.ip_unknown_protocol);
  }
  deliver(now, frame, ip.header_bytes, ip.protocol, meta);
}

// RFC 1122 3.2.2.5: the sender is told, unless it is itself an error that came so, or a later
// fragment.
void IpLayer::refuse_options(Instant now, uint8_t index, Frame* frame, const wire::Ipv4View& ip,
                             bool to_group) {
  frame->trim_to(ip.total_bytes);
  const auto bytes = frame->bytes();
  const bool query =
      ip.protocol != wire::kProtocolIcmp ||
      (ip.header_bytes < bytes.size() && bytes[ip.header_bytes] == wire::icmp4::kEchoRequest);
  if (ip.first && query &&
      check_addresses(interfaces_[index], ip.source, ip.destination, to_group)) {
    const IpMeta meta{ip.source, ip.destination, index, ip.ttl, ip.traffic_class};
    send_error(now, bytes, meta, wire::icmp4::kParameterProblem, 0, uint32_t(ip.bad_option) << 24);
  }
  drop(frame, counters_.ip_bad_header);
}

void IpLayer::input_ipv6(Instant now, uint8_t index, Frame* frame, bool to_group) {
  wire::Ipv6View ip;
  if (wire::parse_ipv6(frame->bytes(), ip) != IpProblem::kNone) {
    return drop(frame, counters_.ip_bad_header);
  }
  frame->trim_to(ip.total_bytes);
  if (!check_addresses(interfaces_[index], ip.source, ip.destination, to_group)) {
    return pool_.release(frame);
  }
  const IpMeta meta{ip.source, ip.destination, index, ip.hop_limit, ip.traffic_class};
  const wire::Ipv6Chain chain = wire::walk_ipv6(frame->bytes(), ip.next_header);
  switch (chain.result) {
    case wire::Ipv6Walk::kTransport:
      break;
    case wire::Ipv6Walk::kFragment:
      return drop(frame, counters_.ip_fragments);
    case wire::Ipv6Walk::kDrop:
      return drop(frame, counters_.ip_bad_extension);
    case wire::Ipv6Walk::kProblem:
      if (!is_icmp6_error(frame->bytes(), chain)) {
        send_error(now, frame->bytes(), meta, wire::icmp6::kParameterProblem, chain.code,
                   chain.pointer);
      }
      return drop(frame, counters_.ip_bad_extension);
  }
  if (!handlers_[chain.protocol] && chain.protocol != wire::kProtocolIcmpv6) {
    send_error(now, frame->bytes(), meta, wire::icmp6::kParameterProblem,
               wire::icmp6::kCodeUnknownNextHeader, chain.pointer);
    return drop(frame, counters_.ip_unknown_protocol);
  }
  deliver(now, frame, chain.offset, chain.protocol, meta);
}

// Counts what it refuses.
bool IpLayer::check_addresses(const Interface& interface, const IpAddress& source,
                              const IpAddress& destination, bool to_group) {
  // RFC 1122 3.3.6: what came to a link-layer group must not be taken for a datagram to us alone,
  // nor the other way round.
  if (destination.is_multicast() != to_group && interface.ethernet) {
    ++counters_.link_not_ours;
    return false;
  }
  const uint8_t index = uint8_t(&interface - interfaces_.data());
  if (checked_generation_ == generation_ && checked_interface_ == index &&
      checked_source_ == source && checked_destination_ == destination) {
    return true;
  }
  // RFC 1122 3.2.1.3: no host sends from these. 0/8 names "this network" and is nobody's address.
  bool bad = source.is_multicast() || source.is_limited_broadcast() || source.is_unspecified() ||
             (source.is_v4() && source.as_v4() >> 24 == 0);
  if (!interface.local_everywhere) {
    // Loopback addresses do not exist on a wire, and a packet from ourselves was not sent by us
    // (LAND).
    bad = bad || source.is_loopback() || destination.is_loopback() || addresses_.find(source) ||
          addresses_.is_subnet_broadcast(source);
  }
  if (bad) {
    ++counters_.ip_bad_source;
    return false;
  }
  if (!is_local(destination) && !groups_.has(index, destination)) {
    ++counters_.ip_not_ours;
    return false;
  }
  checked_generation_ = generation_;
  checked_interface_ = index;
  checked_source_ = source;
  checked_destination_ = destination;
  return true;
}

void IpLayer::deliver(Instant now, Frame* frame, uint32_t header_bytes, uint8_t protocol,
                      const IpMeta& meta) {
  if (meta.destination.is_multicast() && protocol != wire::kProtocolUdp) [[unlikely]] {
    return drop(frame, counters_.ip_not_ours);  // RFC 1122 4.2.3.10
  }
  frame->scratch_as<ReceivedNote>().ip_offset = frame->offset;
  frame->pop_front(header_bytes);
  if (protocol != arrived_protocol_ || arrived_count_ == kBurstMax) hand_up(now);
  if (handlers_[protocol]) [[likely]] {
    ++counters_.ip_delivered;
    arrived_protocol_ = protocol;
    arrived_[arrived_count_++] = {frame, meta};
    return;
  }
  // Any stack's flow may be meant; only its owner can tell.
  if (strays_ && !(frame->flags & Frame::kPassedOn)) [[unlikely]] {
    strays_->icmp_error(now, whole_frame(*frame, meta.interface, meta.source.is_v4()));
  }
  if (meta.source.is_v4()) {
    receive_icmp4(now, frame, meta);
  } else {
    receive_icmp6(now, frame, meta);
  }
  pool_.release(frame);
}

// --- what is another stack's

// The frame that a datagram came in, with a link header made anew: the old one may have had a tag.
// That of a frame which was passed on is so already.
std::span<uint8_t> IpLayer::whole_frame(Frame& transport, uint8_t interface, bool v4) {
  const uint32_t ip_offset = transport.scratch_as<ReceivedNote>().ip_offset;
  if (ip_offset < wire::kEthernetHeaderBytes || ip_offset >= transport.offset) return {};
  uint8_t* link = transport.chunk + ip_offset - wire::kEthernetHeaderBytes;
  uint8_t* end = transport.chunk + transport.offset + transport.length;
  if (transport.flags & Frame::kPassedOn) return {link, end};
  std::memcpy(link, interfaces_[interface].link.mac.data(), 6);
  std::memset(link + 6, 0, 6);
  wire::store16(link + 12, v4 ? wire::kEtherTypeIpv4 : wire::kEtherTypeIpv6);
  return {link, end};
}

bool IpLayer::take_stray(Instant now, const wire::FlowKey& flow, Frame& transport,
                         uint8_t interface, bool opening) {
  if (!strays_) [[likely]]
    return false;
  return strays_->stray_segment(
      now, flow, whole_frame(transport, interface, flow.local.address.is_v4()), opening);
}

}  // namespace millrace::net
