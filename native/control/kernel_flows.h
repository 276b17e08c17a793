// SPDX-License-Identifier: MIT
// The connections that the kernel itself has on a local port, from sock_diag(7). When a port begins
// to be steered to us they get rules that leave them to the kernel; when they are gone the rules
// can go too.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "control/netlink_socket.h"
#include "wire/ip_address.h"

namespace millrace::control {

class KernelFlows {
 public:
  // In the network namespace of the caller.
  Error open();
  void close() { socket_.close(); }

  // Replaces `out` by the flows of `protocol` (6, 17) on `local_port`, both families, in every
  // state but LISTEN: half-open ones and TIME-WAIT too. IPv4 on IPv6 sockets is IPv4. ENOBUFS when
  // there are more than `flows_max`; `out` then holds so many of them. ENOENT: the kernel has no
  // sock_diag for it.
  Error list(uint8_t protocol, uint16_t local_port, size_t flows_max,
             std::vector<wire::FlowKey>& out);
  // Is this flow (TCP) the kernel's, in any state but LISTEN?
  bool has(const wire::FlowKey& flow);
  // Moves those of `known`, all on `local_port`, that the kernel has no more to the end of `gone`.
  Error take_gone(uint8_t protocol, uint16_t local_port, std::vector<wire::FlowKey>& known,
                  std::vector<wire::FlowKey>& gone);

 private:
  Error list_family(uint8_t family, uint8_t protocol, uint16_t local_port, size_t flows_max,
                    std::vector<wire::FlowKey>& out);

  NetlinkSocket socket_;
};

}  // namespace millrace::control
