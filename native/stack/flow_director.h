// SPDX-License-Identifier: MIT
// What the stack asks of steering and of the kernel's port space, whatever the port: take these
// packets to us, reserve this local port. One implementation joins the XDP rules with the kernel's
// port blocks; the loopback port needs none.
#pragma once

#include <functional>

#include "base/result.h"
#include "base/time.h"
#include "wire/ip_address.h"

namespace millrace {

class FlowDirector {
 public:
  virtual ~FlowDirector() = default;
  // A listener or bound socket: packets to `local` (address unspecified: any of the interface) are
  // ours, except flows that the kernel has at this moment. EBUSY, ENOSPC when the rule cannot be
  // had.
  virtual Error take_local(Instant now, uint8_t protocol, const wire::Endpoint& local,
                           bool dual_stack) = 0;
  virtual void release_local(uint8_t protocol, const wire::Endpoint& local, bool dual_stack) = 0;
  // Will the answers to outgoing TCP flows be brought to us?
  virtual bool connects() const { return true; }
  // Outgoing TCP flows. Either a local port chosen here, steered to us and reserved with the kernel
  // (EADDRNOTAVAIL when there is none left). `interface`: the Internet layer's number of the one
  // that `local` and `remote` talk over ...
  virtual Result<uint16_t> reserve_port(Instant now, uint8_t interface,
                                        const wire::IpAddress& local,
                                        const wire::Endpoint& remote) = 0;
  // ... or a flow from a port that the program bound in the kernel: one exact rule.
  virtual Error take_flow(const wire::FlowKey& flow) = 0;
  // An accepted connection: its packets stay ours until gone(), even when its listener is closed
  // before.
  virtual void accepted(const wire::FlowKey& flow) = 0;
  // Nothing of the flow is left, TIME-WAIT included (or it never came to be).
  virtual void gone(const wire::FlowKey& flow) = 0;
  // The control plane: follows the kernel's tables. Called when its descriptor is readable.
  virtual int poll_fd() const = 0;
  virtual void on_readable(Instant now) = 0;
  // A flow that comes to us and cannot be answered by us: the kernel's listener beside ours may
  // have it, if the peer tries again. Bounded; past the bound nothing happens.
  virtual void leave_to_kernel(Instant now, const wire::FlowKey& flow) = 0;

  // The kernel goes on with a flow of ours: its packets go there from now on, and its local port
  // stays taken, until the kernel has it no more. With an error nothing has changed.
  virtual Error hand_over(Instant now, const wire::FlowKey& flow) = 0;
  virtual bool is_kernels(const wire::FlowKey& flow) const = 0;

  using CounterVisitor =
      std::function<void(const char* group, const char* name, const char* meaning, uint64_t)>;
  virtual void each_counter(const CounterVisitor& visit) const = 0;
};

}  // namespace millrace
