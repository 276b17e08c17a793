// SPDX-License-Identifier: MIT
#include "steer/rte_flow/flow_rule.h"

#include <arpa/inet.h>
#include <rte_ethdev.h>
#include <rte_version.h>

#include <cstring>
#include <numeric>

#include "wire/ipv4.h"

namespace millrace::steer {
namespace {

constexpr uint16_t kFragmentBits = 0x3fff;  // RFC 791: more fragments, and the offset

uint16_t wire16(uint16_t value) {
  return htons(value);
}

uint32_t wire_v4(const wire::IpAddress& address) {
  return htonl(address.as_v4());
}

// DPDK's headers are packed: TCP's and UDP's are set alike, field by field.
template <typename Header>
void set_ports(Header& header, Header& mask, const FlowRule& rule) {
  header.dst_port = wire16(rule.port);
  mask.dst_port = wire16(rule.port_mask);
  if (!rule.exact) return;
  header.src_port = wire16(rule.remote.port);
  mask.src_port = 0xffff;
}

}  // namespace

RuleReport report_of(const FlowRule& rule) {
  RuleReport report;
  report.by = "rte_flow";
  report.kind = rule.priority == FlowPriority::kKernelFlow ? RuleReport::Kind::kKernelFlow
                : rule.priority == FlowPriority::kOurFlow  ? RuleReport::Kind::kOurFlow
                : rule.priority == FlowPriority::kLocal    ? RuleReport::Kind::kLocal
                : rule.priority == FlowPriority::kBlock    ? RuleReport::Kind::kBlock
                                                           : RuleReport::Kind::kIcmp;
  report.protocol = rule.protocol;
  report.local = {rule.local, rule.port};
  report.port_mask = rule.port_mask;
  if (rule.exact) report.remote = rule.remote;
  report.icmp_type = rule.icmp_type;
  report.any_icmp = rule.any_icmp;
  if (rule.target == FlowRule::Target::kQueue) report.queues = {rule.queue};
  if (rule.target == FlowRule::Target::kSpread) {
    report.queues.resize(rule.queues);
    std::iota(report.queues.begin(), report.queues.end(), uint16_t(0));
    report.spread = true;
  }
  return report;
}

FlowTexts::FlowTexts(const FlowRule& rule) {
  attributes.ingress = 1;
  attributes.priority = uint32_t(rule.priority);
  items[0].type = RTE_FLOW_ITEM_TYPE_ETH;
  match_addresses(rule);
  match_transport(rule);
  items[3].type = RTE_FLOW_ITEM_TYPE_END;
  if (rule.counted) actions[0] = {RTE_FLOW_ACTION_TYPE_COUNT, &count_};
  act(rule, actions[rule.counted ? 1 : 0]);
  actions[rule.counted ? 2 : 1].type = RTE_FLOW_ACTION_TYPE_END;
}

void FlowTexts::match_addresses(const FlowRule& rule) {
  if (rule.local.is_v4()) {
    ipv4_.hdr.dst_addr = wire_v4(rule.local);
    ipv4_mask_.hdr.dst_addr = 0xffffffff;
    if (rule.exact) {
      ipv4_.hdr.src_addr = wire_v4(rule.remote.address);
      ipv4_mask_.hdr.src_addr = 0xffffffff;
    }
    if (rule.whole) ipv4_mask_.hdr.fragment_offset = wire16(kFragmentBits);
    if (rule.any_icmp) {
      ipv4_.hdr.next_proto_id = wire::kProtocolIcmp;
      ipv4_mask_.hdr.next_proto_id = 0xff;
    }
    items[1] = {RTE_FLOW_ITEM_TYPE_IPV4, &ipv4_, nullptr, &ipv4_mask_};
    return;
  }
  std::memcpy(&ipv6_.hdr.dst_addr, rule.local.data(), 16);
  std::memset(&ipv6_mask_.hdr.dst_addr, 0xff, 16);
  if (rule.exact) {
    std::memcpy(&ipv6_.hdr.src_addr, rule.remote.address.data(), 16);
    std::memset(&ipv6_mask_.hdr.src_addr, 0xff, 16);
  }
  items[1] = {RTE_FLOW_ITEM_TYPE_IPV6, &ipv6_, nullptr, &ipv6_mask_};
}

void FlowTexts::match_transport(const FlowRule& rule) {
  if (rule.any_icmp) {
    items[2].type = RTE_FLOW_ITEM_TYPE_END;
    return;
  }
  switch (rule.protocol) {
    case wire::kProtocolIcmp:
      icmp_.hdr.icmp_type = rule.icmp_type;
      icmp_mask_.hdr.icmp_type = 0xff;
      items[2] = {RTE_FLOW_ITEM_TYPE_ICMP, &icmp_, nullptr, &icmp_mask_};
      return;
    case wire::kProtocolIcmpv6:
      icmp6_.type = rule.icmp_type;
      icmp6_mask_.type = 0xff;
      items[2] = {RTE_FLOW_ITEM_TYPE_ICMP6, &icmp6_, nullptr, &icmp6_mask_};
      return;
    case wire::kProtocolTcp:
      set_ports(tcp_.hdr, tcp_mask_.hdr, rule);
      items[2] = {RTE_FLOW_ITEM_TYPE_TCP, &tcp_, nullptr, &tcp_mask_};
      return;
    default:
      set_ports(udp_.hdr, udp_mask_.hdr, rule);
      items[2] = {RTE_FLOW_ITEM_TYPE_UDP, &udp_, nullptr, &udp_mask_};
  }
}

void FlowTexts::act(const FlowRule& rule, rte_flow_action& action) {
  switch (rule.target) {
    case FlowRule::Target::kQueue:
      queue_.index = rule.queue;
      action = {RTE_FLOW_ACTION_TYPE_QUEUE, &queue_};
      return;
    case FlowRule::Target::kSpread:
      queues_.resize(rule.queues);
      std::iota(queues_.begin(), queues_.end(), uint16_t(0));
      rss_.types = rule.protocol == wire::kProtocolTcp
                       ? RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV6_TCP
                       : RTE_ETH_RSS_NONFRAG_IPV4_UDP | RTE_ETH_RSS_NONFRAG_IPV6_UDP;
      rss_.queue_num = rule.queues;
      rss_.queue = queues_.data();
      action = {RTE_FLOW_ACTION_TYPE_RSS, &rss_};
      return;
    case FlowRule::Target::kKernel:
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
      action = {RTE_FLOW_ACTION_TYPE_SEND_TO_KERNEL, nullptr};
#else
      // PASSTHRU would let the next rule have the packet, and that is the one for the port.
      action = {RTE_FLOW_ACTION_TYPE_VOID, nullptr};
      expressible = false;
#endif
  }
}

}  // namespace millrace::steer
