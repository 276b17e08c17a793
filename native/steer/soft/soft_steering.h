// SPDX-License-Identifier: MIT
// Steering by looking at every received frame, for devices that give us all they receive, or more
// than was asked for: the same kinds of rule as the XDP program has, with the same answers. Whoever
// reads the device asks judge() and hands what is not ours to the kernel.
#pragma once

#include <span>
#include <unordered_map>
#include <unordered_set>

#include "base/siphash.h"
#include "steer/steering.h"

namespace millrace::steer {

class SoftSteering : public Steering {
 public:
  struct Limits {
    uint32_t flows_max = 131072;
    uint32_t locals_max = 65536;
    uint32_t addresses_max = 1024;
  };
  // `key`: random; addresses and ports of packets are looked up by it.
  SoftSteering(const SipKey& key, const Limits& limits);

  // True: ours. Counts the decision. Malformed frames are the kernel's.
  bool judge(std::span<const uint8_t> frame);

  Error set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) override;
  Error remove_flow(Protocol protocol, const wire::FlowKey& flow) override;
  Error add_port_block(Protocol protocol, uint16_t first_port) override;
  Error remove_port_block(Protocol protocol, uint16_t first_port) override;
  Error add_local(Protocol protocol, const wire::Endpoint& local) override;
  Error remove_local(Protocol protocol, const wire::Endpoint& local) override;
  Error add_address(const wire::IpAddress& address) override;
  Error remove_address(const wire::IpAddress& address) override;
  SteeringCounters counters() const override { return counters_; }
  void each_rule(const RuleVisitor& visit) const override;
  std::vector<Refusal> refusals() const override { return refusals_.list(); }
  void close() override;

 private:
  struct FlowId {
    uint8_t protocol = 0;
    wire::FlowKey flow;
    bool operator==(const FlowId&) const = default;
  };
  struct LocalId {
    uint8_t protocol = 0;
    wire::Endpoint local;
    bool operator==(const LocalId&) const = default;
  };
  // What a rule has taken, counted where it is found anyway.
  struct Hits {
    uint64_t packets = 0;
    uint64_t bytes = 0;
  };
  struct FlowEntry {
    Owner owner = Owner::kOurs;
    Hits hits;
  };
  struct Hash {
    SipKey key;
    size_t operator()(const FlowId& id) const;
    size_t operator()(const LocalId& id) const;
    size_t operator()(const wire::IpAddress& address) const;
  };
  // What a frame is about: a packet to us, or one of ours that an ICMP error quotes.
  struct Packet {
    FlowId id;
    bool quoted = false;
    bool to_group = false;
  };
  using Counter = uint64_t SteeringCounters::*;

  Error full(const RuleReport& rule);
  // The counter of the decision, or null and `packet` filled in.
  Counter read(std::span<const uint8_t> frame, Packet& packet) const;
  Counter read_ipv4(std::span<const uint8_t> ip, Packet& packet) const;
  Counter read_ipv6(std::span<const uint8_t> ip, Packet& packet) const;
  Counter read_ports(std::span<const uint8_t> transport, Packet& packet) const;
  Counter read_error(std::span<const uint8_t> icmp, bool v4, Packet& packet) const;
  // `hits`: of the rule that decided, or null.
  Counter decide(const Packet& packet, Hits*& hits);
  uint64_t& block_word(Protocol protocol, uint16_t port);
  bool in_block(uint8_t protocol, uint16_t port) const;

  Limits limits_;
  std::unordered_map<FlowId, FlowEntry, Hash> flows_;
  std::unordered_map<LocalId, Hits, Hash> locals_;
  std::unordered_set<wire::IpAddress, Hash> addresses_;
  uint64_t blocks_[2][16] = {};  // a bit per block; TCP's, UDP's
  Hits block_hits_[2][1024];
  SteeringCounters counters_;
  Refusals refusals_;
};

}  // namespace millrace::steer
