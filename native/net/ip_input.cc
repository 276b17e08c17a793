// SPDX-License-Identifier: MIT
// The way in: every rule by which a frame is dropped before a transport protocol sees it (RFC 791, RFC 1122 3.2.1,
// RFC 8200), in the order in which the headers come.
#include "net/ip_layer.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::net {

using wire::IpProblem;

void IpLayer::drop(Frame* frame, uint64_t& counter) {
  ++counter;
  pool_.release(frame);
}

void IpLayer::input(Instant now, uint8_t index, Frame* frame) {
  MR_DASSERT(index < interface_count_);
  ++counters_.ip_received;
  if (frame->length == 0) return drop(frame, counters_.link_bad_frame);
  switch (frame->data()[0] >> 4) {
    case 4:
      return input_ipv4(now, index, frame);
    case 6:
      return input_ipv6(now, index, frame);
    default:
      return drop(frame, counters_.ip_bad_header);
  }
}

void IpLayer::input_ipv4(Instant now, uint8_t index, Frame* frame) {
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
  }
  frame->trim_to(ip.total_bytes);
  if (!check_addresses(interfaces_[index], ip.source, ip.destination)) return pool_.release(frame);
  if (ip.fragment) return drop(frame, counters_.ip_fragments);
  const IpMeta meta{ip.source, ip.destination, index, ip.ttl, ip.traffic_class};
  deliver(now, frame, ip.header_bytes, ip.protocol, meta);
}

void IpLayer::input_ipv6(Instant now, uint8_t index, Frame* frame) {
  wire::Ipv6View ip;
  if (wire::parse_ipv6(frame->bytes(), ip) != IpProblem::kNone) {
    return drop(frame, counters_.ip_bad_header);
  }
  frame->trim_to(ip.total_bytes);
  if (!check_addresses(interfaces_[index], ip.source, ip.destination)) return pool_.release(frame);
  const wire::Ipv6Chain chain = wire::walk_ipv6(frame->bytes(), ip.next_header);
  switch (chain.result) {
    case wire::Ipv6Walk::kTransport:
      break;
    case wire::Ipv6Walk::kFragment:
      return drop(frame, counters_.ip_fragments);
    case wire::Ipv6Walk::kDrop:
    case wire::Ipv6Walk::kProblem:
      return drop(frame, counters_.ip_bad_extension);
  }
  const IpMeta meta{ip.source, ip.destination, index, ip.hop_limit, ip.traffic_class};
  deliver(now, frame, chain.offset, chain.protocol, meta);
}

// Counts what it refuses.
bool IpLayer::check_addresses(const Interface& interface, const IpAddress& source,
                              const IpAddress& destination) {
  const uint8_t index = uint8_t(&interface - interfaces_.data());
  if (checked_generation_ == generation_ && checked_interface_ == index &&
      checked_source_ == source && checked_destination_ == destination) {
    return true;
  }
  // RFC 1122 3.2.1.3: no host sends from these. 0/8 names "this network" and is nobody's address.
  bool bad = source.is_multicast() || source.is_limited_broadcast() || source.is_unspecified() ||
             (source.is_v4() && source.as_v4() >> 24 == 0);
  if (!interface.local_everywhere) {
    // Loopback addresses do not exist on a wire, and a packet from ourselves was not sent by us (LAND).
    bad = bad || source.is_loopback() || destination.is_loopback() || addresses_.find(source) ||
          addresses_.is_subnet_broadcast(source);
  }
  if (bad) {
    ++counters_.ip_bad_source;
    return false;
  }
  if (!is_local(destination)) {
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
  frame->scratch_as<ReceivedNote>().ip_offset = frame->offset;
  TransportHandler* handler = handlers_[protocol];
  if (!handler) return drop(frame, counters_.ip_unknown_protocol);
  frame->pop_front(header_bytes);
  ++counters_.ip_delivered;
  handler->receive(now, frame, meta);
}

void IpLayer::send_port_unreachable(Instant now, Frame* original_transport, const IpMeta& meta) {}

}  // namespace millrace::net
