// SPDX-License-Identifier: MIT
#include "steer/rte_flow/rte_flow_steering.h"

#include <rte_errno.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "wire/ipv4.h"

namespace millrace::steer {
namespace {

// RFC 792: destination unreachable, time exceeded, parameter problem. RFC 4443: those, and packet
// too big.
constexpr uint8_t kIcmpErrors[] = {3, 11, 12};
constexpr uint8_t kIcmpv6Errors[] = {1, 2, 3, 4};

}  // namespace

RteFlowSteering::RteFlowSteering(std::unique_ptr<FlowDevice> device, const RteFlowOptions& options)
    : device_(std::move(device)), options_(options) {}

// --- what is asked for

Error RteFlowSteering::set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) {
  if (!is_exact(flow)) return {EINVAL};
  const Wish wish{Kind::kFlow, protocol, flow};
  const auto known = wishes_.find(wish);
  if (known == wishes_.end()) return grant(wish, owner);
  if (known->second.owner == owner) return kOk;
  // The new rule first: between the two the packets are somebody's, not nobody's.
  Granted old = std::move(known->second);
  wishes_.erase(known);
  const Error error = grant(wish, owner);
  if (error) {
    wishes_.emplace(wish, std::move(old));
    return error;
  }
  unmake(old.made, 0);
  return kOk;
}

Error RteFlowSteering::remove_flow(Protocol protocol, const wire::FlowKey& flow) {
  return withdraw({Kind::kFlow, protocol, flow});
}

Error RteFlowSteering::add_port_block(Protocol protocol, uint16_t first_port) {
  if (first_port == 0 || first_port % kPortBlockSize != 0) return {EINVAL};
  return grant({Kind::kBlock, protocol, {{{}, first_port}, {}}}, Owner::kOurs);
}

Error RteFlowSteering::remove_port_block(Protocol protocol, uint16_t first_port) {
  return withdraw({Kind::kBlock, protocol, {{{}, first_port}, {}}});
}

Error RteFlowSteering::add_local(Protocol protocol, const wire::Endpoint& local) {
  if (local.port == 0) return {EINVAL};
  return grant({Kind::kLocal, protocol, {local, {}}}, Owner::kOurs);
}

Error RteFlowSteering::remove_local(Protocol protocol, const wire::Endpoint& local) {
  return withdraw({Kind::kLocal, protocol, {local, {}}});
}

Error RteFlowSteering::add_address(const wire::IpAddress& address) {
  if (address.is_unspecified() || address.is_multicast()) return {EINVAL};
  if (std::find(addresses_.begin(), addresses_.end(), address) != addresses_.end()) return kOk;
  addresses_.push_back(address);
  Error first = kOk;
  for (auto& [wish, granted] : wishes_) {
    const bool family =
        wish.kind == Kind::kBlock || wish.flow.local.address.is_v4() == address.is_v4();
    if (!for_any_address(wish) || !family) continue;
    const Error error = make(wish, granted.owner, address, granted.made);
    if (!first) first = error;
  }
  // ICMP errors help; no connection depends on them.
  if (options_.icmp_errors) static_cast<void>(make_icmp(address));
  return first;
}

Error RteFlowSteering::remove_address(const wire::IpAddress& address) {
  const auto known = std::find(addresses_.begin(), addresses_.end(), address);
  if (known == addresses_.end()) return {ENOENT};
  addresses_.erase(known);
  for (auto& [wish, granted] : wishes_) {
    if (!for_any_address(wish) && wish.kind != Kind::kIcmp) continue;
    const auto gone = std::stable_partition(granted.made.begin(), granted.made.end(),
                                            [&](const Made& m) { return m.rule.local != address; });
    unmake(granted.made, size_t(gone - granted.made.begin()));
  }
  wishes_.erase({Kind::kIcmp, Protocol::kTcp, {{address, 0}, {}}});
  return kOk;
}

void RteFlowSteering::close() {
  for (auto& [wish, granted] : wishes_) unmake(granted.made, 0);
  wishes_.clear();
  addresses_.clear();
}

// --- what becomes of it

bool RteFlowSteering::for_any_address(const Wish& wish) const {
  return wish.kind == Kind::kBlock ||
         (wish.kind == Kind::kLocal && wish.flow.local.address.is_unspecified());
}

Error RteFlowSteering::grant(const Wish& wish, Owner owner) {
  if (wishes_.contains(wish)) return kOk;
  Granted granted{owner, {}};
  Error error = kOk;
  if (for_any_address(wish)) {
    for (const wire::IpAddress& address : addresses_) {
      const bool family =
          wish.kind == Kind::kBlock || wish.flow.local.address.is_v4() == address.is_v4();
      if (family && !error) error = make(wish, owner, address, granted.made);
    }
  } else {
    error = make(wish, owner, wish.flow.local.address, granted.made);
  }
  if (error) {
    unmake(granted.made, 0);
    return error;
  }
  wishes_.emplace(wish, std::move(granted));
  return kOk;
}

Error RteFlowSteering::withdraw(const Wish& wish) {
  const auto known = wishes_.find(wish);
  if (known == wishes_.end()) return {ENOENT};
  unmake(known->second.made, 0);
  wishes_.erase(known);
  return kOk;
}

// Listeners spread their connections over all queues; what belongs to a block of ports goes to one,
// the same for the block and for each flow of it.
void RteFlowSteering::aim(FlowRule& rule) const {
  if (spreads_ && options_.queues > 1 && rule.priority == FlowPriority::kLocal) {
    rule.target = FlowRule::Target::kSpread;
    rule.queues = options_.queues;
    return;
  }
  rule.target = FlowRule::Target::kQueue;
  rule.queue = uint16_t(rule.port / kPortBlockSize % options_.queues);
}

Error RteFlowSteering::make(const Wish& wish, Owner owner, const wire::IpAddress& address,
                            std::vector<Made>& made) {
  FlowRule rule;
  rule.protocol = uint8_t(wish.protocol);
  rule.local = address;
  rule.port = wish.flow.local.port;
  rule.exact = wish.kind == Kind::kFlow;
  rule.remote = wish.flow.remote;
  rule.priority = wish.kind == Kind::kLocal   ? FlowPriority::kLocal
                  : wish.kind == Kind::kBlock ? FlowPriority::kBlock
                  : owner == Owner::kKernel   ? FlowPriority::kKernelFlow
                                              : FlowPriority::kOurFlow;
  aim(rule);
  if (owner == Owner::kKernel) rule.target = FlowRule::Target::kKernel;
  if (wish.kind != Kind::kBlock) return make_one(rule, made);
  if (options_.masked_ports) {
    rule.port_mask = uint16_t(~(kPortBlockSize - 1));
    return make_one(rule, made);
  }
  const size_t before = made.size();
  for (uint16_t i = 0; i < kPortBlockSize; ++i, ++rule.port) {
    if (const Error error = make_one(rule, made)) {
      unmake(made, before);
      return error;
    }
  }
  return kOk;
}

Error RteFlowSteering::make_icmp(const wire::IpAddress& address) {
  const Wish wish{Kind::kIcmp, Protocol::kTcp, {{address, 0}, {}}};
  Granted granted;
  FlowRule rule;
  rule.protocol = address.is_v4() ? wire::kProtocolIcmp : wire::kProtocolIcmpv6;
  rule.local = address;
  rule.priority = FlowPriority::kIcmp;
  Error error = kOk;
  const Refusals before = refusals_;
  const auto each = [&](const auto& types) {
    for (const uint8_t type : types) {
      rule.icmp_type = type;
      if (!error) error = make_one(rule, granted.made);
    }
  };
  address.is_v4() ? each(kIcmpErrors) : each(kIcmpv6Errors);
  if (error) unmake(granted.made, 0);
  if (error && address.is_v4()) {
    // A device that knows no types may know the protocol: whoever hands on the errors that are not
    // about us hands on the rest as well. Not so with ICMPv6: neighbours are found by it, and their
    // answers must come to the kernel by the interface that asked.
    const Refusals by_type = refusals_;
    rule.any_icmp = true;
    error = make_one(rule, granted.made);
    refusals_ = error ? by_type : before;
  }
  if (error) return error;
  wishes_.emplace(wish, std::move(granted));
  return kOk;
}

// Asks for the rule, and for less where the device refuses: without a counter, then without telling
// fragments, whose first ones come to us then and are not joined. `rule` is left as it was taken.
int RteFlowSteering::ask(FlowRule& rule, rte_flow_error& why) {
  const auto refused = [&](bool counted, bool whole, rte_flow_error& reason) {
    rule.counted = counted;
    rule.whole = whole;
    const FlowTexts texts(rule);
    return device_->validate(texts.attributes, texts.items, texts.actions, reason);
  };
  const bool counts = counts_;
  const bool tells = tells_fragments_ && rule.local.is_v4();
  const int result = refused(counts, tells, why);
  if (result == 0) return 0;
  rte_flow_error again{};
  if (counts && refused(false, tells, again) == 0) {
    counts_ = false;
    return 0;
  }
  if (!tells) return result;
  if (counts && refused(true, false, again) == 0) {
    tells_fragments_ = false;
    return 0;
  }
  if (refused(false, false, again) != 0) return result;
  counts_ = tells_fragments_ = false;
  return 0;
}

Error RteFlowSteering::make_one(FlowRule rule, std::vector<Made>& made) {
  if (rules_ >= options_.rules_max) return refuse(rule, ENOBUFS, "as many rules as are allowed");
  if (!FlowTexts(rule).expressible) {
    return refuse(rule, ENOTSUP, "this version of DPDK has no action for that");
  }
  rte_flow_error why{};
  const int result = ask(rule, why);
  if (result != 0 && rule.target == FlowRule::Target::kSpread) {
    // All queues are this stack's: spreading is for speed, not for who gets what.
    spreads_ = false;
    aim(rule);
    return make_one(rule, made);
  }
  if (result != 0) return refuse(rule, result < 0 ? -result : ENOTSUP, why.message);
  const FlowTexts texts(rule);
  why = {};
  rte_flow* handle = device_->create(texts.attributes, texts.items, texts.actions, why);
  if (!handle && rule.target == FlowRule::Target::kSpread) {
    // Some say so only now (net_tap).
    spreads_ = false;
    aim(rule);
    return make_one(rule, made);
  }
  if (!handle && rule.counted) {
    // No counter is left, say.
    counts_ = false;
    return make_one(rule, made);
  }
  if (!handle) return refuse(rule, rte_errno > 0 ? rte_errno : EIO, why.message);
  made.push_back({rule, handle});
  ++rules_;
  return kOk;
}

void RteFlowSteering::unmake(std::vector<Made>& made, size_t from) {
  while (made.size() > from) {
    rte_flow_error why{};
    // A rule that the device has lost already is gone as well.
    static_cast<void>(device_->destroy(made.back().handle, why));
    made.pop_back();
    --rules_;
  }
}

// --- for people who look

void RteFlowSteering::each_rule(const RuleVisitor& visit) const {
  // Few first: there may be many flows.
  for (const Kind kind : {Kind::kLocal, Kind::kBlock, Kind::kIcmp, Kind::kFlow}) {
    for (const auto& [wish, granted] : wishes_) {
      if (wish.kind == kind && !report(granted, visit)) return;
    }
  }
}

// Rules by port that stand for one by mask are told as one.
bool RteFlowSteering::report(const Granted& granted, const RuleVisitor& visit) const {
  for (size_t i = 0; i < granted.made.size();) {
    const FlowRule& first = granted.made[i].rule;
    RuleReport report = report_of(first);
    report.rules = 0;
    report.counted = true;
    const bool by_port = first.priority == FlowPriority::kBlock && first.port_mask == 0xffff;
    if (by_port) report.port_mask = uint16_t(~(kPortBlockSize - 1));
    do {
      const Made& made = granted.made[i++];
      ++report.rules;
      rte_flow_query_count count{};
      count.reset = 0;
      rte_flow_error why{};
      const bool told =
          made.rule.counted && device_->query(made.handle, count, why) == 0 && count.hits_set;
      report.counted &= told;
      report.packets += told ? count.hits : 0;
      report.bytes += told && count.bytes_set ? count.bytes : 0;
    } while (by_port && i < granted.made.size() && granted.made[i].rule.local == first.local);
    if (!visit(report)) return false;
  }
  return true;
}

Error RteFlowSteering::refuse(const FlowRule& rule, int code, const char* reason) {
  refusals_.note(words_of(report_of(rule)) + ": " + (reason ? reason : std::strerror(code)));
  return {code};
}

}  // namespace millrace::steer
