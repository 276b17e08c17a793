// SPDX-License-Identifier: MIT
#include "steer/soft/soft_steering.h"

#include <cstring>

#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::steer {
namespace {

bool is_transport(uint8_t protocol) {
  return protocol == wire::kProtocolTcp || protocol == wire::kProtocolUdp;
}

// RFC 792, RFC 4443: the types that report an error.
bool is_error(bool v4, uint8_t type) {
  if (!v4) return type >= wire::icmp6::kUnreachable && type <= wire::icmp6::kParameterProblem;
  return type == wire::icmp4::kUnreachable || type == wire::icmp4::kTimeExceeded ||
         type == wire::icmp4::kParameterProblem;
}

void put(uint8_t* to, const wire::Endpoint& endpoint) {
  std::memcpy(to, endpoint.address.data(), 16);
  wire::store16(to + 16, endpoint.port);
}

}  // namespace

size_t SoftSteering::Hash::operator()(const FlowId& id) const {
  uint8_t bytes[37];
  put(bytes, id.flow.local);
  put(bytes + 18, id.flow.remote);
  bytes[36] = id.protocol;
  return SipHash::hash(key, bytes);
}

size_t SoftSteering::Hash::operator()(const LocalId& id) const {
  uint8_t bytes[19];
  put(bytes, id.local);
  bytes[18] = id.protocol;
  return SipHash::hash(key, bytes);
}

size_t SoftSteering::Hash::operator()(const wire::IpAddress& address) const {
  return SipHash::hash(key, {address.data(), 16});
}

SoftSteering::SoftSteering(const SipKey& key, const Limits& limits)
    : limits_(limits), flows_(64, Hash{key}), locals_(64, Hash{key}), addresses_(16, Hash{key}) {}

// --- rules

Error SoftSteering::set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) {
  if (!is_exact(flow)) return {EINVAL};
  const FlowId id{uint8_t(protocol), flow};
  if (flows_.size() >= limits_.flows_max && !flows_.contains(id)) {
    return full({.kind = owner == Owner::kKernel ? RuleReport::Kind::kKernelFlow
                                                 : RuleReport::Kind::kOurFlow,
                 .protocol = id.protocol,
                 .local = flow.local,
                 .remote = flow.remote});
  }
  flows_[id].owner = owner;
  return kOk;
}

Error SoftSteering::remove_flow(Protocol protocol, const wire::FlowKey& flow) {
  return flows_.erase({uint8_t(protocol), flow}) ? kOk : Error{ENOENT};
}

uint64_t& SoftSteering::block_word(Protocol protocol, uint16_t port) {
  return blocks_[protocol == Protocol::kUdp ? 1 : 0][port / kPortBlockSize / 64];
}

bool SoftSteering::in_block(uint8_t protocol, uint16_t port) const {
  const uint32_t block = port / kPortBlockSize;
  return blocks_[protocol == wire::kProtocolUdp ? 1 : 0][block / 64] >> (block % 64) & 1;
}

Error SoftSteering::add_port_block(Protocol protocol, uint16_t first_port) {
  if (first_port == 0 || first_port % kPortBlockSize != 0) return {EINVAL};
  if (in_block(uint8_t(protocol), first_port)) return kOk;
  block_word(protocol, first_port) |= 1ull << (first_port / kPortBlockSize % 64);
  block_hits_[protocol == Protocol::kUdp ? 1 : 0][first_port / kPortBlockSize] = {};
  return kOk;
}

Error SoftSteering::remove_port_block(Protocol protocol, uint16_t first_port) {
  if (first_port == 0 || first_port % kPortBlockSize != 0) return {EINVAL};
  if (!in_block(uint8_t(protocol), first_port)) return {ENOENT};
  block_word(protocol, first_port) &= ~(1ull << (first_port / kPortBlockSize % 64));
  return kOk;
}

Error SoftSteering::add_local(Protocol protocol, const wire::Endpoint& local) {
  if (local.port == 0) return {EINVAL};
  const LocalId id{uint8_t(protocol), local};
  if (locals_.size() >= limits_.locals_max && !locals_.contains(id)) {
    return full({.protocol = id.protocol, .local = local});
  }
  locals_.try_emplace(id);
  return kOk;
}

Error SoftSteering::remove_local(Protocol protocol, const wire::Endpoint& local) {
  return locals_.erase({uint8_t(protocol), local}) ? kOk : Error{ENOENT};
}

Error SoftSteering::add_address(const wire::IpAddress& address) {
  if (address.is_unspecified() || address.is_multicast()) return {EINVAL};
  if (addresses_.size() >= limits_.addresses_max && !addresses_.contains(address)) return {ENOBUFS};
  addresses_.insert(address);
  return kOk;
}

Error SoftSteering::remove_address(const wire::IpAddress& address) {
  return addresses_.erase(address) ? kOk : Error{ENOENT};
}

Error SoftSteering::full(const RuleReport& rule) {
  refusals_.note(words_of(rule) + ": there are as many such rules as are allowed");
  return {ENOBUFS};
}

void SoftSteering::close() {
  flows_.clear();
  locals_.clear();
  addresses_.clear();
  std::memset(blocks_, 0, sizeof(blocks_));
}

// --- packets

bool SoftSteering::judge(std::span<const uint8_t> frame) {
  Packet packet;
  Counter decision = read(frame, packet);
  Hits* hits = nullptr;
  if (!decision) decision = decide(packet, hits);
  const bool ours = decision == &SteeringCounters::ours_flow ||
                    decision == &SteeringCounters::ours_local ||
                    decision == &SteeringCounters::ours_block;
  if (ours && packet.quoted) decision = &SteeringCounters::ours_icmp;
  ++(counters_.*decision);
  if (hits) {
    ++hits->packets;
    hits->bytes += frame.size();
  }
  return ours;
}

SoftSteering::Counter SoftSteering::read(std::span<const uint8_t> frame, Packet& packet) const {
  wire::EthernetView link;
  if (!wire::parse_ethernet(frame, link)) return &SteeringCounters::kernel_malformed;
  if (link.vlan != 0) return &SteeringCounters::kernel_other;  // another interface's
  packet.to_group = link.destination[0] & 1;
  const auto ip = frame.subspan(link.header_bytes);
  if (link.ether_type == wire::kEtherTypeIpv4) return read_ipv4(ip, packet);
  if (link.ether_type == wire::kEtherTypeIpv6) return read_ipv6(ip, packet);
  return &SteeringCounters::kernel_other;
}

SoftSteering::Counter SoftSteering::read_ipv4(std::span<const uint8_t> ip, Packet& packet) const {
  wire::Ipv4View view;
  if (wire::parse_ipv4(ip, view) != wire::IpProblem::kNone) {
    return &SteeringCounters::kernel_malformed;
  }
  if (view.fragment) return &SteeringCounters::kernel_fragment;
  packet.id = {view.protocol, {{view.destination, 0}, {view.source, 0}}};
  const auto rest = ip.subspan(view.header_bytes, view.total_bytes - view.header_bytes);
  return view.protocol == wire::kProtocolIcmp ? read_error(rest, true, packet)
                                              : read_ports(rest, packet);
}

SoftSteering::Counter SoftSteering::read_ipv6(std::span<const uint8_t> ip, Packet& packet) const {
  wire::Ipv6View view;
  if (wire::parse_ipv6(ip, view) != wire::IpProblem::kNone) {
    return &SteeringCounters::kernel_malformed;
  }
  if (view.next_header == wire::kProtocolIpv6Fragment) return &SteeringCounters::kernel_fragment;
  packet.id = {view.next_header, {{view.destination, 0}, {view.source, 0}}};
  // Packets with extension headers are the kernel's, as with the XDP program.
  const auto rest = ip.subspan(wire::kIpv6HeaderBytes, view.total_bytes - wire::kIpv6HeaderBytes);
  return view.next_header == wire::kProtocolIcmpv6 ? read_error(rest, false, packet)
                                                   : read_ports(rest, packet);
}

SoftSteering::Counter SoftSteering::read_ports(std::span<const uint8_t> transport,
                                               Packet& packet) const {
  if (!is_transport(packet.id.protocol)) return &SteeringCounters::kernel_other;
  const size_t header = packet.id.protocol == wire::kProtocolTcp ? 20 : 8;
  if (transport.size() < header) return &SteeringCounters::kernel_malformed;
  packet.id.flow.remote.port = wire::load16(transport.data());
  packet.id.flow.local.port = wire::load16(transport.data() + 2);
  return nullptr;
}

// The quoted packet is one that we sent: its source is our end. It must come to that very address.
SoftSteering::Counter SoftSteering::read_error(std::span<const uint8_t> icmp, bool v4,
                                               Packet& packet) const {
  if (icmp.size() < wire::kIcmpHeaderBytes || !is_error(v4, icmp[0]))
    return &SteeringCounters::kernel_other;
  const auto quoted = icmp.subspan(wire::kIcmpHeaderBytes);
  const wire::IpAddress addressee = packet.id.flow.local.address;
  size_t header = wire::kIpv6HeaderBytes;
  if (v4) {
    wire::Ipv4View view;
    if (wire::parse_ipv4(quoted, view, true) != wire::IpProblem::kNone) {
      return &SteeringCounters::kernel_malformed;
    }
    if (!view.first) return &SteeringCounters::kernel_fragment;
    packet.id = {view.protocol, {{view.source, 0}, {view.destination, 0}}};
    header = view.header_bytes;
  } else {
    wire::Ipv6View view;
    if (wire::parse_ipv6(quoted, view, true) != wire::IpProblem::kNone) {
      return &SteeringCounters::kernel_malformed;
    }
    packet.id = {view.next_header, {{view.source, 0}, {view.destination, 0}}};
  }
  if (!is_transport(packet.id.protocol) || addressee != packet.id.flow.local.address) {
    return &SteeringCounters::kernel_other;
  }
  if (quoted.size() < header + 8) return &SteeringCounters::kernel_malformed;
  packet.id.flow.local.port = wire::load16(quoted.data() + header);
  packet.id.flow.remote.port = wire::load16(quoted.data() + header + 2);
  packet.quoted = true;
  return nullptr;
}

SoftSteering::Counter SoftSteering::decide(const Packet& packet, Hits*& hits) {
  const FlowId& id = packet.id;
  const wire::Endpoint& local = id.flow.local;
  const auto find_local = [&](const wire::Endpoint& endpoint) {
    const auto found = locals_.find({id.protocol, endpoint});
    if (found == locals_.end()) return false;
    hits = &found->second;
    return true;
  };
  // RFC 1122 3.3.6: a packet to a group comes in a frame to a group, and no other does.
  if (local.address.is_multicast() != packet.to_group) return &SteeringCounters::kernel_other;
  if (packet.to_group) {
    // What we sent ourselves comes back by the kernel, which knows who wants to hear it.
    const bool wanted = id.protocol == wire::kProtocolUdp &&
                        !addresses_.contains(id.flow.remote.address) && find_local(local);
    return wanted ? &SteeringCounters::ours_local : &SteeringCounters::kernel_other;
  }
  if (const auto flow = flows_.find(id); flow != flows_.end()) {
    hits = &flow->second.hits;
    return flow->second.owner == Owner::kKernel ? &SteeringCounters::kernel_flow
                                                : &SteeringCounters::ours_flow;
  }
  if (find_local(local)) return &SteeringCounters::ours_local;
  if (!addresses_.contains(local.address)) return &SteeringCounters::kernel_other;
  const wire::IpAddress any = local.address.is_v4() ? wire::IpAddress::v4(0) : wire::IpAddress();
  if (find_local({any, local.port})) return &SteeringCounters::ours_local;
  if (!in_block(id.protocol, local.port)) return &SteeringCounters::kernel_other;
  hits = &block_hits_[id.protocol == wire::kProtocolUdp ? 1 : 0][local.port / kPortBlockSize];
  return &SteeringCounters::ours_block;
}

// --- for people who look

void SoftSteering::each_rule(const RuleVisitor& visit) const {
  RuleReport report;
  report.by = "software";
  report.counted = true;
  const auto tell = [&](const Hits& hits) {
    report.packets = hits.packets;
    report.bytes = hits.bytes;
    return visit(report);
  };
  for (const auto& [id, hits] : locals_) {
    report.protocol = id.protocol;
    report.local = id.local;
    if (!tell(hits)) return;
  }
  report.kind = RuleReport::Kind::kBlock;
  report.port_mask = uint16_t(~(kPortBlockSize - 1));
  for (const uint8_t protocol : {wire::kProtocolTcp, wire::kProtocolUdp}) {
    report.protocol = protocol;
    for (uint32_t block = 1; block < 65536 / kPortBlockSize; ++block) {
      const auto port = uint16_t(block * kPortBlockSize);
      if (!in_block(protocol, port)) continue;
      report.local = {{}, port};
      if (!tell(block_hits_[protocol == wire::kProtocolUdp ? 1 : 0][block])) return;
    }
  }
  report.port_mask = 0xffff;
  for (const auto& [id, entry] : flows_) {
    report.kind =
        entry.owner == Owner::kKernel ? RuleReport::Kind::kKernelFlow : RuleReport::Kind::kOurFlow;
    report.protocol = id.protocol;
    report.local = id.flow.local;
    report.remote = id.flow.remote;
    if (!tell(entry.hits)) return;
  }
}

}  // namespace millrace::steer
