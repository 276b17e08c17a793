// SPDX-License-Identifier: MIT
// Follows the kernel's links, addresses, routes and neighbours (rtnetlink(7)) in the network
// namespace in which it was opened, and resolves neighbours by asking the kernel to (RFC 826 and
// 4861 are its business: ARP and neighbour discovery are never steered to us). Tables main, local
// and default are followed; policy rules that lead to other tables are counted, not obeyed.
// IPv6 link-local addresses are not told: without their scope (RFC 4007) they would be ambiguous,
// so they stay the kernel's. It solicits neighbours from them; where there is none, or not yet, it
// is given a packet to send.
//
//   control::NetlinkFollower follower(sink, {});
//   if (Error e = follower.open()) ...            // EPERM, EMFILE: sockets refused
//   follower.follow(port->ifindex());             // each attached interface
//   if (Error e = follower.start(now)) ...        // the sink knows everything when this returns
//   ip.set_resolver(&follower);
//   // then poll follower.poll_fd() and call on_readable(now)
//
// Links, addresses and routes change rarely and in ways whose consequences are not all announced (a
// link that goes down takes its IPv4 routes along in silence), so any news of them means: read the
// table again, tell the differences. Neighbours change often and are told one by one.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "control/control_sink.h"
#include "control/facts.h"
#include "control/netlink_socket.h"
#include "net/ip_layer.h"

namespace millrace::control {

struct FollowerLimits {
  uint32_t routes_max = 4096;
  uint32_t addresses_max = 256;
  uint32_t neighbors_max = 4096;
};

// X(name, meaning)
#define MILLRACE_FOLLOWER_COUNTERS(X)                                                          \
  X(events, "messages about links, addresses, routes and neighbours received from the kernel") \
  X(resyncs, "times that the kernel's tables were read again")                                 \
  X(overruns, "times that messages were lost and everything was read again")                   \
  X(routes_ignored, "routes past routes_max, not followed")                                    \
  X(neighbors_ignored, "neighbours past neighbors_max, not followed")                          \
  X(resolutions, "neighbours that the kernel was asked to resolve or confirm")                 \
  X(errors, "requests that the kernel refused")                                                \
  X(policy_rules, "policy routing rules beside the kernel's own three, which are not obeyed")

struct FollowerCounters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_FOLLOWER_COUNTERS(X)
#undef X
};

class NetlinkFollower final : public net::NeighborResolver {
 public:
  NetlinkFollower(ControlSink& sink, const FollowerLimits& limits);
  ~NetlinkFollower() override;

  Error open();
  // An interface whose links, addresses and neighbours matter. Before start().
  void follow(uint32_t ifindex) { followed_.push_back(ifindex); }
  Error start(Instant now);

  // Readable when on_readable() has something to do.
  int poll_fd() const { return poll_fd_; }
  void on_readable(Instant now);
  // Asks the kernel; the answer comes through on_readable(), also when the kernel knows it already.
  void resolve(uint32_t ifindex, const wire::IpAddress& address) override;

  // Policy routing rules beside the kernel's three own ones: with any, a path may differ from the
  // kernel's.
  uint64_t policy_rules() const { return counters_.policy_rules; }
  const FollowerCounters& counters() const { return counters_; }
  void close();

 private:
  void on_event(Instant now, const nlmsghdr& message);
  void on_neighbor(Instant now, const NeighborFact& fact);
  bool is_fixed(uint32_t ifindex, const wire::IpAddress& address) const;
  bool has_link_local(uint32_t ifindex) const;
  void send_nothing(uint32_t ifindex, const wire::IpAddress& address);
  Error resync(Instant now);
  Error read_links();
  Error read_addresses();
  Error read_routes();
  Error read_neighbors(Instant now);
  Error count_policy_rules();
  void tell_route_differences();
  // Reading a large table again and again would cost more than it brings: waits in proportion to
  // its size.
  void schedule_resync();
  bool followed(uint32_t ifindex) const;
  void leave(uint32_t ifindex);

  ControlSink& sink_;
  FollowerLimits limits_;
  FollowerCounters counters_;
  NetlinkSocket events_;
  NetlinkSocket tables_;
  int poll_fd_ = -1;
  int timer_fd_ = -1;
  int nothing_fd_ = -1;  // raw, of protocol 59; -1: not allowed, or no IPv6 here
  std::vector<uint32_t> followed_;
  std::vector<uint32_t> link_locals_;  // interfaces, once for each usable address
  // What the sink was told.
  std::vector<net::LinkConfig> links_;
  std::vector<AddressFact> addresses_;
  std::vector<net::Route> routes_;
  std::vector<NeighborFact> neighbors_;
  // Read anew; kept to save the allocation.
  std::vector<AddressFact> fresh_addresses_;
  std::vector<net::Route> fresh_routes_;
  std::vector<bool> seen_neighbors_;
  uint32_t routes_seen_ = 0;
  bool stale_ = false;      // links, addresses or routes have to be read again
  bool overrun_ = false;    // neighbours too
  bool scheduled_ = false;  // the timer runs
};

}  // namespace millrace::control
