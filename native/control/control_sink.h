// SPDX-License-Identifier: MIT
// Where the facts of the kernel's control plane go. A fact may be told twice. What the sink was
// told is what the kernel has, once on_readable() has returned.
#pragma once

#include "net/ip_layer.h"
#include "net/tables.h"

namespace millrace::control {

class ControlSink {
 public:
  virtual ~ControlSink() = default;
  // Followed interfaces only.
  virtual void link(const net::LinkConfig& link) = 0;
  virtual void address(uint32_t ifindex, const wire::IpAddress& address, uint8_t prefix_length,
                       bool present) = 0;
  virtual void neighbor(Instant now, uint32_t ifindex, const wire::IpAddress& address,
                        const net::MacAddress& mac, net::NeighborState state) = 0;
  // All of the machine's: one whose interface is not attached means "the kernel's".
  virtual void route(const net::Route& route, bool present) = 0;
};

// Tells the Internet layer. Derive from it to hear of addresses as well (steering needs them).
class IpLayerSink : public ControlSink {
 public:
  explicit IpLayerSink(net::IpLayer& ip) : ip_(ip) {}
  void link(const net::LinkConfig& link) override { ip_.link_changed(link); }
  void address(uint32_t ifindex, const wire::IpAddress& address, uint8_t prefix_length,
               bool present) override {
    ip_.address_changed(ifindex, address, prefix_length, present);
  }
  void neighbor(Instant now, uint32_t ifindex, const wire::IpAddress& address,
                const net::MacAddress& mac, net::NeighborState state) override {
    ip_.neighbor_changed(now, ifindex, address, mac, state);
  }
  // A route past the table's limit is refused there and counted there.
  void route(const net::Route& route, bool present) override {
    static_cast<void>(ip_.route_changed(route, present));
  }

 private:
  net::IpLayer& ip_;
};

}  // namespace millrace::control
