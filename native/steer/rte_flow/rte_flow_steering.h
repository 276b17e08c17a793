// SPDX-License-Identifier: MIT
// Steering by rules in the device (rte_flow), on cards that the kernel has as well. The device is
// isolated before: it gives us what a rule takes and nothing else.
//
// A rule of ours may be several of the device's: one for each address of the interface where
// "any address" is meant, one for each port of a block where the device cannot mask ports. Every
// rule is asked for (validate) before it is made, first with a counter, then without.
//
// What rte_flow cannot say: a flow of the kernel's within a port of ours (DPDK before 23.11, and
// most devices after), and ICMP errors by what they quote. Then the call gives ENOTSUP, and whoever
// put us here must sort such packets out by software (see SoftSteering).
#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <map>

#include "steer/rte_flow/flow_device.h"
#include "steer/rte_flow/flow_rule.h"
#include "steer/steering.h"

namespace millrace::steer {

struct RteFlowOptions {
  uint16_t queues = 1;
  bool masked_ports = true;  // the device obeys masks on ports; false: a rule per port
  bool icmp_errors = true;   // take ICMP errors: somebody hands on those that are not about us
  uint32_t rules_max = 65536;
};

class RteFlowSteering final : public Steering {
 public:
  RteFlowSteering(std::unique_ptr<FlowDevice> device, const RteFlowOptions& options);
  ~RteFlowSteering() override { close(); }

  Error set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) override;
  Error remove_flow(Protocol protocol, const wire::FlowKey& flow) override;
  Error add_port_block(Protocol protocol, uint16_t first_port) override;
  Error remove_port_block(Protocol protocol, uint16_t first_port) override;
  Error add_local(Protocol protocol, const wire::Endpoint& local) override;
  Error remove_local(Protocol protocol, const wire::Endpoint& local) override;
  Error add_address(const wire::IpAddress& address) override;
  Error remove_address(const wire::IpAddress& address) override;
  // Devices count by rule at best (each_rule), and net_tap does not: what arrives is counted by
  // SoftSteering.
  SteeringCounters counters() const override { return {}; }
  // Asks the device what each rule has matched, if it counts.
  void each_rule(const RuleVisitor& visit) const override;
  std::vector<Refusal> refusals() const override { return refusals_.list(); }
  void close() override;

  // The rule that was refused last and the device's reason, or "".
  std::string refusal() const { return refusals_.last(); }
  size_t rules() const { return rules_; }

 private:
  enum class Kind : uint8_t { kFlow, kLocal, kBlock, kIcmp };
  // What somebody asked for. A block has its first port in `local`.
  struct Wish {
    Kind kind;
    Protocol protocol;
    wire::FlowKey flow;
    auto operator<=>(const Wish&) const = default;
  };
  struct Made {
    FlowRule rule;
    rte_flow* handle;
  };
  struct Granted {
    Owner owner = Owner::kOurs;
    std::vector<Made> made;
  };

  Error grant(const Wish& wish, Owner owner);
  Error withdraw(const Wish& wish);
  bool for_any_address(const Wish& wish) const;
  Error make(const Wish& wish, Owner owner, const wire::IpAddress& address,
             std::vector<Made>& made);
  Error make_one(FlowRule rule, std::vector<Made>& made);
  int ask(FlowRule& rule, rte_flow_error& why);
  bool report(const Granted& granted, const RuleVisitor& visit) const;
  Error make_icmp(const wire::IpAddress& address);
  void unmake(std::vector<Made>& made, size_t from);
  void aim(FlowRule& rule) const;
  Error refuse(const FlowRule& rule, int code, const char* reason);

  std::unique_ptr<FlowDevice> device_;
  RteFlowOptions options_;
  std::map<Wish, Granted> wishes_;
  std::vector<wire::IpAddress> addresses_;
  Refusals refusals_;
  size_t rules_ = 0;
  bool tells_fragments_ = true;  // until the device says otherwise
  bool spreads_ = true;          // the same
  bool counts_ = true;           // the same
};

}  // namespace millrace::steer
