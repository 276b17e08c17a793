// SPDX-License-Identifier: MIT
// One rule of a device: what it matches and where the packets go, and the same as rte_flow wants
// to hear it. Pure: nothing here talks to a device.
#pragma once

#include <rte_flow.h>

#include <string>
#include <vector>

#include "wire/ip_address.h"

namespace millrace::steer {

// Lower numbers win in rte_flow.
enum class FlowPriority : uint32_t { kKernelFlow, kOurFlow, kLocal, kBlock, kIcmp };

struct FlowRule {
  enum class Target : uint8_t { kQueue, kSpread, kKernel };

  uint8_t protocol = 6;   // TCP, UDP, ICMP, ICMPv6
  wire::IpAddress local;  // always a whole address
  uint16_t port = 0;      // local; not for ICMP
  uint16_t port_mask = 0xffff;
  bool exact = false;  // `remote` has to match too
  wire::Endpoint remote;
  uint8_t icmp_type = 0;  // ICMP, ICMPv6
  bool any_icmp = false;  // IPv4: whatever the type
  bool whole = true;      // IPv4: no fragments, which have no business with us
  FlowPriority priority = FlowPriority::kLocal;
  Target target = Target::kQueue;
  uint16_t queue = 0;   // Target::kQueue
  uint16_t queues = 1;  // Target::kSpread: the first ones
};

// "tcp to 10.0.0.1 port 80 from 10.0.0.2 port 4000: queue 0"
std::string describe(const FlowRule& rule);

// The rule's arrays. They point into the object, which must not move.
class FlowTexts {
 public:
  explicit FlowTexts(const FlowRule& rule);
  FlowTexts(const FlowTexts&) = delete;
  FlowTexts& operator=(const FlowTexts&) = delete;

  rte_flow_attr attributes{};
  rte_flow_item items[4]{};
  rte_flow_action actions[2]{};
  // False: this version of DPDK has no word for the rule's target.
  bool expressible = true;

 private:
  void match_addresses(const FlowRule& rule);
  void match_transport(const FlowRule& rule);
  void act(const FlowRule& rule);

  rte_flow_item_ipv4 ipv4_{}, ipv4_mask_{};
  rte_flow_item_ipv6 ipv6_{}, ipv6_mask_{};
  rte_flow_item_tcp tcp_{}, tcp_mask_{};
  rte_flow_item_udp udp_{}, udp_mask_{};
  rte_flow_item_icmp icmp_{}, icmp_mask_{};
  rte_flow_item_icmp6 icmp6_{}, icmp6_mask_{};
  rte_flow_action_queue queue_{};
  rte_flow_action_rss rss_{};
  std::vector<uint16_t> queues_;
};

}  // namespace millrace::steer
