// SPDX-License-Identifier: MIT
// Steering: what says which packets are ours. Five kinds of rule, the same on every port; whatever
// no rule takes is the kernel's, as are IP fragments always.
//
//   exact flow -> ours              a connection under way
//   exact flow -> the kernel's      one the kernel had on that port before we began to listen there
//   block of 64 ports -> ours       local ports of outgoing connections
//   local address + port -> ours    listeners and bound datagram sockets; a group that one has
//   joined ICMP error quoting one of these -> ours (follows from the others)
//
// An exact flow wins over everything else. "Any address" means the addresses of the interface
// itself, which add_address() tells: traffic that this machine forwards is never taken.
//
// Rules change rarely and synchronously, from one thread. All of them are gone with the object, and
// with the process, however it ends.
//
// Where several stacks share an interface, each has receive queues of its own, and rules by local
// port hold on the queues of the stack that made them: what comes by another queue is the other
// stack's, or the kernel's. Exact flows and blocks hold on all queues. A packet that has come to
// the wrong stack is passed on by pass_on(); a steering that is alone on its interface needs
// neither that nor pass_on_to_all().
#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"
#include "wire/ip_address.h"

namespace millrace::steer {

enum class Protocol : uint8_t { kTcp = 6, kUdp = 17 };

enum class Owner : uint8_t { kOurs = 1, kKernel = 2 };

// Whose a packet is that this stack can make nothing of.
enum class Whose : uint8_t {
  kNobodys,   // no rule names anybody else
  kKernels,   // there is a rule by now that leaves its flow to the kernel
  kPassedOn,  // another stack's, which has it now
  kLost,      // another stack's, which has more than it can take
};

inline constexpr uint16_t kPortBlockSize = 64;

// What set_flow() takes: one family, addresses and ports all named.
inline bool is_exact(const wire::FlowKey& flow) {
  return flow.local.address.is_v4() == flow.remote.address.is_v4() && flow.local.port != 0 &&
         flow.remote.port != 0 && !flow.local.address.is_unspecified() &&
         !flow.remote.address.is_unspecified();
}

// Packets by decision, since the start.
// X(name, meaning)
#define MILLRACE_STEERING_COUNTERS(X)                                                         \
  X(ours_flow, "packets taken by an exact flow rule")                                         \
  X(ours_local, "packets taken by a local address and port rule")                             \
  X(ours_block, "packets taken by a port block rule")                                         \
  X(ours_icmp, "ICMP errors taken because they quote a packet of one of our flows")           \
  X(undeliverable, "packets of ours without a socket on their queue, or longer than a frame") \
  X(kernel_flow, "packets left to the kernel by an exact flow rule")                          \
  X(kernel_fragment, "IP fragments, left to the kernel")                                      \
  X(kernel_malformed, "packets that could not be parsed, left to the kernel")                 \
  X(kernel_other, "packets that no rule takes, left to the kernel")

struct SteeringCounters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_STEERING_COUNTERS(X)
#undef X
};

class Steering {
 public:
  virtual ~Steering() = default;

  // Adding what is there already succeeds (and changes a flow's owner); removing what is not gives
  // ENOENT. ENOBUFS: the rule table is full. EINVAL: families differ, port 0, or a block that is
  // not aligned.
  virtual Error set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) = 0;
  virtual Error remove_flow(Protocol protocol, const wire::FlowKey& flow) = 0;
  // Local ports [first_port, first_port + 64) on the interface's own addresses, both families.
  virtual Error add_port_block(Protocol protocol, uint16_t first_port) = 0;
  virtual Error remove_port_block(Protocol protocol, uint16_t first_port) = 0;
  // An unspecified address means any address of the interface of that family: a dual-stack socket
  // needs two rules, 0.0.0.0 and ::.
  virtual Error add_local(Protocol protocol, const wire::Endpoint& local) = 0;
  virtual Error remove_local(Protocol protocol, const wire::Endpoint& local) = 0;
  // The interface's own addresses.
  virtual Error add_address(const wire::IpAddress& address) = 0;
  virtual Error remove_address(const wire::IpAddress& address) = 0;

  // `frame`: an Ethernet frame of a flow that this stack does not know. Its source address, all 0
  // at first, holds notes of the steering's.
  virtual Whose pass_on(Protocol, const wire::FlowKey&, std::span<uint8_t> frame) {
    return Whose::kNobodys;
  }
  // The same where no rule tells: to the next of the other stacks, if there is one that has not
  // seen it. The last of them gets false.
  virtual bool pass_along(std::span<uint8_t> frame) { return false; }
  // An ICMP error: it comes by whatever queue, and may be about any stack's flow.
  virtual void pass_on_to_all(std::span<uint8_t> frame) {}

  // Do exact flows and blocks hold on every queue at this moment? Not where one has no owner and
  // nobody looks after it.
  virtual bool covers_all_queues() const { return true; }

  virtual SteeringCounters counters() const = 0;
  // Takes every rule away; all packets are the kernel's from here on.
  virtual void close() = 0;
};

}  // namespace millrace::steer
