// SPDX-License-Identifier: MIT
// Routes, addresses, path MTUs and the ICMP rate limit, each on its own.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "net/address_table.h"
#include "net/icmp_limiter.h"
#include "net/path_mtu_cache.h"
#include "net/route_table.h"
#include "support/packets.h"

using namespace millrace;
using namespace millrace::net;
using namespace millrace::test;

namespace {
Route route(const char* prefix, uint8_t bits, uint32_t ifindex, uint32_t metric = 0) {
  Route r;
  r.destination = ip(prefix);
  r.prefix_length = bits;
  r.ifindex = ifindex;
  r.metric = metric;
  return r;
}
uint32_t out_of(const RouteTable& table, const char* destination) {
  const Route* found = table.lookup(ip(destination));
  return found ? found->ifindex : 0;
}
}  // namespace

TEST_CASE("the longest prefix wins, then the lowest metric, and families do not mix") {
  RouteTable table(64);
  CHECK(table.lookup(ip("10.0.0.1")) == nullptr);
  for (const Route& r :
       {route("0.0.0.0", 0, 1), route("10.0.0.0", 8, 2, 100), route("10.0.0.0", 8, 3, 50),
        route("10.1.0.0", 16, 4), route("10.1.2.3", 32, 5), route("::", 0, 6),
        route("2001:db8::", 32, 7), route("2001:db8::1", 128, 8)}) {
    CHECK(table.change(r, true) == kOk);
  }
  CHECK(out_of(table, "192.0.2.1") == 1);
  CHECK(out_of(table, "10.200.0.1") == 3);
  CHECK(out_of(table, "10.1.9.9") == 4);
  CHECK(out_of(table, "10.1.2.3") == 5);
  CHECK(out_of(table, "2001:db9::1") == 6);
  CHECK(out_of(table, "2001:db8::2") == 7);
  CHECK(out_of(table, "2001:db8::1") == 8);
  CHECK(table.change(route("10.0.0.0", 8, 3, 50), false) == kOk);
  CHECK(out_of(table, "10.200.0.1") == 2);
  CHECK(table.change(route("10.0.0.0", 8, 3, 50), false) == Error{ESRCH});
  CHECK(table.change(route("0.0.0.0", 0, 1), false) == kOk);
  CHECK(out_of(table, "192.0.2.1") == 0);  // the IPv6 default route is not IPv4's
}

TEST_CASE("a route told again replaces itself; bits beyond the prefix do not matter") {
  RouteTable table(4);
  Route r = route("10.1.2.3", 8, 1);
  CHECK(table.change(r, true) == kOk);
  r.destination = ip("10.0.0.0");
  r.mtu_bytes = 1400;
  CHECK(table.change(r, true) == kOk);
  CHECK(table.size() == 1);
  CHECK(table.lookup(ip("10.9.9.9"))->mtu_bytes == 1400);
  CHECK(table.change(route("10.0.0.0", 33, 1), true) == Error{EINVAL});
  CHECK(table.change(route("::", 129, 1), true) == Error{EINVAL});
}

TEST_CASE("a full route table refuses and goes on") {
  RouteTable table(2);
  CHECK(table.change(route("10.0.0.0", 8, 1), true) == kOk);
  CHECK(table.change(route("11.0.0.0", 8, 2), true) == kOk);
  CHECK(table.change(route("12.0.0.0", 8, 3), true) == Error{ENOBUFS});
  CHECK(out_of(table, "11.0.0.1") == 2);
  CHECK(table.change(route("10.0.0.0", 8, 1), false) == kOk);
  CHECK(table.change(route("12.0.0.0", 8, 3), true) == kOk);
}

TEST_CASE("lookup agrees with a linear search over random tables") {
  std::mt19937 random(9);
  for (int round = 0; round < 20; ++round) {
    RouteTable table(512);
    std::vector<Route> all;
    for (int i = 0; i < 300; ++i) {
      Route r;
      const bool v4 = random() % 2;
      uint8_t bytes[16];
      for (uint8_t& b : bytes) b = uint8_t(random() % 4 * 85);
      r.destination = v4 ? IpAddress::v4_bytes(bytes) : IpAddress::v6_bytes(bytes);
      if (!v4 && r.destination.is_v4()) continue;
      r.prefix_length = uint8_t(random() % (v4 ? 33 : 129));
      r.metric = random() % 3;
      r.ifindex = uint32_t(i + 1);
      r.destination = prefix_of(r.destination, r.prefix_length);
      CHECK(table.change(r, true) == kOk);
      all.push_back(r);
      if (i % 5 == 0) {
        const size_t gone = random() % all.size();
        CHECK(table.change(all[gone], false) == kOk);
        all.erase(all.begin() + long(gone));
      }
    }
    for (int i = 0; i < 500; ++i) {
      uint8_t bytes[16];
      for (uint8_t& b : bytes) b = uint8_t(random() % 4 * 85);
      const IpAddress key = random() % 2 ? IpAddress::v4_bytes(bytes) : IpAddress::v6_bytes(bytes);
      const Route* expected = nullptr;
      for (const Route& r : all) {
        if (!same_prefix(r.destination, key, r.prefix_length)) continue;
        if (!expected || r.prefix_length > expected->prefix_length ||
            (r.prefix_length == expected->prefix_length && r.metric < expected->metric)) {
          expected = &r;
        }
      }
      const Route* found = table.lookup(key);
      REQUIRE((found != nullptr) == (expected != nullptr));
      if (found) {
        CHECK(found->prefix_length == expected->prefix_length);
        CHECK(found->metric == expected->metric);
      }
    }
  }
}

TEST_CASE("an IPv4 source is the first address in the next hop's subnet, else the first") {
  AddressTable table(8);
  CHECK(table.change({ip("10.0.0.5"), 2, 24}, true) == kOk);
  CHECK(table.change({ip("10.0.1.5"), 2, 24}, true) == kOk);
  CHECK(table.change({ip("10.0.1.6"), 2, 24}, true) == kOk);
  CHECK(table.change({ip("10.0.9.9"), 3, 24}, true) == kOk);
  IpAddress source;
  REQUIRE(table.choose_source(2, ip("8.8.8.8"), ip("10.0.1.1"), source));
  CHECK(source == ip("10.0.1.5"));
  REQUIRE(table.choose_source(2, ip("8.8.8.8"), ip("172.16.0.1"), source));
  CHECK(source == ip("10.0.0.5"));
  CHECK(!table.choose_source(2, ip("2001:db8::1"), ip("2001:db8::1"), source));
  CHECK(!table.choose_source(7, ip("8.8.8.8"), ip("10.0.1.1"), source));
}

TEST_CASE("an IPv6 source has the destination's scope and the longest common prefix") {
  AddressTable table(8);
  for (const char* a : {"fe80::10", "fd00::10", "2001:db8:1::10", "2001:db8:2::10"}) {
    CHECK(table.change({ip(a), 2, 64}, true) == kOk);
  }
  const auto source_for = [&](const char* remote) {
    IpAddress source;
    CHECK(table.choose_source(2, ip(remote), ip(remote), source));
    return source;
  };
  CHECK(source_for("fe80::99") == ip("fe80::10"));
  CHECK(source_for("fd12::99") == ip("fd00::10"));
  CHECK(source_for("2001:db8:2::99") == ip("2001:db8:2::10"));
  CHECK(source_for("2001:db8:1::99") == ip("2001:db8:1::10"));
  CHECK(source_for("2600::1") == ip("2001:db8:1::10"));
  CHECK(source_for("fd00::10") == ip("fd00::10"));
}

TEST_CASE("addresses come and go, bounded; subnet broadcasts are known") {
  AddressTable table(2);
  CHECK(table.change({ip("10.0.0.5"), 2, 24}, true) == kOk);
  CHECK(table.change({ip("10.0.0.5"), 2, 30}, true) == kOk);  // told again: another prefix
  CHECK(table.all().size() == 1);
  CHECK(table.is_subnet_broadcast(ip("10.0.0.7")));
  CHECK(!table.is_subnet_broadcast(ip("10.0.0.255")));
  CHECK(table.change({ip("10.0.0.9"), 2, 32}, true) == kOk);
  CHECK(!table.is_subnet_broadcast(ip("10.0.0.9")));
  CHECK(table.change({ip("10.0.0.10"), 2, 32}, true) == Error{ENOBUFS});
  CHECK(table.find(ip("10.0.0.5")));
  CHECK(!table.has(3, ip("10.0.0.5")));
  CHECK(table.change({ip("10.0.0.5"), 2, 30}, false) == kOk);
  CHECK(!table.find(ip("10.0.0.5")));
  CHECK(table.change({ip("10.0.0.5"), 2, 30}, false) == Error{ESRCH});
}

TEST_CASE("path MTUs only sink, end after ten minutes and are bounded") {
  PathMtuCache cache;
  Instant now{};
  CHECK(cache.find(ip("10.0.0.1")).mtu_bytes == UINT32_MAX);
  CHECK(cache.learn(now, ip("10.0.0.1"), 1400));
  CHECK(!cache.learn(now, ip("10.0.0.1"), 1450));
  CHECK(cache.learn(now + Duration::seconds(5), ip("10.0.0.1"), 1300));
  CHECK(cache.find(ip("10.0.0.1")).mtu_bytes == 1300);
  CHECK(!cache.expire(now + Duration::seconds(604)));
  CHECK(cache.expire(now + Duration::seconds(605)));
  CHECK(cache.find(ip("10.0.0.1")).mtu_bytes == UINT32_MAX);
  for (uint32_t i = 0; i < PathMtuCache::kEntriesMax + 10; ++i) {
    CHECK(cache.learn(now, IpAddress::v4(i), 1000));
  }
  CHECK(cache.find(IpAddress::v4(9)).mtu_bytes == UINT32_MAX);
  CHECK(cache.find(IpAddress::v4(10)).mtu_bytes == 1000);

  // That a link is narrower than may be said is kept beside, whichever comes first.
  PathMtuCache narrow;
  CHECK(narrow.learn(now, ip("10.0.0.1"), 552));
  CHECK(!narrow.find(ip("10.0.0.1")).may_be_cut);
  CHECK(narrow.learn(now, ip("10.0.0.1"), 552, true));
  CHECK(narrow.find(ip("10.0.0.1")).may_be_cut);
  CHECK(!narrow.learn(now, ip("10.0.0.1"), 552, true));
  CHECK(!narrow.learn(now, ip("10.0.0.1"), 1400));
  CHECK(narrow.find(ip("10.0.0.1")).mtu_bytes == 552);
}

TEST_CASE("ICMP errors are limited together and per target, with a budget nobody can count") {
  std::vector<int> bursts;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Random random = Random::from_seed(seed);
    IcmpLimiter limiter(random);
    Instant now = Instant{} + Duration::seconds(10);
    int sent = 0;
    for (uint32_t i = 0; i < 1000; ++i) sent += limiter.allow_error(now, IpAddress::v4(i));
    CHECK(sent >= 25);
    CHECK(sent <= 100);
    bursts.push_back(sent);
    // A second later: the bucket is full again, not fuller.
    now = now + Duration::seconds(1);
    sent = 0;
    for (uint32_t i = 0; i < 1000; ++i) sent += limiter.allow_error(now, IpAddress::v4(i));
    CHECK(sent <= 100);
  }
  std::sort(bursts.begin(), bursts.end());
  CHECK(bursts.front() != bursts.back());
}

TEST_CASE("a single target gets six ICMP errors at once and one a second") {
  Random random = Random::from_seed(1);
  IcmpLimiter limiter(random);
  Instant now = Instant{} + Duration::seconds(10);
  const auto burst = [&] {
    int sent = 0;
    for (int i = 0; i < 40; ++i) sent += limiter.allow_error(now, ip("10.0.0.1"));
    return sent;
  };
  CHECK(burst() == 6);
  now = now + Duration::seconds(2);
  CHECK(burst() == 2);
  now = now + Duration::seconds(3600);
  CHECK(burst() == 6);
}

TEST_CASE("the sustained rate of ICMP errors is a thousand a second") {
  Random random = Random::from_seed(2);
  IcmpLimiter limiter(random);
  Instant now = Instant{} + Duration::seconds(10);
  int sent = 0;
  for (int ms = 0; ms < 10'000; ++ms) {
    now = now + Duration::millis(1);
    for (int i = 0; i < 5; ++i) sent += limiter.allow_echo(now);
  }
  CHECK(sent > 9'000);
  CHECK(sent < 16'000);  // a token may cost nothing: one on average, while there are any
}
