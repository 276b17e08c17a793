// SPDX-License-Identifier: MIT
// A steering rule as it stands, for people who look: `npx millrace flows` and the lines that tell
// of a rule that was refused. Nothing here is near a packet.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "wire/ip_address.h"

namespace millrace::steer {

struct RuleReport {
  enum class Kind : uint8_t { kOurFlow, kKernelFlow, kLocal, kBlock, kIcmp };

  const char* by = "";  // who looks: "xdp", "rte_flow", "software"
  Kind kind = Kind::kLocal;
  uint8_t protocol = 6;  // TCP, UDP, ICMP, ICMPv6
  // The address may be unspecified: any of the interface, of the family or (port blocks) of both.
  wire::Endpoint local{};
  uint16_t port_mask = 0xffff;
  wire::Endpoint remote{};  // flows only
  uint8_t icmp_type = 0;    // Kind::kIcmp
  bool any_icmp = false;    // the same: whatever the type
  // Where the packets go; empty: to the stack, by whatever queue they come (never for the
  // kernel's).
  std::vector<uint16_t> queues{};
  bool spread = false;  // RSS over the queues; else the rule holds on each of them
  uint16_t rules = 1;   // of the device's, for this one
  // Packets and bytes are this rule's own; else only kinds are counted (SteeringCounters).
  bool counted = false;
  uint64_t packets = 0;
  uint64_t bytes = 0;
};

// A rule that could not be had, and why: "tcp to 10.0.0.1 port 80: queue 0: no such action".
struct Refusal {
  std::string text;
  uint64_t times = 1;
};

// The last few of them, the newest at the end.
class Refusals {
 public:
  void note(std::string text);
  const std::vector<Refusal>& list() const { return list_; }
  std::string last() const { return list_.empty() ? std::string() : list_.back().text; }

 private:
  static constexpr size_t kKept = 16;
  std::vector<Refusal> list_;
};

// False: no more of them.
using RuleVisitor = std::function<bool(const RuleReport&)>;

// "our-flow", "kernel-flow", "local", "port-block", "icmp-error"
const char* name_of(RuleReport::Kind kind);
// "10.0.0.1", "fd00::1"
std::string text_of(const wire::IpAddress& address);
// "tcp to 10.0.0.1 port 80 from 10.0.0.2 port 4000: queue 0"
std::string words_of(const RuleReport& rule);

}  // namespace millrace::steer
