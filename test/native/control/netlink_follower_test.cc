// SPDX-License-Identifier: MIT
#include "control/netlink_follower.h"

#include <doctest/doctest.h>
#include <net/if.h>
#include <poll.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "support/netns.h"
#include "support/raw_packets.h"
#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;
using control::NetlinkFollower;
using net::NeighborState;

namespace {

struct Recorder : control::ControlSink {
  void link(const net::LinkConfig& l) override { links[l.ifindex] = l; }
  void address(uint32_t ifindex, const wire::IpAddress& a, uint8_t prefix, bool present) override {
    if (present) {
      addresses[a] = {ifindex, prefix};
    } else {
      REQUIRE(addresses.erase(a) == 1);
    }
  }
  void neighbor(Instant, uint32_t, const wire::IpAddress& a, const net::MacAddress& mac,
                NeighborState s) override {
    ++told;
    if (s == NeighborState::kNone) {
      neighbors.erase(a);
    } else {
      neighbors[a] = {mac, s};
    }
  }
  void route(const net::Route& r, bool present) override {
    const auto at = std::find_if(routes.begin(), routes.end(), [&](const net::Route& o) {
      return control::compare_identity(o, r) == 0;
    });
    if (!present) {
      REQUIRE(at != routes.end());
      routes.erase(at);
    } else if (at != routes.end()) {
      *at = r;
    } else {
      routes.push_back(r);
    }
  }
  const net::Route* find(const char* prefix, uint8_t length) const {
    for (const auto& r : routes) {
      if (r.destination == ip(prefix) && r.prefix_length == length) return &r;
    }
    return nullptr;
  }

  std::map<uint32_t, net::LinkConfig> links;
  std::map<wire::IpAddress, std::pair<uint32_t, uint8_t>> addresses;
  std::map<wire::IpAddress, std::pair<net::MacAddress, NeighborState>> neighbors;
  std::vector<net::Route> routes;
  int told = 0;
};

struct Following {
  explicit Following(control::FollowerLimits limits = {})
      : here(veth.here), follower(sink, limits) {
    if (!veth.ok) return;
    ifindex = if_nametoindex(VethPair::kHere);
    follower.follow(ifindex);
    ok = !follower.open() && !follower.start(clock_now());
  }
  // Handles events until `done` holds; false after `wait_ms`.
  template <typename Done>
  bool until(Done done, int wait_ms = 3000) {
    const Instant end = clock_now() + Duration::millis(wait_ms);
    while (!done()) {
      if (clock_now() >= end) return false;
      pollfd p{follower.poll_fd(), POLLIN, 0};
      if (poll(&p, 1, 20) > 0) follower.on_readable(clock_now());
    }
    return true;
  }
  VethPair veth;
  Inside here;
  Recorder sink;
  NetlinkFollower follower;
  uint32_t ifindex = 0;
  bool ok = false;
};

}  // namespace

TEST_CASE("netlink: the first reading tells links, addresses and routes" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  REQUIRE(f.sink.links.size() == 1);
  const auto& link = f.sink.links.begin()->second;
  CHECK(link.ifindex == f.ifindex);
  CHECK(link.mtu_bytes == 1500);
  CHECK(link.mac == mac_of(VethPair::kHere));
  CHECK(f.until([&] { return f.sink.links.begin()->second.up; }));
  CHECK(f.sink.addresses.at(ip("10.77.0.1")) == std::pair<uint32_t, uint8_t>(f.ifindex, 24));
  CHECK(f.sink.addresses.at(ip("fd77::1")) == std::pair<uint32_t, uint8_t>(f.ifindex, 64));
  CHECK(f.sink.addresses.count(ip("127.0.0.1")) == 0);

  const net::Route* on_link = f.sink.find("10.77.0.0", 24);
  REQUIRE(on_link);
  CHECK(on_link->ifindex == f.ifindex);
  CHECK(on_link->gateway.is_unspecified());
  CHECK(on_link->preferred_source == ip("10.77.0.1"));
  const net::Route* on_link6 = f.sink.find("fd77::", 64);
  REQUIRE(on_link6);
  CHECK(on_link6->ifindex == f.ifindex);
  // IPv6 link-local addresses need a scope: the kernel's, destination and own.
  const net::Route* link_local = f.sink.find("fe80::", 64);
  if (link_local) CHECK(link_local->ifindex == 1);
  for (const auto& [address, where] : f.sink.addresses) CHECK(!address.is_link_local());
  // What stays on the machine is the kernel's.
  for (const char* own : {"10.77.0.1", "10.77.0.255"}) {
    const net::Route* local = f.sink.find(own, 32);
    REQUIRE(local);
    CHECK(local->ifindex == 1);
  }
  CHECK(f.follower.policy_rules() == 0);
}

TEST_CASE("netlink: routes that come, change and go" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  REQUIRE(run({"ip", "route", "add", "default", "via", "10.77.0.2", "metric", "7", "mtu", "1400",
               "src", "10.77.0.1"}));
  REQUIRE(f.until([&] { return f.sink.find("0.0.0.0", 0); }));
  const net::Route* route = f.sink.find("0.0.0.0", 0);
  CHECK(route->gateway == ip("10.77.0.2"));
  CHECK(route->metric == 7);
  CHECK(route->mtu_bytes == 1400);
  CHECK(route->preferred_source == ip("10.77.0.1"));

  // Replaced: the kernel announces only the new one.
  REQUIRE(run({"ip", "route", "replace", "default", "via", "10.77.0.9", "metric", "7"}));
  REQUIRE(f.until([&] {
    const net::Route* r = f.sink.find("0.0.0.0", 0);
    return r && r->gateway == ip("10.77.0.9");
  }));
  CHECK(std::count_if(f.sink.routes.begin(), f.sink.routes.end(), [](const net::Route& r) {
          return r.prefix_length == 0 && r.destination.is_v4();
        }) == 1);

  // A more specific one through another interface, and refused destinations, are not ours.
  REQUIRE(run({"ip", "link", "add", "other", "type", "veth", "peer", "name", "otherpeer"}));
  REQUIRE(run({"ip", "link", "set", "other", "up"}));
  REQUIRE(run({"ip", "route", "add", "10.99.0.0/16", "dev", "other"}));
  REQUIRE(run({"ip", "route", "add", "unreachable", "10.98.0.0/16"}));
  REQUIRE(run({"ip", "-6", "route", "add", "2001:db8::/32", "via", "fd77::2"}));
  REQUIRE(f.until([&] { return f.sink.find("2001:db8::", 32) && f.sink.find("10.98.0.0", 16); }));
  CHECK(f.sink.find("10.99.0.0", 16)->ifindex == if_nametoindex("other"));
  CHECK(f.sink.find("10.98.0.0", 16)->ifindex != f.ifindex);
  CHECK(f.sink.find("2001:db8::", 32)->gateway == ip("fd77::2"));

  // Of several next hops one through a followed interface is chosen.
  REQUIRE(run({"ip", "route", "add", "10.97.0.0/16", "nexthop", "dev", "other", "nexthop", "via",
               "10.77.0.3", "dev", "mrh"}));
  REQUIRE(f.until([&] { return f.sink.find("10.97.0.0", 16); }));
  CHECK(f.sink.find("10.97.0.0", 16)->ifindex == f.ifindex);
  CHECK(f.sink.find("10.97.0.0", 16)->gateway == ip("10.77.0.3"));

  // The kernel takes IPv4 routes away with the link and does not say so.
  REQUIRE(run({"ip", "link", "set", "mrh", "down"}));
  REQUIRE(f.until([&] { return !f.sink.links.begin()->second.up && !f.sink.find("0.0.0.0", 0); }));
  CHECK(f.sink.find("10.99.0.0", 16) != nullptr);
}

TEST_CASE("netlink: addresses and the MTU as they change" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  REQUIRE(run({"ip", "addr", "add", "10.78.0.1/16", "dev", "mrh"}));
  REQUIRE(run({"ip", "link", "set", "mrh", "mtu", "1300"}));
  REQUIRE(f.until([&] {
    return f.sink.addresses.count(ip("10.78.0.1")) &&
           f.sink.links.begin()->second.mtu_bytes == 1300;
  }));
  REQUIRE(run({"ip", "addr", "del", "10.77.0.1/24", "dev", "mrh"}));
  REQUIRE(f.until([&] { return !f.sink.addresses.count(ip("10.77.0.1")); }));
  CHECK(f.sink.addresses.count(ip("10.78.0.1")) == 1);
  REQUIRE(run({"ip", "link", "del", "mrh"}));
  REQUIRE(f.until([&] { return f.sink.addresses.empty(); }));
  CHECK(!f.sink.links.at(f.ifindex).up);
  CHECK(f.sink.links.at(f.ifindex).gone);
}

TEST_CASE("netlink: an interface that is back with its number is another one" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  const std::string number = std::to_string(f.ifindex);
  REQUIRE(run({"ip", "link", "del", "mrh"}));
  REQUIRE(
      run({"ip", "link", "add", "mrh", "index", number, "type", "veth", "peer", "name", "mrt"}));
  REQUIRE(run({"ip", "link", "set", "mrh", "up"}));
  REQUIRE(run({"ip", "addr", "add", "10.78.0.1/16", "dev", "mrh"}));
  REQUIRE(f.until([&] { return f.sink.links.at(f.ifindex).gone && f.sink.addresses.empty(); }));
  CHECK(!f.until([&] { return !f.sink.addresses.empty() || f.sink.links.at(f.ifindex).up; }, 200));
}

TEST_CASE("netlink: an interface that a bridge lets go is not gone" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  REQUIRE(run({"ip", "link", "add", "mrb", "type", "bridge"}));
  REQUIRE(run({"ip", "link", "set", "mrh", "master", "mrb"}));
  REQUIRE(run({"ip", "link", "set", "mrh", "nomaster"}));
  REQUIRE(run({"ip", "link", "set", "mrh", "mtu", "1300"}));
  REQUIRE(f.until([&] { return f.sink.links.at(f.ifindex).mtu_bytes == 1300; }));
  CHECK(f.sink.links.at(f.ifindex).up);
  CHECK(!f.sink.links.at(f.ifindex).gone);
}

TEST_CASE("netlink: an address counts when duplicate address detection has passed" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  REQUIRE(run({"ip", "addr", "add", "fd77::77/64", "dev", "mrh"}));
  CHECK(!f.until([&] { return f.sink.addresses.count(ip("fd77::77")) == 1; }, 100));
  CHECK(f.until([&] { return f.sink.addresses.count(ip("fd77::77")) == 1; }, 5000));
}

TEST_CASE("netlink: neighbours are resolved where no link-local address is to ask from" *
          needs_root()) {
  Following f;
  REQUIRE(f.ok);
  REQUIRE(run({"ip", "link", "set", "mrh", "addrgenmode", "none"}));
  REQUIRE(run({"ip", "-6", "addr", "flush", "dev", "mrh", "scope", "link"}));
  CHECK(!f.until([] { return false; }, 50));  // the news of it
  const auto is = [&](NeighborState state) {
    const auto at = f.sink.neighbors.find(ip("fd77::2"));
    return at != f.sink.neighbors.end() && at->second.second == state;
  };
  f.follower.resolve(f.ifindex, ip("fd77::2"));
  CHECK(f.until([&] { return is(NeighborState::kReachable); }));
  CHECK(f.follower.counters().errors == 0);
}

TEST_CASE("netlink: neighbours are resolved by the kernel" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  Mac there;
  {
    Inside inside(f.veth.there);
    there = mac_of(VethPair::kThere);
  }
  for (const char* peer : {"10.77.0.2", "fd77::2"}) {
    f.follower.resolve(f.ifindex, ip(peer));
    REQUIRE(f.until([&] {
      const auto at = f.sink.neighbors.find(ip(peer));
      return at != f.sink.neighbors.end() && at->second.second == NeighborState::kReachable;
    }));
    CHECK(f.sink.neighbors.at(ip(peer)).first == there);
    // Known already: the answer comes all the same.
    const int before = f.sink.told;
    f.follower.resolve(f.ifindex, ip(peer));
    CHECK(f.until([&] { return f.sink.told > before; }, 1000));
    CHECK(f.sink.neighbors.at(ip(peer)).first == there);
  }
  // Nobody there.
  f.follower.resolve(f.ifindex, ip("10.77.0.99"));
  CHECK(f.until(
      [&] {
        const auto at = f.sink.neighbors.find(ip("10.77.0.99"));
        return at != f.sink.neighbors.end() && at->second.second == NeighborState::kFailed;
      },
      6000));
  CHECK(f.follower.counters().errors == 0);
  REQUIRE(run({"ip", "neigh", "del", "10.77.0.2", "dev", "mrh"}));
  CHECK(f.until([&] { return !f.sink.neighbors.count(ip("10.77.0.2")); }));
}

TEST_CASE("netlink: a permanent neighbour stays what it is, however often it is asked for" *
          needs_root()) {
  Following f;
  REQUIRE(f.ok);
  const auto fixed = [&] {
    const auto at = f.sink.neighbors.find(ip("10.77.0.98"));
    return at != f.sink.neighbors.end() && at->second.second == NeighborState::kReachable;
  };
  REQUIRE(run({"ip", "neigh", "add", "10.77.0.98", "lladdr", "02:00:00:00:00:98", "dev", "mrh",
               "nud", "permanent"}));
  REQUIRE(f.until(fixed));
  for (int i = 0; i < 5; ++i) {
    const int before = f.sink.told;
    f.follower.resolve(f.ifindex, ip("10.77.0.98"));
    CHECK(f.until([&] { return f.sink.told > before; }, 1000));
    CHECK(fixed());
  }
  CHECK(!f.until([&] { return !fixed(); }, 300));
}

TEST_CASE("netlink: a stale neighbour in use is confirmed again" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  std::ofstream("/proc/sys/net/ipv4/neigh/mrh/delay_first_probe_time") << 1;
  Mac there;
  {
    Inside inside(f.veth.there);
    there = mac_of(VethPair::kThere);
  }
  char text[18];
  snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", there[0], there[1], there[2],
           there[3], there[4], there[5]);
  REQUIRE(
      run({"ip", "neigh", "replace", "10.77.0.2", "lladdr", text, "dev", "mrh", "nud", "stale"}));
  const auto state_is = [&](NeighborState s) {
    return [&f, s] {
      const auto at = f.sink.neighbors.find(ip("10.77.0.2"));
      return at != f.sink.neighbors.end() && at->second.second == s;
    };
  };
  REQUIRE(f.until(state_is(NeighborState::kStale)));
  f.follower.resolve(f.ifindex, ip("10.77.0.2"));
  CHECK(f.until(state_is(NeighborState::kReachable), 8000));
}

TEST_CASE("netlink: lost messages lead to a full reading" * needs_root()) {
  Following f;
  REQUIRE(f.ok);
  const std::string name = "/tmp/mr-control-" + std::to_string(getpid());
  const auto batch = [&](const char* verb, int first, int last) {
    std::ofstream out(name);
    for (int i = first; i < last; ++i) {
      out << "neigh " << verb << " 10.77." << 1 + i / 250 << "." << 1 + i % 250
          << " lladdr 02:00:00:00:00:01 dev mrh nud permanent\n";
    }
    out << "route " << verb << " 10.50.0.0/16 dev mrh\n";
    out.close();
    const bool done = run({"ip", "-batch", name});
    unlink(name.c_str());
    return done;
  };
  REQUIRE(batch("add", 0, 3000));
  REQUIRE(f.until([&] { return f.sink.neighbors.size() >= 3000 && f.sink.find("10.50.0.0", 16); }));
  // Silence meanwhile: what is deleted now is not heard of one by one.
  for (int round = 0; round < 3; ++round) {
    REQUIRE(batch("del", 0, 3000));
    if (round < 2) REQUIRE(batch("add", 0, 3000));
  }
  REQUIRE(f.until([&] { return f.sink.neighbors.size() < 10 && !f.sink.find("10.50.0.0", 16); }));
  CHECK(f.follower.counters().overruns > 0);
}

TEST_CASE("netlink: past the limits facts are counted and left out" * needs_root()) {
  Following f({.routes_max = 16, .addresses_max = 256, .neighbors_max = 2});
  REQUIRE(f.ok);
  for (int i = 0; i < 20; ++i)
    REQUIRE(run({"ip", "route", "add", "10." + std::to_string(100 + i) + ".0.0/16", "dev", "mrh"}));
  REQUIRE(f.until([&] { return f.follower.counters().routes_ignored > 0; }));
  CHECK(f.sink.routes.size() <= 16);
  for (const char* n : {"10.77.0.11", "10.77.0.12", "10.77.0.13"}) {
    REQUIRE(run({"ip", "neigh", "add", n, "lladdr", "02:00:00:00:00:01", "dev", "mrh", "nud",
                 "permanent"}));
  }
  REQUIRE(f.until([&] { return f.follower.counters().neighbors_ignored > 0; }));
  CHECK(f.sink.neighbors.size() == 2);
}

TEST_CASE("netlink: policy rules are noticed" * needs_root()) {
  VethPair veth;
  REQUIRE(veth.ok);
  Inside here(veth.here);
  REQUIRE(run({"ip", "rule", "add", "from", "10.77.0.1", "table", "100"}));
  Recorder sink;
  NetlinkFollower follower(sink, {});
  REQUIRE(!follower.open());
  REQUIRE(!follower.start(clock_now()));
  CHECK(follower.policy_rules() == 1);
}
