// SPDX-License-Identifier: MIT
#include "steer/rule_report.h"

#include <arpa/inet.h>

#include <algorithm>
#include <utility>

#include "wire/ipv4.h"

namespace millrace::steer {
namespace {

std::string protocol_words(const RuleReport& rule) {
  switch (rule.protocol) {
    case wire::kProtocolTcp:
      return "tcp";
    case wire::kProtocolUdp:
      return "udp";
    case wire::kProtocolIcmp:
      return rule.any_icmp ? "icmp" : "icmp type " + std::to_string(rule.icmp_type);
    case wire::kProtocolIcmpv6:
      return "icmp6 type " + std::to_string(rule.icmp_type);
    default:
      return "protocol " + std::to_string(rule.protocol);
  }
}

std::string address_words(const RuleReport& rule) {
  const wire::IpAddress& address = rule.local.address;
  if (!address.is_unspecified()) return text_of(address);
  if (rule.kind == RuleReport::Kind::kBlock) return "any address";
  return address.is_v4() ? "any IPv4 address" : "any IPv6 address";
}

std::string aim_words(const RuleReport& rule) {
  if (rule.kind == RuleReport::Kind::kKernelFlow) return "the kernel's";
  if (rule.queues.empty()) return "ours, by any queue";
  std::string text = rule.spread               ? "spread over queues "
                     : rule.queues.size() == 1 ? "queue "
                                               : "queues ";
  const char* separator = "";
  for (const uint16_t queue : rule.queues) {
    text += separator + std::to_string(queue);
    separator = ", ";
  }
  return text;
}

}  // namespace

void Refusals::note(std::string text) {
  const auto known = std::find_if(list_.begin(), list_.end(),
                                  [&](const Refusal& refusal) { return refusal.text == text; });
  if (known != list_.end()) {
    ++known->times;
    std::rotate(known, known + 1, list_.end());
    return;
  }
  if (list_.size() == kKept) list_.erase(list_.begin());
  list_.push_back({std::move(text)});
}

const char* name_of(RuleReport::Kind kind) {
  switch (kind) {
    case RuleReport::Kind::kOurFlow:
      return "our-flow";
    case RuleReport::Kind::kKernelFlow:
      return "kernel-flow";
    case RuleReport::Kind::kLocal:
      return "local";
    case RuleReport::Kind::kBlock:
      return "port-block";
    case RuleReport::Kind::kIcmp:
      return "icmp-error";
  }
  return "";
}

std::string text_of(const wire::IpAddress& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.is_v4()) {
    inet_ntop(AF_INET, address.v4_data(), text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, address.data(), text, sizeof(text));
  }
  return text;
}

std::string words_of(const RuleReport& rule) {
  std::string text = protocol_words(rule) + " to " + address_words(rule);
  if (rule.local.port != 0) {
    text.append(" port ").append(std::to_string(rule.local.port));
    const int last = rule.local.port | uint16_t(~rule.port_mask);
    if (last != rule.local.port) text.append("-").append(std::to_string(last));
  }
  if (rule.remote.port != 0) {
    text += " from " + text_of(rule.remote.address) + " port " + std::to_string(rule.remote.port);
  }
  return text + ": " + aim_words(rule);
}

}  // namespace millrace::steer
