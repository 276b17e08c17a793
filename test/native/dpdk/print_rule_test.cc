// SPDX-License-Identifier: MIT
// A rule as rte_flow hears it, in words that a person can compare with a card's manual: every field
// that a mask looks at, and no other.
#include <arpa/inet.h>
#include <doctest/doctest.h>

#include <cstdio>
#include <cstring>

#include "recording_device.h"
#include "steer/rte_flow/flow_rule.h"

namespace millrace::steer {
namespace {

std::string field(const char* name, uint32_t value, uint32_t mask, uint32_t all) {
  if (mask == 0) {
    REQUIRE(value == 0);
    return "";
  }
  char text[64];
  if (mask == all) {
    std::snprintf(text, sizeof(text), " %s %u", name, value);
  } else {
    std::snprintf(text, sizeof(text), " %s 0x%x/0x%x", name, value, mask);
  }
  return text;
}

std::string address(int family, const char* name, const void* value, const void* mask, size_t n) {
  static const uint8_t zero[16] = {};
  if (std::memcmp(mask, zero, n) == 0) {
    REQUIRE(std::memcmp(value, zero, n) == 0);
    return "";
  }
  for (size_t i = 0; i < n; ++i) REQUIRE(static_cast<const uint8_t*>(mask)[i] == 0xff);
  char text[INET6_ADDRSTRLEN];
  inet_ntop(family, value, text, sizeof(text));
  return std::string(" ") + name + " " + text;
}

template <typename Item>
std::string ports(const rte_flow_item& item) {
  const auto& spec = static_cast<const Item*>(item.spec)->hdr;
  const auto& mask = static_cast<const Item*>(item.mask)->hdr;
  return field("src", ntohs(spec.src_port), ntohs(mask.src_port), 0xffff) +
         field("dst", ntohs(spec.dst_port), ntohs(mask.dst_port), 0xffff);
}

std::string print_item(const rte_flow_item& item) {
  REQUIRE(item.last == nullptr);
  switch (item.type) {
    case RTE_FLOW_ITEM_TYPE_ETH:
      REQUIRE(item.spec == nullptr);
      return "eth";
    case RTE_FLOW_ITEM_TYPE_IPV4: {
      const auto& spec = static_cast<const rte_flow_item_ipv4*>(item.spec)->hdr;
      const auto& mask = static_cast<const rte_flow_item_ipv4*>(item.mask)->hdr;
      return "ipv4" + address(AF_INET, "src", &spec.src_addr, &mask.src_addr, 4) +
             address(AF_INET, "dst", &spec.dst_addr, &mask.dst_addr, 4) +
             field("proto", spec.next_proto_id, mask.next_proto_id, 0xff) +
             field("fragment", ntohs(spec.fragment_offset), ntohs(mask.fragment_offset), 0xffff);
    }
    case RTE_FLOW_ITEM_TYPE_IPV6: {
      const auto& spec = static_cast<const rte_flow_item_ipv6*>(item.spec)->hdr;
      const auto& mask = static_cast<const rte_flow_item_ipv6*>(item.mask)->hdr;
      return "ipv6" + address(AF_INET6, "src", &spec.src_addr, &mask.src_addr, 16) +
             address(AF_INET6, "dst", &spec.dst_addr, &mask.dst_addr, 16);
    }
    case RTE_FLOW_ITEM_TYPE_TCP:
      return "tcp" + ports<rte_flow_item_tcp>(item);
    case RTE_FLOW_ITEM_TYPE_UDP:
      return "udp" + ports<rte_flow_item_udp>(item);
    case RTE_FLOW_ITEM_TYPE_ICMP:
      return "icmp" + field("type",
                            static_cast<const rte_flow_item_icmp*>(item.spec)->hdr.icmp_type,
                            static_cast<const rte_flow_item_icmp*>(item.mask)->hdr.icmp_type, 0xff);
    case RTE_FLOW_ITEM_TYPE_ICMP6:
      return "icmp6" + field("type", static_cast<const rte_flow_item_icmp6*>(item.spec)->type,
                             static_cast<const rte_flow_item_icmp6*>(item.mask)->type, 0xff);
    default:
      return "item " + std::to_string(item.type);
  }
}

std::string print_action(const rte_flow_action& action) {
  if (action.type == RTE_FLOW_ACTION_TYPE_QUEUE) {
    return "queue " + std::to_string(static_cast<const rte_flow_action_queue*>(action.conf)->index);
  }
  if (action.type == RTE_FLOW_ACTION_TYPE_RSS) {
    const auto& rss = *static_cast<const rte_flow_action_rss*>(action.conf);
    std::string text = "rss";
    for (uint32_t i = 0; i < rss.queue_num; ++i) text += " " + std::to_string(rss.queue[i]);
    return text;
  }
  return action.type == RTE_FLOW_ACTION_TYPE_VOID ? "none"
                                                  : "action " + std::to_string(action.type);
}

}  // namespace

std::string print_rule(const rte_flow_attr& attributes, const rte_flow_item* items,
                       const rte_flow_action* actions) {
  REQUIRE(attributes.ingress == 1);
  REQUIRE(attributes.egress == 0);
  REQUIRE(attributes.transfer == 0);
  std::string text = "group " + std::to_string(attributes.group) + " priority " +
                     std::to_string(attributes.priority) + ":";
  const char* separator = " ";
  for (; items->type != RTE_FLOW_ITEM_TYPE_END; ++items, separator = " / ") {
    text += separator + print_item(*items);
  }
  text += " ->";
  for (; actions->type != RTE_FLOW_ACTION_TYPE_END; ++actions) text += " " + print_action(*actions);
  return text;
}

}  // namespace millrace::steer
