// SPDX-License-Identifier: MIT
// Every rule by which a received packet is dropped, each with its counter.
#include <doctest/doctest.h>

#include <functional>
#include <random>

#include "support/net_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {
using CounterField = uint64_t Counters::*;
const Bytes kUs(World::kMac.begin(), World::kMac.end());
const Bytes kPeer(World::kPeerMac.begin(), World::kPeerMac.end());
}  // namespace

TEST_CASE("a good packet reaches its transport, trimmed and with what is known of it") {
  for (LinkType link : {LinkType::kEthernet, LinkType::kIp}) {
    World w(link);
    Bytes packet = ipv4(w.peer4, w.us4, {1, 2, 3}, {.protocol = 6, .ttl = 7, .traffic_class = 3});
    packet.resize(46, 0xee);  // link padding
    w.input_ip(packet);
    CHECK(w.tcp.payload == Bytes{1, 2, 3});
    CHECK(w.tcp.last.source == w.peer4);
    CHECK(w.tcp.last.destination == w.us4);
    CHECK(w.tcp.last.ttl == 7);
    CHECK(w.tcp.last.traffic_class == 3);
    CHECK(w.tcp.last.interface == w.index);
    packet = ipv6(w.peer6, w.us6, 6, {4, 5});
    packet.resize(46, 0xee);
    w.input_ip(packet);
    CHECK(w.tcp.payload == Bytes{4, 5});
    CHECK(w.tcp.last.source == w.peer6);
    CHECK(w.tcp.received == 2);
    CHECK(w.ip.counters().ip_received == 2);
    CHECK(w.ip.counters().ip_delivered == 2);
  }
}

TEST_CASE("options and a time to live of 0 do no harm") {
  World w;
  w.input_ip(ipv4(w.peer4, w.us4, {9}, {.protocol = 6, .ttl = 0, .options = {1, 1, 1, 0}}));
  CHECK(w.tcp.payload == Bytes{9});
  w.input_ip(ipv6(w.peer6, w.us6, 60, Bytes{6, 0, 1, 4, 0, 0, 0, 0} + Bytes{8}, 0));
  CHECK(w.tcp.payload == Bytes{8});
}

TEST_CASE("Ethernet: whose frames are taken") {
  World w;
  const Bytes good = ipv4(w.peer4, w.us4, {1}, {.protocol = 6});
  const auto count = [&](const Bytes& frame, CounterField field) {
    const uint64_t before = w.ip.counters().*field;
    const int received = w.tcp.received;
    w.input(frame);
    CHECK(w.tcp.received == received);
    CHECK(w.ip.counters().*field == before + 1);
  };
  count({}, &Counters::link_bad_frame);
  count(Bytes(13), &Counters::link_bad_frame);
  count(ethernet(Bytes(6, 0xff), kPeer, 0x0800, good), &Counters::link_not_ours);
  count(ethernet({1, 0, 0x5e, 0, 0, 1}, kPeer, 0x0800, good), &Counters::link_not_ours);
  count(ethernet({2, 0, 0, 0, 0, 0x11}, kPeer, 0x0800, good), &Counters::link_not_ours);
  count(ethernet(kUs, kPeer, 0x0806, Bytes(28)), &Counters::link_unknown_type);
  count(ethernet(kUs, kPeer, 0x8100, be16(5) + be16(0x0800) + good), &Counters::link_unknown_vlan);
  count(ethernet(kUs, kPeer, 0x8100, be16(0) + be16(0x8100) + be16(0) + be16(0x0800) + good),
        &Counters::link_unknown_type);
  count(ethernet(kUs, kPeer, 0x8100, {0, 0, 8}), &Counters::link_bad_frame);
  count(ethernet(kUs, kPeer, 0x0800, {}), &Counters::ip_bad_header);
  count(ethernet(kUs, kPeer, 0x86dd, good), &Counters::ip_bad_header);        // the type says IPv6
  w.input(ethernet(kUs, kPeer, 0x8100, be16(0xe000) + be16(0x0800) + good));  // a priority tag
  CHECK(w.tcp.received == 1);
}

TEST_CASE("IP: every drop rule has its counter and reaches nobody") {
  struct Row {
    const char* what;
    Bytes packet;
    CounterField counter;
  };
  World w(LinkType::kIp);
  w.ip.address_changed(1, ip("10.9.0.1"), 24, true);  // ours, on an interface that is not attached
  const Bytes data(20);
  const auto from4 = [&](const char* source) {
    return ipv4(ip(source), w.us4, data, {.protocol = 6});
  };
  const auto to4 = [&](const char* to) { return ipv4(w.peer4, ip(to), data, {.protocol = 6}); };
  const auto from6 = [&](const char* source) { return ipv6(ip(source), w.us6, 6, data); };
  const auto to6 = [&](const char* to) { return ipv6(w.peer6, ip(to), 6, data); };
  Bytes bad_sum = from4("192.0.2.20");
  bad_sum[10] ^= 1;
  const Row rows[] = {
      {"version 0", Bytes(40), &Counters::ip_bad_header},
      {"version 15", Bytes(40, 0xff), &Counters::ip_bad_header},
      {"one byte", {0x45}, &Counters::ip_bad_header},
      {"checksum", bad_sum, &Counters::ip_bad_checksum},
      {"source 0.0.0.0", from4("0.0.0.0"), &Counters::ip_bad_source},
      {"source 0.1.2.3", from4("0.1.2.3"), &Counters::ip_bad_source},
      {"source 127.0.0.1", from4("127.0.0.1"), &Counters::ip_bad_source},
      {"source multicast", from4("224.0.0.5"), &Counters::ip_bad_source},
      {"source broadcast", from4("255.255.255.255"), &Counters::ip_bad_source},
      {"source subnet broadcast", from4("192.0.2.255"), &Counters::ip_bad_source},
      {"source ourselves (LAND)", from4("192.0.2.10"), &Counters::ip_bad_source},
      {"source another address of ours", from4("10.9.0.1"), &Counters::ip_bad_source},
      {"destination 127.0.0.1", to4("127.0.0.1"), &Counters::ip_bad_source},
      {"destination another host", to4("192.0.2.11"), &Counters::ip_not_ours},
      {"destination not attached", to4("10.9.0.1"), &Counters::ip_not_ours},
      {"destination multicast", to4("224.0.0.1"), &Counters::ip_not_ours},
      {"destination broadcast", to4("255.255.255.255"), &Counters::ip_not_ours},
      {"destination subnet broadcast", to4("192.0.2.255"), &Counters::ip_not_ours},
      {"first fragment", ipv4(w.peer4, w.us4, data, {.protocol = 6, .fragment = 0x2000}),
       &Counters::ip_fragments},
      {"later fragment", ipv4(w.peer4, w.us4, data, {.protocol = 6, .fragment = 100}),
       &Counters::ip_fragments},
      {"source route", ipv4(w.peer4, w.us4, data, {.protocol = 6, .options = {131, 3, 4, 0}}),
       &Counters::ip_source_routed},
      {"malformed option", ipv4(w.peer4, w.us4, data, {.protocol = 6, .options = {7, 0, 0, 0}}),
       &Counters::ip_bad_header},
      {"IP in IP", ipv4(w.peer4, w.us4, from4("192.0.2.20"), {.protocol = 4}),
       &Counters::ip_unknown_protocol},
      {"IGMP junk", ipv4(w.peer4, w.us4, Bytes(3), {.protocol = 2}),
       &Counters::ip_unknown_protocol},
      {"ICMPv6 in IPv4", ipv4(w.peer4, w.us4, Bytes(8), {.protocol = 58}),
       &Counters::ip_unknown_protocol},
      {"v6 source ::", from6("::"), &Counters::ip_bad_source},
      {"v6 source ::1", from6("::1"), &Counters::ip_bad_source},
      {"v6 source multicast", from6("ff02::1"), &Counters::ip_bad_source},
      {"v6 source ourselves", from6("2001:db8::10"), &Counters::ip_bad_source},
      {"v6 source IPv4-mapped", from6("::ffff:c000:214"), &Counters::ip_bad_header},
      {"v6 destination ::1", to6("::1"), &Counters::ip_bad_source},
      {"v6 destination another", to6("2001:db8::11"), &Counters::ip_not_ours},
      {"v6 destination multicast", to6("ff02::1"), &Counters::ip_not_ours},
      {"v6 destination IPv4-mapped", to6("::ffff:c000:20a"), &Counters::ip_bad_header},
      {"v6 fragment", ipv6(w.peer6, w.us6, 44, Bytes{6, 0, 0, 1} + Bytes(12)),
       &Counters::ip_fragments},
      {"v6 no next header", ipv6(w.peer6, w.us6, 59, data), &Counters::ip_bad_extension},
      {"v6 extension too long", ipv6(w.peer6, w.us6, 60, Bytes{6, 255} + Bytes(14)),
       &Counters::ip_bad_extension},
      {"v6 silent option", ipv6(w.peer6, w.us6, 60, Bytes{6, 0, 0x40, 4} + Bytes(12)),
       &Counters::ip_bad_extension},
      {"v6 in v6", ipv6(w.peer6, w.us6, 41, data), &Counters::ip_unknown_protocol},
      {"v6 with ICMPv4", ipv6(w.peer6, w.us6, 1, data), &Counters::ip_unknown_protocol},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const uint64_t before = w.ip.counters().*(row.counter);
    w.input_ip(row.packet);
    CHECK(w.ip.counters().*(row.counter) == before + 1);
  }
  CHECK(w.tcp.received == 0);
  CHECK(w.ip.counters().ip_delivered == 0);
  w.input_ip(from4("192.0.2.20"));  // and everyone else goes on
  CHECK(w.tcp.received == 1);
}

TEST_CASE("an address pair that was good is looked at again when the tables change") {
  World w(LinkType::kIp);
  const Bytes packet = ipv4(w.peer4, w.us4, Bytes(20), {.protocol = 6});
  w.input_ip(packet);
  w.ip.address_changed(World::kIfindex, w.us4, 24, false);
  w.input_ip(packet);
  CHECK(w.tcp.received == 1);
  CHECK(w.ip.counters().ip_not_ours == 1);
  w.ip.address_changed(World::kIfindex, w.us4, 24, true);
  w.input_ip(packet);
  CHECK(w.tcp.received == 2);
}

TEST_CASE("no random or mutated frame crashes, leaks or is delivered longer than it came") {
  World w;
  std::mt19937 random(11);
  const Bytes seeds[] = {
      ipv4(w.peer4, w.us4, Bytes(30), {.protocol = 6}),
      ipv6(w.peer6, w.us6, 0,
           Bytes{60, 0, 1, 4, 0, 0, 0, 0, 43, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0} +
               Bytes(20)),
      icmp_packet(w.peer4, w.us4, 3, 3, 0, udp_packet({w.us4, 1}, {w.peer4, 2}, Bytes(8))),
      icmp_packet(w.peer6, w.us6, 2, 0, 1300, udp_packet({w.us6, 1}, {w.peer6, 2}, Bytes(8))),
      icmp_packet(w.peer4, w.us4, 8, 0, 0, Bytes(20)),
  };
  for (int i = 0; i < 60000; ++i) {
    Bytes p = seeds[random() % std::size(seeds)];
    for (uint32_t flips = random() % 4; flips > 0; --flips)
      p[random() % p.size()] = uint8_t(random());
    if (random() % 4 == 0) p.resize(random() % (p.size() + 10));
    if (p.size() >= 20 && p[0] >> 4 == 4 && random() % 2) fix_ipv4(p);
    w.tcp.payload.clear();
    w.input_ip(p);
    CHECK(w.tcp.payload.size() <= p.size());
    if (i % 1000 == 0) {
      w.ip.flush(w.now);
      w.port.clear();
      w.wait(Duration::seconds(4));
    }
  }
  CHECK(w.ip.counters().ip_received == 60000);
}
