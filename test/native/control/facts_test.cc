// SPDX-License-Identifier: MIT
#include "control/facts.h"

#include <doctest/doctest.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include "base/random.h"
#include "control/netlink_socket.h"
#include "support/packets.h"

using namespace millrace;
using namespace millrace::control;
using millrace::test::ip;
using net::NeighborState;

namespace {

template <typename T>
std::span<const uint8_t> bytes_of(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(T)};
}

std::span<const uint8_t> v4(const wire::IpAddress& address) {
  return {address.v4_data(), 4};
}
std::span<const uint8_t> v6(const wire::IpAddress& address) {
  return {address.data(), 16};
}

rtmsg route_body(uint8_t family, uint8_t prefix_length, uint8_t table = RT_TABLE_MAIN,
                 uint8_t type = RTN_UNICAST) {
  rtmsg body{};
  body.rtm_family = family;
  body.rtm_dst_len = prefix_length;
  body.rtm_table = table;
  body.rtm_type = type;
  return body;
}

constexpr uint32_t kOurs[] = {7};

}  // namespace

TEST_CASE("facts: a route with everything") {
  const auto destination = ip("10.1.0.0"), gateway = ip("10.0.0.1"), source = ip("10.0.0.9");
  const uint32_t oif = 7, metric = 100;
  const struct {
    nlattr head{8, RTAX_MTU};
    uint32_t mtu = 1400;
  } metrics;
  NetlinkRequest message(RTM_NEWROUTE, 0);
  message.body(route_body(AF_INET, 16))
      .attribute(RTA_DST, v4(destination))
      .attribute(RTA_GATEWAY, v4(gateway))
      .attribute(RTA_PREFSRC, v4(source))
      .attribute(RTA_OIF, bytes_of(oif))
      .attribute(RTA_PRIORITY, bytes_of(metric))
      .attribute(RTA_METRICS, bytes_of(metrics));
  const auto route = parse_route(message.header(), kOurs);
  REQUIRE(route);
  CHECK(route->destination == destination);
  CHECK(route->prefix_length == 16);
  CHECK(route->gateway == gateway);
  CHECK(route->preferred_source == source);
  CHECK(route->ifindex == 7);
  CHECK(route->metric == 100);
  CHECK(route->mtu_bytes == 1400);
}

TEST_CASE("facts: defaults keep their family") {
  NetlinkRequest four(RTM_NEWROUTE, 0), six(RTM_NEWROUTE, 0);
  four.body(route_body(AF_INET, 0));
  six.body(route_body(AF_INET6, 0));
  CHECK(parse_route(four.header(), kOurs)->destination == ip("0.0.0.0"));
  CHECK(parse_route(four.header(), kOurs)->gateway == ip("0.0.0.0"));
  CHECK(parse_route(six.header(), kOurs)->destination == ip("::"));
  CHECK(parse_route(six.header(), kOurs)->ifindex == 1);  // no interface named: the kernel's
}

TEST_CASE("facts: routes that do not matter, or are nobody's but the kernel's") {
  const auto parse = [](const rtmsg& body) {
    NetlinkRequest message(RTM_NEWROUTE, 0);
    const uint32_t oif = 7;
    message.body(body).attribute(RTA_OIF, bytes_of(oif));
    return parse_route(message.header(), kOurs);
  };
  CHECK(!parse(route_body(AF_INET, 8, 100)));
  CHECK(!parse(route_body(AF_BRIDGE, 8)));
  CHECK(!parse(route_body(AF_INET, 8, RT_TABLE_MAIN, RTN_THROW)));
  rtmsg body = route_body(AF_INET, 8);
  body.rtm_flags = RTNH_F_DEAD;
  CHECK(!parse(body));
  body.rtm_flags = RTM_F_CLONED;
  CHECK(!parse(body));
  body = route_body(AF_INET, 8);
  body.rtm_tos = 4;
  CHECK(!parse(body));
  body = route_body(AF_INET6, 8);
  body.rtm_src_len = 64;
  CHECK(!parse(body));
  for (uint8_t type : {RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST, RTN_UNREACHABLE, RTN_BLACKHOLE}) {
    const auto route = parse(route_body(AF_INET, 32, RT_TABLE_LOCAL, type));
    REQUIRE(route);
    CHECK(route->ifindex == 1);
  }
  CHECK(parse(route_body(AF_INET, 8))->ifindex == 7);
}

TEST_CASE("facts: of several next hops, one that is alive and ours") {
  struct Hop {
    rtnexthop head;
    nlattr gateway_head{8, RTA_GATEWAY};
    uint8_t gateway[4];
  };
  const auto hop = [](int ifindex, uint8_t last, uint8_t flags = 0) {
    return Hop{{sizeof(Hop), flags, 0, ifindex}, {8, RTA_GATEWAY}, {10, 0, 0, last}};
  };
  const auto parse = [](const auto& hops) {
    NetlinkRequest message(RTM_NEWROUTE, 0);
    message.body(route_body(AF_INET, 0)).attribute(RTA_MULTIPATH, bytes_of(hops));
    return parse_route(message.header(), kOurs);
  };
  const std::array<Hop, 3> ours_last{hop(3, 3), hop(4, 4), hop(7, 7)};
  CHECK(parse(ours_last)->ifindex == 7);
  CHECK(parse(ours_last)->gateway == ip("10.0.0.7"));
  const std::array<Hop, 2> ours_dead{hop(7, 7, RTNH_F_DEAD), hop(4, 4)};
  CHECK(parse(ours_dead)->ifindex == 4);
  CHECK(parse(ours_dead)->gateway == ip("10.0.0.4"));
}

TEST_CASE("facts: an IPv4 route by an IPv6 gateway") {
  struct {
    uint16_t family = AF_INET6;
    uint8_t address[16];
  } via;
  memcpy(via.address, ip("fe80::1").data(), 16);
  NetlinkRequest message(RTM_NEWROUTE, 0);
  message.body(route_body(AF_INET, 0)).attribute(RTA_VIA, bytes_of(via));
  CHECK(parse_route(message.header(), kOurs)->gateway == ip("fe80::1"));
}

TEST_CASE("facts: addresses") {
  const auto parse = [](uint32_t flags, const char* address, const char* local) {
    ifaddrmsg body{};
    body.ifa_family = ip(address).is_v4() ? AF_INET : AF_INET6;
    body.ifa_prefixlen = 24;
    body.ifa_index = 7;
    NetlinkRequest message(RTM_NEWADDR, 0);
    const auto a = ip(address), l = ip(local);
    message.body(body).attribute(IFA_ADDRESS, a.is_v4() ? v4(a) : v6(a));
    if (*local) message.attribute(IFA_LOCAL, l.is_v4() ? v4(l) : v6(l));
    message.attribute(IFA_FLAGS, bytes_of(flags));
    return parse_address(message.header());
  };
  CHECK(parse(0, "10.0.0.1", "10.0.0.1")->address == ip("10.0.0.1"));
  CHECK(parse(0, "10.0.0.1", "10.0.0.1")->prefix_length == 24);
  CHECK(parse(0, "10.0.0.2", "10.0.0.1")->address == ip("10.0.0.1"));  // point to point
  CHECK(parse(IFA_F_PERMANENT, "2001:db8::1", "")->address == ip("2001:db8::1"));
  CHECK(!parse(IFA_F_TENTATIVE, "2001:db8::1", ""));
  CHECK(parse(IFA_F_TENTATIVE | IFA_F_OPTIMISTIC, "2001:db8::1", ""));
  CHECK(!parse(IFA_F_DADFAILED, "2001:db8::1", ""));
  CHECK(!parse(0, "2001:db8::1", "")->link_local);
  CHECK(parse(0, "fe80::1", "")->link_local);
  CHECK(!parse(IFA_F_TENTATIVE | IFA_F_OPTIMISTIC, "fe80::1", ""));
}

TEST_CASE("facts: neighbour states") {
  const net::MacAddress mac{2, 0, 0, 0, 0, 9};
  const auto parse = [&](uint16_t type, uint16_t state, bool with_mac) {
    ndmsg body{};
    body.ndm_family = AF_INET;
    body.ndm_ifindex = 7;
    body.ndm_state = state;
    const auto address = ip("10.0.0.2");
    NetlinkRequest message(type, 0);
    message.body(body).attribute(NDA_DST, v4(address));
    if (with_mac) message.attribute(NDA_LLADDR, mac);
    return parse_neighbor(message.header());
  };
  CHECK(parse(RTM_NEWNEIGH, NUD_REACHABLE, true)->state == NeighborState::kReachable);
  CHECK(parse(RTM_NEWNEIGH, NUD_REACHABLE, true)->mac == mac);
  CHECK(parse(RTM_NEWNEIGH, NUD_PERMANENT, true)->state == NeighborState::kReachable);
  for (uint16_t s : {NUD_STALE, NUD_DELAY, NUD_PROBE}) {
    CHECK(parse(RTM_NEWNEIGH, s, true)->state == NeighborState::kStale);
  }
  CHECK(parse(RTM_NEWNEIGH, NUD_INCOMPLETE, false)->state == NeighborState::kIncomplete);
  CHECK(parse(RTM_NEWNEIGH, NUD_FAILED, false)->state == NeighborState::kFailed);
  CHECK(parse(RTM_DELNEIGH, NUD_REACHABLE, true)->state == NeighborState::kNone);
  CHECK(parse(RTM_NEWNEIGH, NUD_REACHABLE, false)->state == NeighborState::kNone);
}

TEST_CASE("facts: links") {
  const auto parse = [](uint16_t type, uint32_t flags) {
    ifinfomsg body{};
    body.ifi_index = 7;
    body.ifi_flags = flags;
    const uint32_t mtu = 9000;
    const net::MacAddress mac{2, 0, 0, 0, 0, 9};
    NetlinkRequest message(type, 0);
    message.body(body).attribute(IFLA_MTU, bytes_of(mtu)).attribute(IFLA_ADDRESS, mac);
    return parse_link(message.header());
  };
  constexpr unsigned kCarrier = 1u << 16, kDormant = 1u << 17;
  CHECK(parse(RTM_NEWLINK, IFF_UP | kCarrier)->up);  // IFF_RUNNING comes later
  CHECK(parse(RTM_NEWLINK, IFF_UP | kCarrier | IFF_RUNNING)->mtu_bytes == 9000);
  CHECK(!parse(RTM_NEWLINK, IFF_UP)->up);
  CHECK(!parse(RTM_NEWLINK, kCarrier)->up);
  CHECK(!parse(RTM_NEWLINK, IFF_UP | kCarrier | kDormant)->up);
  CHECK(!parse(RTM_DELLINK, IFF_UP | kCarrier | IFF_RUNNING)->up);
}

TEST_CASE("facts: any bytes at all are survived") {
  Random random = Random::from_seed(7);
  alignas(8) uint8_t bytes[256];
  for (int round = 0; round < 20000; ++round) {
    for (uint8_t& b : bytes) b = uint8_t(random.below(random.chance(500000) ? 20 : 256));
    auto& header = *reinterpret_cast<nlmsghdr*>(bytes);
    header.nlmsg_len = NLMSG_HDRLEN + random.below(sizeof(bytes) - NLMSG_HDRLEN + 1);
    header.nlmsg_type = RTM_NEWLINK;
    bytes[NLMSG_HDRLEN] = random.chance(500000) ? AF_INET : AF_INET6;
    static_cast<void>(parse_link(header));
    static_cast<void>(parse_address(header));
    static_cast<void>(parse_neighbor(header));
    static_cast<void>(parse_route(header, kOurs));
  }
}
