// SPDX-License-Identifier: MIT
#include "stack/kernel_director.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "wire/ipv4.h"

namespace millrace {

namespace {
// Kernel connections end without a word to us: their rules are looked over this often.
constexpr Duration kReviewEvery = Duration::seconds(30);
constexpr uint32_t kQuestionsPerSecond = 1000;
// Rules that are told to who looks.
constexpr size_t kRulesTold = 4096;

steer::Protocol protocol_of(uint8_t number) {
  return steer::Protocol(number);
}
}  // namespace

KernelDirector::KernelDirector(net::IpLayer& ip, TimerWheel& timers, Random& random,
                               const Limits& limits)
    : IpLayerSink(ip),
      ip_(ip),
      timers_(timers),
      limits_(limits),
      key_(random.sip_key()),
      flow_pool_(limits.flows_max + limits.handed_over_max),
      flows_(limits.flows_max + limits.handed_over_max),
      follower_(*this, {}),
      blocks_(wire::kProtocolTcp, random, {}, *this),
      review_([](Timer&, void* owner,
                 Instant now) { static_cast<KernelDirector*>(owner)->review_kernel_flows(now); },
              this) {}

KernelDirector::~KernelDirector() {
  timers_.cancel(review_);
  ip_.set_resolver(nullptr);
  ip_.set_stray_handler(nullptr);
  for (Interface& interface : interfaces_) close(interface);
  const auto forget = [this](List<Flow, RuleTag>& list) {
    while (Flow* flow = list.pop_front()) {
      flows_.remove(flow);
      flow_pool_.destroy(flow);
    }
  };
  for (auto& rule : rules_) forget(rule->flows);
  forget(loose_);
  forget(handed_over_);
  blocks_.close();
  follower_.close();
}

void KernelDirector::close(Interface& interface) {
  interface.shared.keeper.reset();
  interface.steering->close();
}

void KernelDirector::add_interface(const std::string& name, uint32_t ifindex,
                                   std::unique_ptr<steer::Steering> steering, bool shared,
                                   Shared parts) {
  interfaces_.push_back({name, ifindex, shared, std::move(steering), std::move(parts)});
  shared_ |= shared;
  if (shared_) ip_.set_stray_handler(this);
  follower_.follow(ifindex);
}

Error KernelDirector::start(Instant now) {
  if (const Error error = kernel_flows_.open()) return error;
  if (const Error error = follower_.open()) return error;
  if (const Error error = follower_.start(now)) return error;
  ip_.set_resolver(&follower_);
  return kOk;
}

// --- rules by local port

Error KernelDirector::add_rules(const LocalRule& rule) {
  for (Interface& interface : interfaces_) {
    Error error = interface.steering->add_local(protocol_of(rule.protocol), rule.local);
    if (!error && rule.dual_stack) {
      error = interface.steering->add_local(protocol_of(rule.protocol),
                                            {wire::IpAddress::v4(0), rule.local.port});
    }
    if (error) return refused(interface, error);
  }
  return kOk;
}

// Counts it, and keeps the words for whoever asked.
Error KernelDirector::refused(const Interface& interface, Error error) {
  ++rules_failed_;
  const auto all = interface.steering->refusals();
  refusal_ = all.empty() ? std::string() : all.back().text;
  return error;
}

void KernelDirector::remove_rules(const LocalRule& rule) {
  const auto drop = [this, &rule](const wire::Endpoint& local) {
    // Another socket may share the rule (a wildcard of the other family, a second interface's).
    const bool shared = std::any_of(rules_.begin(), rules_.end(), [&](const auto& other) {
      return other.get() != &rule && other->protocol == rule.protocol &&
             (other->local == local ||
              (other->dual_stack && local.address.is_v4() && local.address.is_unspecified() &&
               other->local.port == local.port));
    });
    if (shared) return;
    for (Interface& interface : interfaces_) {
      static_cast<void>(interface.steering->remove_local(protocol_of(rule.protocol), local));
    }
  };
  drop(rule.local);
  if (rule.dual_stack) drop({wire::IpAddress::v4(0), rule.local.port});
}

Error KernelDirector::take_local(Instant now, uint8_t protocol, const wire::Endpoint& local,
                                 bool dual_stack) {
  refusal_.clear();
  auto rule = std::make_unique<LocalRule>();
  rule->protocol = protocol;
  rule->dual_stack = dual_stack;
  rule->local = local;
  // The kernel's own connections first: not one packet of theirs may come to us. Datagram sockets
  // have their port to themselves (one that shares it is never ours), so there is no other flow on
  // it.
  if (protocol == wire::kProtocolTcp) leave_kernel_flows(now, *rule);
  if (const Error error = add_rules(*rule)) {
    remove_rules(*rule);
    for (const wire::FlowKey& flow : rule->kernel_flows) remove_flow(flow);
    return error;
  }
  if (protocol == wire::kProtocolTcp && shared_) leave_late_kernel_flows(now, *rule);
  rules_.push_back(std::move(rule));
  return kOk;
}

void KernelDirector::release_local(uint8_t protocol, const wire::Endpoint& local, bool dual_stack) {
  const auto found = std::find_if(rules_.begin(), rules_.end(), [&](const auto& rule) {
    return rule->protocol == protocol && rule->local == local && rule->dual_stack == dual_stack;
  });
  MR_ASSERT(found != rules_.end());
  LocalRule& rule = **found;
  while (Flow* flow = rule.flows.pop_front()) {
    flow->exact = !set_flow(flow->key, steer::Owner::kOurs);
    loose_.push_back(flow);
  }
  remove_rules(rule);
  drop_kernel_flows(rule);
  rules_.erase(found);
}

// Where others share the interface one of them may listen on this port still, with the same flows
// to leave alone: the rules stay until the kernel has the flows no more.
void KernelDirector::drop_kernel_flows(LocalRule& rule) {
  for (const wire::FlowKey& flow : rule.kernel_flows) {
    if (shared_ && left_flows_.size() < limits_.kernel_flows_max) {
      left_flows_.push_back(flow);
    } else {
      remove_flow(flow);
    }
  }
}

void KernelDirector::leave_kernel_flows(Instant now, LocalRule& rule) {
  // Past the limit the rest is lost to the kernel's listener; the counter tells.
  if (kernel_flows_.list(rule.protocol, rule.local.port, limits_.kernel_flows_max,
                         rule.kernel_flows)) {
    ++rules_failed_;
  }
  for (const wire::FlowKey& flow : rule.kernel_flows) {
    // Our own connections are no business of the kernel's, and it knows none of them.
    static_cast<void>(set_flow(flow, steer::Owner::kKernel));
  }
  if (!rule.kernel_flows.empty() && !review_.armed()) timers_.arm(review_, now + kReviewEvery);
}

// The kernel's own listener has been at work meanwhile: in a cluster it is the primary's, and
// serves before this stack does. What it accepted between the first look and the rule is the
// kernel's too.
void KernelDirector::leave_late_kernel_flows(Instant now, LocalRule& rule) {
  std::vector<wire::FlowKey> flows;
  static_cast<void>(
      kernel_flows_.list(rule.protocol, rule.local.port, limits_.kernel_flows_max, flows));
  std::vector<wire::FlowKey> known = rule.kernel_flows;
  std::sort(known.begin(), known.end());
  for (const wire::FlowKey& flow : flows) {
    if (std::binary_search(known.begin(), known.end(), flow) || find(flow)) continue;
    if (rule.kernel_flows.size() >= limits_.kernel_flows_max) return;
    if (!set_flow(flow, steer::Owner::kKernel)) rule.kernel_flows.push_back(flow);
  }
  if (!rule.kernel_flows.empty() && !review_.armed()) timers_.arm(review_, now + kReviewEvery);
}

// The reply route of the flow leads over an interface that we do not have. It is a rule like those
// of flows that the kernel had before, and goes when the kernel does not know the flow.
void KernelDirector::leave_to_kernel(Instant now, const wire::FlowKey& flow) {
  LocalRule* rule = rule_for(flow.local);
  if (!rule || rule->kernel_flows.size() >= limits_.kernel_flows_max) return;
  if (set_flow(flow, steer::Owner::kKernel)) return;
  rule->kernel_flows.push_back(flow);
  if (!review_.armed()) timers_.arm(review_, now + kReviewEvery);
}

void KernelDirector::review_kernel_flows(Instant now) {
  bool left = false;
  for (auto& rule : rules_) {
    if (rule->kernel_flows.empty()) continue;
    std::vector<wire::FlowKey> ended;
    if (!kernel_flows_.take_gone(rule->protocol, rule->local.port, rule->kernel_flows, ended)) {
      for (const wire::FlowKey& flow : ended) remove_flow(flow);
    }
    left |= !rule->kernel_flows.empty();
  }
  review_handed_over();
  left |= handed_over_count_ > 0;
  std::erase_if(left_flows_, [this](const wire::FlowKey& flow) {
    if (kernel_flows_.has(flow)) return false;
    remove_flow(flow);
    return true;
  });
  left |= !left_flows_.empty();
  if (left) timers_.arm(review_, now + kReviewEvery);
}

KernelDirector::LocalRule* KernelDirector::rule_for(const wire::Endpoint& local) {
  LocalRule* wildcard = nullptr;
  for (auto& rule : rules_) {
    if (rule->protocol != wire::kProtocolTcp || rule->local.port != local.port) continue;
    if (rule->local.address == local.address) return rule.get();
    const bool covers = rule->local.address.is_unspecified() &&
                        (rule->dual_stack || rule->local.address.is_v4() == local.address.is_v4());
    if (covers) wildcard = rule.get();
  }
  return wildcard;
}

// --- flows

uint64_t KernelDirector::hash(const wire::FlowKey& key) const {
  uint8_t bytes[36];
  std::memcpy(bytes, key.local.address.data(), 16);
  std::memcpy(bytes + 16, key.remote.address.data(), 16);
  std::memcpy(bytes + 32, &key.local.port, 2);
  std::memcpy(bytes + 34, &key.remote.port, 2);
  return SipHash::hash(key_, bytes);
}

KernelDirector::Flow* KernelDirector::find(const wire::FlowKey& key) const {
  return flows_.find(hash(key), [&](const Flow& flow) { return flow.key == key; });
}

KernelDirector::Flow* KernelDirector::remember(const wire::FlowKey& key) {
  Flow* flow = flow_pool_.create();
  if (!flow) return nullptr;
  flow->key = key;
  flows_.insert(flow, hash(key));
  return flow;
}

Error KernelDirector::set_flow(const wire::FlowKey& key, steer::Owner owner) {
  for (Interface& interface : interfaces_) {
    const Error error = interface.steering->set_flow(steer::Protocol::kTcp, key, owner);
    // One that cannot be left to the kernel keeps nobody from listening.
    if (error && owner == steer::Owner::kOurs) return refused(interface, error);
    if (error) {
      ++rules_failed_;
      return error;
    }
  }
  return kOk;
}

void KernelDirector::remove_flow(const wire::FlowKey& key) {
  for (Interface& interface : interfaces_) {
    static_cast<void>(interface.steering->remove_flow(steer::Protocol::kTcp, key));
  }
}

bool KernelDirector::connects() const {
  return !shared_ || std::all_of(interfaces_.begin(), interfaces_.end(), [](const auto& interface) {
    return !interface.shares_queues || interface.steering->covers_all_queues();
  });
}

namespace {
// Ports for which the answers come by a queue of ours.
class OwnQueues final : public control::PortPreference {
 public:
  OwnQueues(const AnswerQueues& answers, const wire::IpAddress& local, const wire::Endpoint& remote)
      : answers_(answers), flow_{{local, 0}, remote} {}
  bool likes(uint16_t port) override {
    flow_.local.port = port;
    return answers_.is_ours(flow_);
  }

 private:
  const AnswerQueues& answers_;
  wire::FlowKey flow_;
};
}  // namespace

Result<uint16_t> KernelDirector::reserve_port(Instant now, uint8_t interface,
                                              const wire::IpAddress& local,
                                              const wire::Endpoint& remote) {
  if (shared_) {
    for (const Interface& one : interfaces_) {
      AnswerQueues* answers = one.shared.answers.get();
      if (!answers || ip_.interface_index(one.ifindex) != interface) continue;
      if (!answers->known(now)) break;
      OwnQueues own(*answers, local, remote);
      return blocks_.allocate(remote, &own);
    }
  }
  return blocks_.allocate(remote);
}

Error KernelDirector::take_flow(const wire::FlowKey& key) {
  refusal_.clear();
  if (find(key)) return Error{EADDRNOTAVAIL};  // another connection's, and so is its rule
  Flow* flow = remember(key);
  if (!flow) return Error{ENOBUFS};
  loose_.push_back(flow);
  const Error error = set_flow(key, steer::Owner::kOurs);
  if (error) {
    gone(key);
    return error;
  }
  flow->exact = true;
  return kOk;
}

void KernelDirector::accepted(const wire::FlowKey& key) {
  Flow* flow = remember(key);
  if (!flow) return;  // as many flows as connections: only when the limits differ
  if (shared_) flow->exact = !set_flow(key, steer::Owner::kOurs);
  refusal_.clear();  // it is served all the same
  LocalRule* rule = rule_for(key.local);
  if (rule) {
    rule->flows.push_back(flow);
  } else {
    loose_.push_back(flow);
  }
}

void KernelDirector::gone(const wire::FlowKey& key) {
  if (Flow* flow = find(key)) {
    if (flow->kernels) return;  // gone only here
    if (flow->exact) remove_flow(key);
    static_cast<ListNode<RuleTag>*>(flow)->unlink();
    flows_.remove(flow);
    flow_pool_.destroy(flow);
    return;
  }
  blocks_.release(key.local.port, key.remote);
}

// --- flows that the kernel goes on with

Error KernelDirector::hand_over(Instant now, const wire::FlowKey& key) {
  if (handed_over_count_ >= limits_.handed_over_max) return Error{ENOBUFS};
  Flow* flow = find(key);
  const bool known = flow != nullptr;
  if (!known) flow = remember(key);  // from a port block
  if (!flow) return Error{ENOBUFS};
  if (const Error error = set_flow(key, steer::Owner::kKernel)) {
    // One of several interfaces has no room.
    remove_flow(key);
    if (known && flow->exact) flow->exact = !set_flow(key, steer::Owner::kOurs);
    if (!known) {
      flows_.remove(flow);
      flow_pool_.destroy(flow);
    }
    return error;
  }
  flow->kernels = true;
  static_cast<ListNode<RuleTag>*>(flow)->unlink();
  handed_over_.push_back(flow);
  ++handed_over_count_;
  if (!review_.armed()) timers_.arm(review_, now + kReviewEvery);
  return kOk;
}

bool KernelDirector::is_kernels(const wire::FlowKey& key) const {
  if (handed_over_count_ == 0) return false;
  const Flow* flow = find(key);
  return flow && flow->kernels;
}

// The kernel tells port by port which connections it has.
void KernelDirector::review_handed_over() {
  std::vector<wire::FlowKey> flows;
  for (Flow* flow = handed_over_.front(); flow; flow = handed_over_.next(flow)) {
    flows.push_back(flow->key);
  }
  const auto by_port = [](const wire::FlowKey& a, const wire::FlowKey& b) {
    return a.local.port < b.local.port;
  };
  std::sort(flows.begin(), flows.end(), by_port);
  for (auto first = flows.begin(); first != flows.end();) {
    const auto last = std::upper_bound(first, flows.end(), *first, by_port);
    std::vector<wire::FlowKey> known(first, last), ended;
    if (!kernel_flows_.take_gone(wire::kProtocolTcp, first->local.port, known, ended)) {
      for (const wire::FlowKey& flow : ended) end_handed_over(flow);
    }
    first = last;
  }
}

void KernelDirector::end_handed_over(const wire::FlowKey& key) {
  Flow* flow = find(key);
  remove_flow(key);
  blocks_.release(key.local.port, key.remote);
  static_cast<ListNode<RuleTag>*>(flow)->unlink();
  flows_.remove(flow);
  flow_pool_.destroy(flow);
  --handed_over_count_;
}

// --- what came to us and is not ours

bool KernelDirector::stray_segment(Instant now, const wire::FlowKey& flow, std::span<uint8_t> frame,
                                   bool opening) {
  for (Interface& interface : interfaces_) {
    const steer::Whose whose = interface.steering->pass_on(steer::Protocol::kTcp, flow, frame);
    if (whose == steer::Whose::kPassedOn) ++strays_passed_on_;
    if (whose == steer::Whose::kLost) ++strays_lost_;
    if (whose == steer::Whose::kKernels) ++strays_kernel_;
    if (whose != steer::Whose::kNobodys) return true;
  }
  if (opening) return false;  // nobody has a connection that this could belong to
  if (!may_ask(now)) {
    // Better silent than to reset a connection that may well be alive: the peer will try again.
    ++strays_unasked_;
    return true;
  }
  if (!kernel_flows_.has(flow)) {
    // A handshake has no rule yet: whoever began it knows.
    const bool along = std::any_of(
        interfaces_.begin(), interfaces_.end(),
        [frame](Interface& interface) { return interface.steering->pass_along(frame); });
    strays_passed_on_ += along;
    return along;
  }
  // This segment is lost, and repeated; from then on the kernel gets them.
  ++strays_kernel_;
  if (set_flow(flow, steer::Owner::kKernel)) return true;
  if (left_flows_.size() < limits_.kernel_flows_max) left_flows_.push_back(flow);
  if (!review_.armed()) timers_.arm(review_, now + kReviewEvery);
  return true;
}

void KernelDirector::icmp_error(Instant now, std::span<uint8_t> frame) {
  if (!may_ask(now)) return;
  for (Interface& interface : interfaces_) interface.steering->pass_on_to_all(frame);
}

// A flood of strays must not keep us busy with questions.
bool KernelDirector::may_ask(Instant now) {
  if (now - questions_since_ >= Duration::seconds(1)) {
    questions_since_ = now;
    questions_ = 0;
  }
  return questions_++ < kQuestionsPerSecond;
}

// --- what the kernel and the port blocks tell

// An interface that has gone may be back, from another namespace, with our program on it still and
// our sockets no longer bound: what is steered to them would be lost.
void KernelDirector::link(const net::LinkConfig& link) {
  IpLayerSink::link(link);
  if (!link.gone) return;
  const auto found = std::find_if(interfaces_.begin(), interfaces_.end(),
                                  [&](const auto& one) { return one.ifindex == link.ifindex; });
  if (found == interfaces_.end()) return;
  const steer::SteeringCounters last = found->steering->counters();
#define X(name, meaning) gone_counters_.name += last.name;
  MILLRACE_STEERING_COUNTERS(X)
#undef X
  close(*found);
  std::fprintf(stderr,
               "millrace: interface %s is gone: its connections have ended (ENETDOWN), and sockets "
               "are the kernel's there\n",
               found->name.c_str());
  gone_.push_back(std::move(*found));
  interfaces_.erase(found);
}

void KernelDirector::address(uint32_t ifindex, const wire::IpAddress& address,
                             uint8_t prefix_length, bool present) {
  IpLayerSink::address(ifindex, address, prefix_length, present);
  for (Interface& interface : interfaces_) {
    if (interface.ifindex != ifindex) continue;
    const Error error = present ? interface.steering->add_address(address)
                                : interface.steering->remove_address(address);
    if (error && present) ++rules_failed_;
  }
}

Error KernelDirector::block_reserved(uint8_t protocol, uint16_t first_port) {
  for (Interface& interface : interfaces_) {
    const Error error = interface.steering->add_port_block(protocol_of(protocol), first_port);
    if (error) return refused(interface, error);
  }
  return kOk;
}

void KernelDirector::block_returned(uint8_t protocol, uint16_t first_port) {
  for (Interface& interface : interfaces_) {
    static_cast<void>(interface.steering->remove_port_block(protocol_of(protocol), first_port));
  }
}

void KernelDirector::each_counter(const CounterVisitor& visit) const {
  steer::SteeringCounters sum = gone_counters_;
  for (const Interface& interface : interfaces_) {
    const steer::SteeringCounters one = interface.steering->counters();
#define X(name, meaning) sum.name += one.name;
    MILLRACE_STEERING_COUNTERS(X)
#undef X
  }
#define X(name, meaning) visit("steering", #name, meaning, sum.name);
  MILLRACE_STEERING_COUNTERS(X)
#undef X
#define X(name, meaning) visit("control", #name, meaning, follower_.counters().name);
  MILLRACE_FOLLOWER_COUNTERS(X)
#undef X
  visit("steering", "strays_passed_on", "segments of another stack's connections, passed on to it",
        strays_passed_on_);
  visit("steering", "strays_lost",
        "segments of another stack's connections, lost because it had too many waiting",
        strays_lost_);
  uint64_t spare_frames = 0, spare_lost = 0;
  for (const Interface& interface : interfaces_) {
    if (!interface.shared.keeper) continue;
    spare_frames += interface.shared.keeper->frames();
    spare_lost += interface.shared.keeper->lost();
  }
  visit("steering", "spare_frames", "packets that came by a queue which no stack has",
        spare_frames);
  visit("steering", "spare_lost", "of these, packets lost because too many were waiting",
        spare_lost);
  visit("steering", "strays_kernel",
        "segments of the kernel's connections, left to it from then on", strays_kernel_);
  visit("steering", "strays_unasked",
        "segments of unknown connections that were not answered, to save questions",
        strays_unasked_);
  visit("steering", "rules_failed", "steering rules that could not be set", rules_failed_);
}

std::vector<SteeringReport> KernelDirector::reports() const {
  std::vector<SteeringReport> all;
  for (const Interface& interface : interfaces_) {
    SteeringReport report;
    report.ifindex = interface.ifindex;
    report.counters = interface.steering->counters();
    interface.steering->each_rule([&](const steer::RuleReport& rule) {
      report.more = report.rules.size() == kRulesTold;
      if (!report.more) report.rules.push_back(rule);
      return !report.more;
    });
    report.refusals = interface.steering->refusals();
    all.push_back(std::move(report));
  }
  return all;
}

std::vector<steer::Refusal> KernelDirector::refusals() const {
  std::vector<steer::Refusal> all;
  for (const Interface& interface : interfaces_) {
    for (steer::Refusal& one : interface.steering->refusals()) all.push_back(std::move(one));
  }
  return all;
}

}  // namespace millrace
