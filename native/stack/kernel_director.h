// SPDX-License-Identifier: MIT
// The flow director of ports that share their interface with the kernel: joins the steering rules
// of each interface with the kernel's port space (blocks of reserved ports) and its tables
// (netlink).
//
// A listener has a rule by local port. When it closes, its live connections get exact rules and the
// port's rule goes, so that whoever listens there next, in any process, gets the new connections at
// once.
//
// Where other stacks have queues of the interface too, a packet may come to the wrong one: a flow
// whose queue changed, one that the kernel accepted while nobody listened on its queue, an ICMP
// error, the answer to a connection that we opened. Accepted connections have exact rules there
// from the beginning, those that we open have their block's or one of their own, by which a segment
// finds its way to its stack; and before a segment is refused, the kernel is asked whether it has
// the flow.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/hash_table.h"
#include "base/object_pool.h"
#include "base/random.h"
#include "base/timer_wheel.h"
#include "control/control_sink.h"
#include "control/kernel_flows.h"
#include "control/netlink_follower.h"
#include "control/port_blocks.h"
#include "stack/answer_queues.h"
#include "stack/flow_director.h"
#include "steer/queue_keeper.h"
#include "steer/steering.h"

namespace millrace {

class KernelDirector final : public FlowDirector,
                             control::IpLayerSink,
                             control::PortBlockObserver,
                             net::StrayHandler {
 public:
  struct Limits {
    uint32_t flows_max = 65536;         // connections that are followed
    uint32_t kernel_flows_max = 16384;  // connections of the kernel's that a port may have already
    uint32_t handed_over_max = 16384;   // connections that the kernel goes on with
  };
  KernelDirector(net::IpLayer& ip, TimerWheel& timers, Random& random, const Limits& limits);
  ~KernelDirector() override;

  // Before start(): an interface and what steers it.
  // `shared`: other stacks have, or may come to have, receive queues of it.
  // What goes with an interface whose queues are shared; either may be null.
  struct Shared {
    std::unique_ptr<steer::QueueKeeper> keeper;  // of queues that nobody has
    std::unique_ptr<AnswerQueues> answers;
  };
  void add_interface(const std::string& name, uint32_t ifindex,
                     std::unique_ptr<steer::Steering> steering, bool shared, Shared parts = {});
  // Reads the kernel's tables; the Internet layer and the steering know them when this returns.
  Error start(Instant now);

  Error take_local(Instant now, uint8_t protocol, const wire::Endpoint& local,
                   bool dual_stack) override;
  void release_local(uint8_t protocol, const wire::Endpoint& local, bool dual_stack) override;
  bool connects() const override;
  Result<uint16_t> reserve_port(Instant now, uint8_t interface, const wire::IpAddress& local,
                                const wire::Endpoint& remote) override;
  Error take_flow(const wire::FlowKey& flow) override;
  void accepted(const wire::FlowKey& flow) override;
  void gone(const wire::FlowKey& flow) override;
  int poll_fd() const override { return follower_.poll_fd(); }
  void on_readable(Instant now) override { follower_.on_readable(now); }
  void leave_to_kernel(Instant now, const wire::FlowKey& flow) override;
  Error hand_over(Instant now, const wire::FlowKey& flow) override;
  bool is_kernels(const wire::FlowKey& flow) const override;
  void each_counter(const CounterVisitor& visit) const override;
  std::vector<SteeringReport> reports() const override;
  std::vector<steer::Refusal> refusals() const override;
  std::string take_refusal() override { return std::exchange(refusal_, {}); }

 private:
  struct FlowTag;
  struct RuleTag;
  struct Interface {
    std::string name;
    uint32_t ifindex;
    bool shares_queues;
    std::unique_ptr<steer::Steering> steering;
    Shared shared;
  };
  // A flow that is followed until it is gone. On its rule's list while that rule takes its packets.
  struct Flow : HashNode<FlowTag>, ListNode<RuleTag> {
    wire::FlowKey key;
    bool exact = false;    // it has a rule of its own
    bool kernels = false;  // was handed over
  };
  struct LocalRule {
    uint8_t protocol = 0;
    bool dual_stack = false;
    wire::Endpoint local;
    List<Flow, RuleTag> flows;                // accepted through it
    std::vector<wire::FlowKey> kernel_flows;  // left to the kernel
  };

  void link(const net::LinkConfig& link) override;
  void address(uint32_t ifindex, const wire::IpAddress& address, uint8_t prefix_length,
               bool present) override;
  bool stray_segment(Instant now, const wire::FlowKey& flow, std::span<uint8_t> frame,
                     bool opening) override;
  void icmp_error(Instant now, std::span<uint8_t> frame) override;
  bool may_ask(Instant now);
  Error block_reserved(uint8_t protocol, uint16_t first_port) override;
  void block_returned(uint8_t protocol, uint16_t first_port) override;

  static void close(Interface& interface);
  Error add_rules(const LocalRule& rule);
  Error refused(const Interface& interface, Error error);
  void remove_rules(const LocalRule& rule);
  void leave_kernel_flows(Instant now, LocalRule& rule);
  void leave_late_kernel_flows(Instant now, LocalRule& rule);
  void drop_kernel_flows(LocalRule& rule);
  void review_kernel_flows(Instant now);
  void review_handed_over();
  void end_handed_over(const wire::FlowKey& flow);
  LocalRule* rule_for(const wire::Endpoint& local);
  Flow* find(const wire::FlowKey& key) const;
  Flow* remember(const wire::FlowKey& key);
  uint64_t hash(const wire::FlowKey& key) const;
  Error set_flow(const wire::FlowKey& key, steer::Owner owner);
  void remove_flow(const wire::FlowKey& key);

  net::IpLayer& ip_;
  TimerWheel& timers_;
  Limits limits_;
  std::vector<Interface> interfaces_;
  std::vector<Interface> gone_;  // closed; ports may still look at their inboxes
  steer::SteeringCounters gone_counters_;
  std::vector<std::unique_ptr<LocalRule>> rules_;
  SipKey key_;
  ObjectPool<Flow> flow_pool_;
  HashTable<Flow, FlowTag> flows_;
  List<Flow, RuleTag> loose_;        // followed, on no rule's list
  List<Flow, RuleTag> handed_over_;  // the kernel's
  uint32_t handed_over_count_ = 0;
  control::NetlinkFollower follower_;
  control::KernelFlows kernel_flows_;
  control::PortBlocks blocks_;
  Timer review_;
  bool shared_ = false;
  std::vector<wire::FlowKey> left_flows_;  // the kernel's, of rules that are gone
  Instant questions_since_{};
  uint32_t questions_ = 0;
  uint64_t rules_failed_ = 0;
  std::string refusal_;
  uint64_t strays_passed_on_ = 0;
  uint64_t strays_lost_ = 0;
  uint64_t strays_kernel_ = 0;
  uint64_t strays_unasked_ = 0;
};

}  // namespace millrace
