// SPDX-License-Identifier: MIT
// The facts of an interface that the kernel does not know, as somebody wrote them down: addresses,
// neighbours, a default route. There is no ARP or neighbour discovery here: who is not listed does
// not answer.
#pragma once

#include <string>
#include <vector>

#include "base/timer_wheel.h"
#include "net/ip_layer.h"

namespace millrace {

class StaticNetwork final : public net::NeighborResolver {
 public:
  struct Address {
    wire::IpAddress address;
    uint8_t prefix_length = 0;
  };
  struct Neighbor {
    wire::IpAddress address;
    net::MacAddress mac{};
  };

  // "10.0.0.1/24,fd00::1/64"; "10.0.0.2=02:00:00:00:00:02,...". False and what is wrong with what.
  static bool parse_addresses(const std::string& text, std::vector<Address>& out,
                              std::string& wrong);
  static bool parse_neighbors(const std::string& text, std::vector<Neighbor>& out,
                              std::string& wrong);

  // Tells the layer all of it and answers for it from then on.
  StaticNetwork(net::IpLayer& ip, TimerWheel& timers, uint32_t ifindex,
                std::vector<Address> addresses, std::vector<Neighbor> neighbors);
  ~StaticNetwork() override;

  void resolve(uint32_t ifindex, const wire::IpAddress& address) override;

 private:
  void answer(Instant now);

  net::IpLayer& ip_;
  TimerWheel& timers_;
  uint32_t ifindex_;
  std::vector<Neighbor> neighbors_;
  std::vector<wire::IpAddress> asked_;  // bounded by the neighbour table
  Timer soon_;
};

}  // namespace millrace
