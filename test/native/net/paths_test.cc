// SPDX-License-Identifier: MIT
// Paths: route, source, MTU, and how they follow the tables.
#include <doctest/doctest.h>

#include "support/net_world.h"

using namespace millrace;
using namespace millrace::test;

TEST_CASE("a path has the route's gateway and a source of the interface") {
  World w;
  Result<Path> path = w.ip.resolve(IpAddress(), ip("198.51.100.1"));
  REQUIRE(path.ok());
  CHECK(path->local == w.us4);
  CHECK(path->next_hop == ip("192.0.2.1"));
  CHECK(path->mtu_bytes == 1500);
  path = w.ip.resolve(IpAddress(), w.peer4);
  REQUIRE(path.ok());
  CHECK(path->next_hop == w.peer4);
  path = w.ip.resolve(w.us6, ip("2600::1"));
  REQUIRE(path.ok());
  CHECK(path->local == w.us6);
  CHECK(path->next_hop == ip("2001:db8::1"));
  path = w.ip.resolve(IpAddress::v4(0), w.peer4);  // the other family's "unspecified" does as well
  REQUIRE(path.ok());
  CHECK(path->local == w.us4);
}

TEST_CASE("destinations that are not reached through us") {
  World w;
  w.ip.address_changed(1, ip("127.0.0.1"), 8, true);
  w.ip.address_changed(3, ip("10.9.0.1"), 24, true);
  REQUIRE(!w.add_route("10.9.0.0", 24, nullptr, 3));  // an interface that is not attached
  const auto error = [&](const char* remote, const char* local = "::") {
    Result<Path> path = w.ip.resolve(ip(local), ip(remote));
    return path.ok() ? 0 : path.error().code;
  };
  CHECK(error("192.0.2.20") == 0);
  CHECK(error("10.9.0.2") == ENETUNREACH);    // the more specific route is another's
  CHECK(error("192.0.2.10") == ENETUNREACH);  // ourselves: the kernel's loopback
  CHECK(error("10.9.0.1") == ENETUNREACH);
  CHECK(error("192.0.2.255") == ENETUNREACH);  // subnet broadcast
  CHECK(error("255.255.255.255") == ENETUNREACH);
  CHECK(error("224.0.0.1") == ENETUNREACH);
  CHECK(error("ff02::1") == ENETUNREACH);
  CHECK(error("0.0.0.0") == ENETUNREACH);
  CHECK(error("::") == ENETUNREACH);
  CHECK(error("192.0.2.20", "2001:db8::10") == ENETUNREACH);  // families
  CHECK(error("192.0.2.20", "192.0.2.11") == EADDRNOTAVAIL);
  CHECK(error("192.0.2.20", "10.9.0.1") == EADDRNOTAVAIL);  // not of an attached interface
}

TEST_CASE("is_local knows the addresses of attached interfaces only") {
  World w;
  w.ip.address_changed(3, ip("10.9.0.1"), 24, true);
  CHECK(w.ip.is_local(w.us4));
  CHECK(w.ip.is_local(w.us6));
  CHECK(!w.ip.is_local(ip("10.9.0.1")));
  CHECK(!w.ip.is_local(w.peer4));
  w.ip.address_changed(World::kIfindex, w.us4, 24, false);
  CHECK(!w.ip.is_local(w.us4));
}

TEST_CASE("a preferred source, a metric and an MTU of the route are followed") {
  World w;
  w.ip.address_changed(World::kIfindex, ip("192.0.2.11"), 24, true);
  Route route;
  route.destination = ip("198.51.100.0");
  route.prefix_length = 24;
  route.gateway = ip("192.0.2.2");
  route.preferred_source = ip("192.0.2.11");
  route.ifindex = World::kIfindex;
  route.mtu_bytes = 1400;
  route.metric = 10;
  REQUIRE(!w.ip.route_changed(route, true));
  Result<Path> path = w.ip.resolve(IpAddress(), ip("198.51.100.9"));
  REQUIRE(path.ok());
  CHECK(path->local == ip("192.0.2.11"));
  CHECK(path->next_hop == ip("192.0.2.2"));
  CHECK(path->mtu_bytes == 1400);
  REQUIRE(!w.add_route("198.51.100.0", 24, "192.0.2.3", World::kIfindex, 5));
  CHECK(w.ip.resolve(IpAddress(), ip("198.51.100.9"))->next_hop == ip("192.0.2.3"));

  // A source that belongs to an interface that is not attached: the kernel's business.
  w.ip.address_changed(1, ip("10.9.0.1"), 32, true);
  route.destination = ip("203.0.113.0");
  route.preferred_source = ip("10.9.0.1");
  REQUIRE(!w.ip.route_changed(route, true));
  CHECK(w.ip.resolve(IpAddress(), ip("203.0.113.9")).error() == Error{ENETUNREACH});
}

TEST_CASE("a path follows a changed route with the next packet, and refresh() says so") {
  World w(LinkType::kIp);
  Path path = *w.ip.resolve(IpAddress(), ip("198.51.100.9"));
  CHECK(w.ip.refresh(path));
  const uint32_t generation = path.generation;
  REQUIRE(!w.add_route("198.51.100.0", 24, "192.0.2.77"));
  CHECK(w.ip.generation() != generation);
  CHECK(path.next_hop == ip("192.0.2.1"));
  CHECK(!w.send(path, Bytes(20)));
  CHECK(path.next_hop == ip("192.0.2.77"));
  CHECK(path.generation == w.ip.generation());

  // No way left: refused, not sent along the old one; and back again.
  REQUIRE(!w.add_route("198.51.100.0", 24, "192.0.2.77", World::kIfindex, 0, false));
  REQUIRE(!w.add_route("0.0.0.0", 0, "192.0.2.1", World::kIfindex, 0, false));
  CHECK(!w.ip.refresh(path));
  CHECK(w.send(path, Bytes(20)) == Error{ENETUNREACH});
  CHECK(w.ip.counters().ip_send_no_route == 1);
  REQUIRE(!w.add_route("0.0.0.0", 0, "192.0.2.1"));
  CHECK(w.ip.refresh(path));
  CHECK(!w.send(path, Bytes(20)));
}

TEST_CASE("a path whose address or link is gone is refused") {
  World w(LinkType::kIp);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  w.ip.address_changed(World::kIfindex, w.us4, 24, false);
  CHECK(w.send(path, Bytes(20)) == Error{EADDRNOTAVAIL});
  w.ip.address_changed(World::kIfindex, w.us4, 24, true);
  CHECK(!w.send(path, Bytes(20)));
  w.ip.link_changed({World::kIfindex, World::kMac, 1500, false});
  CHECK(w.send(path, Bytes(20)) == Error{ENETUNREACH});
  w.ip.link_changed({World::kIfindex, World::kMac, 1300, true});
  CHECK(!w.send(path, Bytes(20)));
  CHECK(path.mtu_bytes == 1300);
  CHECK(w.send(path, Bytes(1280)) == kOk);
  CHECK(w.send(path, Bytes(1281)) == Error{EMSGSIZE});
  CHECK(w.ip.counters().ip_send_too_big == 1);
}

TEST_CASE("the link's MTU is never more than the port's") {
  World w(LinkType::kIp, {}, 1400);
  w.ip.link_changed({World::kIfindex, World::kMac, 9000, true});
  CHECK(w.ip.resolve(IpAddress(), w.peer4)->mtu_bytes == 1400);
}

TEST_CASE("a learnt path MTU narrows the paths to that host for ten minutes") {
  World w(LinkType::kIp);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  w.ip.learn_path_mtu(w.now, w.peer4, 1300);
  CHECK(w.ip.refresh(path));
  CHECK(path.mtu_bytes == 1300);
  CHECK(w.ip.resolve(IpAddress(), ip("192.0.2.21"))->mtu_bytes == 1500);
  w.ip.learn_path_mtu(w.now, w.peer4, 1450);  // does not widen it
  CHECK(w.ip.resolve(IpAddress(), w.peer4)->mtu_bytes == 1300);
  w.wait(Duration::seconds(599));
  CHECK(w.ip.resolve(IpAddress(), w.peer4)->mtu_bytes == 1300);
  w.wait(Duration::seconds(2));
  CHECK(w.ip.refresh(path));
  CHECK(path.mtu_bytes == 1500);
}

TEST_CASE("tables that are full refuse, count and go on") {
  World w(LinkType::kIp, {.routes_max = 4, .addresses_max = 2});
  CHECK(w.add_route("10.0.0.0", 8) == Error{ENOBUFS});
  w.ip.address_changed(World::kIfindex, ip("192.0.2.99"), 24, true);
  CHECK(w.ip.counters().table_full == 2);
  CHECK(!w.ip.is_local(ip("192.0.2.99")));
  CHECK(w.ip.resolve(IpAddress(), w.peer4).ok());
}

TEST_CASE("over a local_everywhere link every address is ours, with Linux's choice of source") {
  FramePool pool(64, 2048);
  TimerWheel timers(Instant{0});
  Random random = Random::from_seed(1);
  MemoryPort port(pool, LinkType::kIp, 65536);
  IpLayer layer(pool, timers, random, {});
  Recorder tcp(pool);
  const uint8_t index = layer.attach(port, {0, {}, 65536, true}, true);
  layer.set_handler(6, &tcp);
  const char* pairs[][2] = {{"127.0.0.5", "127.0.0.1"},
                            {"127.0.0.1", "127.0.0.1"},
                            {"::1", "::1"},
                            {"10.1.2.3", "10.1.2.3"},
                            {"2001:db8::7", "2001:db8::7"}};
  int expected = 0;
  for (const auto& pair : pairs) {
    CAPTURE(pair[0]);
    Result<Path> path = layer.resolve(IpAddress(), ip(pair[0]));
    REQUIRE(path.ok());
    CHECK(path->local == ip(pair[1]));
    CHECK(path->mtu_bytes == 65535);
    Frame* frame = port.make_frame({{1, 2, 3, 4, 5, 6, 7, 8, 9}});
    CHECK(!layer.send(Instant{1}, *path, frame, {.protocol = 6, .ttl = 9, .traffic_class = 2}));
    CHECK(frame->tx_pending == 1);
    pool.release(frame);
    layer.flush(Instant{1});
    layer.input(Instant{1}, index, port.make_frame(port.take()));
    CHECK(tcp.received == ++expected);
    CHECK(tcp.payload == Bytes{1, 2, 3, 4, 5, 6, 7, 8, 9});
    CHECK(tcp.last.source == path->local);
    CHECK(tcp.last.destination == ip(pair[0]));
    CHECK(tcp.last.ttl == 9);
    CHECK(tcp.last.traffic_class == 2);
  }
  CHECK(layer.resolve(ip("10.5.5.5"), ip("10.6.6.6")).ok());
  CHECK(!layer.resolve(IpAddress(), ip("224.0.0.1")).ok());
  CHECK(!layer.resolve(IpAddress(), ip("0.0.0.0")).ok());
  CHECK(pool.available() == pool.capacity());
}
