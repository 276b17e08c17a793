// SPDX-License-Identifier: MIT
// ICMP and ICMPv6: errors in and out, echo.
#include <doctest/doctest.h>

#include "support/net_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {
struct IpWorld : World {
  IpWorld() : World(LinkType::kIp) {}
  // A datagram of ours, as a router quotes it.
  Bytes quote4(size_t payload = 4) {
    return udp_packet({us4, 1000}, {peer4, 53}, Bytes(payload, 1));
  }
  Bytes quote6(size_t payload = 4) {
    return udp_packet({us6, 1000}, {peer6, 53}, Bytes(payload, 1));
  }
  const IpAddress router4 = test::ip("203.0.113.1"), router6 = test::ip("2001:db8:f::1");
};
}  // namespace

TEST_CASE("an error about our datagram reaches its transport, from whichever router it comes") {
  IpWorld w;
  w.input_ip(icmp_packet(w.router4, w.us4, 3, 3, 0, w.quote4()));
  REQUIRE(w.datagrams.errors.size() == 1);
  const IcmpError& error = w.datagrams.errors[0];
  CHECK(error.local == w.us4);
  CHECK(error.remote == w.peer4);
  CHECK(error.error == Error{ECONNREFUSED});
  CHECK(error.hard);
  CHECK(!error.from_neighbor);
  CHECK(error.mtu_bytes == 0);
  CHECK(w.datagrams.quoted[0] == udp({w.us4, 1000}, {w.peer4, 53}, Bytes(4, 1)));
  w.input_ip(icmp_packet(w.router6, w.us6, 1, 3, 0, w.quote6()));
  REQUIRE(w.datagrams.errors.size() == 2);
  CHECK(w.datagrams.errors[1].error == Error{EHOSTUNREACH});
  CHECK(!w.datagrams.errors[1].hard);
  CHECK(w.datagrams.errors[1].remote == w.peer6);
  CHECK(w.ip.counters().icmp_errors_delivered == 2);
  CHECK(w.tcp.errors.empty());
}

TEST_CASE("a TCP segment cut to eight bytes is enough") {
  IpWorld w;
  Bytes quote = ipv4(w.us4, w.peer4, Bytes(20, 3), {.protocol = 6});
  quote.resize(28);
  w.input_ip(icmp_packet(w.router4, w.us4, 11, 0, 0, quote));
  REQUIRE(w.tcp.errors.size() == 1);
  CHECK(w.tcp.errors[0].error == Error{EHOSTUNREACH});
  CHECK(w.tcp.quoted[0] == Bytes(8, 3));
}

TEST_CASE("packet too big: the MTU within its bounds") {
  struct Row {
    uint32_t field, quoted, expected;
  };
  for (const Row& row : {Row{1400, 1500, 1400}, Row{0, 1500, 552}, Row{0, 1492, 552},
                         Row{68, 1500, 552}, Row{0, 300, 552}, Row{1, 1500, 552}}) {
    CAPTURE(row.field);
    IpWorld w;
    w.input_ip(icmp_packet(w.router4, w.us4, 3, 4, row.field, w.quote4(row.quoted - 28)));
    REQUIRE(w.datagrams.errors.size() == 1);
    CHECK(w.datagrams.errors[0].error == Error{EMSGSIZE});
    CHECK(w.datagrams.errors[0].mtu_bytes == row.expected);
  }
  IpWorld w;
  // RFC 1191: the field's upper half is unused and must not be believed.
  w.input_ip(icmp_packet(w.router4, w.us4, 3, 4, 0xffff0000u | 1300, w.quote4(1400)));
  CHECK(w.datagrams.errors.at(0).mtu_bytes == 1300);
  w.input_ip(icmp_packet(w.router6, w.us6, 2, 0, 1280, w.quote6(1400)));
  CHECK(w.datagrams.errors.at(1).mtu_bytes == 1280);
  w.input_ip(icmp_packet(w.router6, w.us6, 2, 0, 1279, w.quote6(1400)));  // RFC 8201 4
  w.input_ip(icmp_packet(w.router6, w.us6, 2, 0, 0, w.quote6(1400)));
  CHECK(w.datagrams.errors.size() == 2);
  CHECK(w.ip.counters().icmp_ignored == 2);
}

TEST_CASE("ICMP that must change nothing") {
  struct Row {
    const char* what;
    Bytes packet;
    uint64_t Counters::*counter;
  };
  IpWorld w;
  Bytes bad_sum = icmp_packet(w.router4, w.us4, 3, 3, 0, w.quote4());
  bad_sum.back() ^= 1;
  Bytes bad_sum6 = icmp_packet(w.router6, w.us6, 1, 4, 0, w.quote6());
  bad_sum6.back() ^= 1;
  Bytes cut = w.quote4();
  cut.resize(27);
  Bytes cut6 = w.quote6();
  cut6.resize(47);
  const Row rows[] = {
      {"checksum", bad_sum, &Counters::icmp_bad},
      {"checksum v6", bad_sum6, &Counters::icmp_bad},
      {"seven bytes", ipv4(w.router4, w.us4, Bytes(7), {.protocol = 1}), &Counters::icmp_bad},
      {"seven bytes v6", ipv6(w.router6, w.us6, 58, Bytes(7)), &Counters::icmp_bad},
      {"no quote", icmp_packet(w.router4, w.us4, 3, 3, 0, {}), &Counters::icmp_bad_quote},
      {"a short quote", icmp_packet(w.router4, w.us4, 3, 3, 0, cut), &Counters::icmp_bad_quote},
      {"a short quote v6", icmp_packet(w.router6, w.us6, 1, 4, 0, cut6), &Counters::icmp_bad_quote},
      {"another host's datagram",
       icmp_packet(w.router4, w.us4, 3, 3, 0, udp_packet({w.peer4, 1}, {w.us4, 2}, Bytes(4))),
       &Counters::icmp_bad_quote},
      {"another address of ours quoted",
       icmp_packet(w.router4, w.us4, 3, 3, 0,
                   udp_packet({ip("192.0.2.99"), 1}, {w.peer4, 2}, Bytes(4))),
       &Counters::icmp_bad_quote},
      {"a later fragment",
       icmp_packet(w.router4, w.us4, 3, 3, 0, ipv4(w.us4, w.peer4, Bytes(20), {.fragment = 5})),
       &Counters::icmp_bad_quote},
      {"a protocol that is not spoken",
       icmp_packet(w.router4, w.us4, 3, 3, 0, ipv4(w.us4, w.peer4, Bytes(20), {.protocol = 132})),
       &Counters::icmp_bad_quote},
      {"IPv6 quoted in ICMP", icmp_packet(w.router4, w.us4, 3, 3, 0, w.quote6()),
       &Counters::icmp_bad_quote},
      {"IPv4 quoted in ICMPv6", icmp_packet(w.router6, w.us6, 1, 4, 0, w.quote4(60)),
       &Counters::icmp_bad_quote},
      {"source quench", icmp_packet(w.router4, w.us4, 4, 0, 0, w.quote4()),
       &Counters::icmp_ignored},
      {"redirect", icmp_packet(w.router4, w.us4, 5, 1, 0x0a000001, w.quote4()),
       &Counters::icmp_ignored},
      {"echo reply", icmp_packet(w.router4, w.us4, 0, 0, 0, w.quote4()), &Counters::icmp_ignored},
      {"code out of range", icmp_packet(w.router4, w.us4, 3, 16, 0, w.quote4()),
       &Counters::icmp_ignored},
      {"timestamp request", icmp_packet(w.router4, w.us4, 13, 0, 0, Bytes(12)),
       &Counters::icmp_ignored},
      {"neighbour advertisement", icmp_packet(w.router6, w.us6, 136, 0, 0, Bytes(24)),
       &Counters::icmp_ignored},
      {"router advertisement", icmp_packet(w.router6, w.us6, 134, 0, 0, Bytes(24)),
       &Counters::icmp_ignored},
      {"redirect v6", icmp_packet(w.router6, w.us6, 137, 0, 0, Bytes(40)), &Counters::icmp_ignored},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const uint64_t before = w.ip.counters().*(row.counter);
    w.input_ip(row.packet);
    CHECK(w.ip.counters().*(row.counter) == before + 1);
    CHECK(w.take_ip().empty());
  }
  CHECK(w.datagrams.errors.empty());
  CHECK(w.tcp.errors.empty());
}

TEST_CASE("echo is answered with identifier, sequence number and data as they came") {
  IpWorld w;
  for (size_t size : {size_t(0), size_t(1), size_t(56), size_t(1400)}) {
    Bytes data(size);
    for (size_t i = 0; i < size; ++i) data[i] = uint8_t(i * 7);
    w.input_ip(icmp_packet(w.peer4, w.us4, 8, 0, 0x12345678, data));
    Bytes reply = w.take_ip();
    Bytes expected = icmp_packet(w.us4, w.peer4, 0, 0, 0x12345678, data);
    REQUIRE(reply.size() == expected.size());
    CHECK(Bytes(reply.begin() + 20, reply.end()) == Bytes(expected.begin() + 20, expected.end()));
    CHECK(Bytes(reply.begin() + 12, reply.begin() + 20) ==
          address_bytes(w.us4) + address_bytes(w.peer4));
    w.input_ip(icmp_packet(w.peer6, w.us6, 128, 0, 0x12345678, data));
    CHECK(w.take_ip() == icmp_packet(w.us6, w.peer6, 129, 0, 0x12345678, data));
  }
  CHECK(w.ip.counters().icmp_echo_replies == 8);
}

TEST_CASE("a flood of echo requests is answered a thousand times a second") {
  IpWorld w;
  for (int i = 0; i < 2000; ++i) w.input_ip(icmp_packet(w.peer4, w.us4, 8, 0, 1, Bytes(8)));
  CHECK(w.ip.counters().icmp_echo_replies < 110);
  CHECK(w.ip.counters().icmp_echo_replies + w.ip.counters().icmp_rate_limited == 2000);
}

TEST_CASE("a protocol that is not spoken is answered: unreachable, or a parameter problem") {
  IpWorld w;
  const Bytes packet4 = ipv4(w.peer4, w.us4, Bytes(40, 5), {.protocol = 132});
  w.input_ip(packet4);
  Bytes reply = w.take_ip();
  Bytes expected = icmp_packet(w.us4, w.peer4, 3, 2, 0, packet4);
  CHECK(Bytes(reply.begin() + 20, reply.end()) == Bytes(expected.begin() + 20, expected.end()));

  const Bytes packet6 = ipv6(w.peer6, w.us6, 60, Bytes{132, 0, 1, 4, 0, 0, 0, 0} + Bytes(9));
  w.input_ip(packet6);
  CHECK(w.take_ip() == icmp_packet(w.us6, w.peer6, 4, 1, 40, packet6));
  CHECK(w.ip.counters().icmp_errors_sent == 2);
}

TEST_CASE("a parameter problem points at the byte; none is sent about an ICMPv6 error") {
  IpWorld w;
  const Bytes option = ipv6(w.peer6, w.us6, 60, Bytes{6, 0, 0x80, 4, 0, 0, 0, 0} + Bytes(20));
  w.input_ip(option);
  CHECK(w.take_ip() == icmp_packet(w.us6, w.peer6, 4, 2, 42, option));
  const Bytes routing = ipv6(w.peer6, w.us6, 43, Bytes{6, 2, 0, 1} + Bytes(20) + Bytes(20));
  w.input_ip(routing);
  CHECK(w.take_ip() == icmp_packet(w.us6, w.peer6, 4, 0, 42, routing));
  w.input_ip(
      ipv6(w.peer6, w.us6, 60, Bytes{58, 0, 0x80, 4, 0, 0, 0, 0} + Bytes{1, 4, 0, 0} + Bytes(60)));
  CHECK(w.take_ip().empty());
  w.input_ip(
      ipv6(w.peer6, w.us6, 60, Bytes{58, 0, 0x80, 4, 0, 0, 0, 0} + Bytes{128, 0, 0, 0} + Bytes(8)));
  CHECK(!w.take_ip().empty());  // an echo request is no error
}

TEST_CASE("errors quote as much as fits: 576 bytes, or 1,280") {
  IpWorld w;
  w.input_ip(ipv4(w.peer4, w.us4, Bytes(1400, 5), {.protocol = 132}));
  CHECK(w.take_ip().size() == 576);
  w.input_ip(ipv6(w.peer6, w.us6, 132, Bytes(1400, 5)));
  CHECK(w.take_ip().size() == 1280);
}

TEST_CASE("no error answers what was dropped for its addresses, fragments or form") {
  IpWorld w;
  w.input_ip(ipv4(w.peer4, w.us4, Bytes(40), {.protocol = 132, .fragment = 100}));
  w.input_ip(ipv4(w.peer4, ip("224.0.0.1"), Bytes(40), {.protocol = 132}));
  w.input_ip(ipv4(ip("127.0.0.1"), w.us4, Bytes(40), {.protocol = 132}));
  w.input_ip(
      ipv4(w.peer4, w.us4, Bytes(40), {.protocol = 132, .options = {131, 7, 4, 9, 9, 9, 9, 0}}));
  w.input_ip(ipv6(w.peer6, ip("ff02::1"), 132, Bytes(40)));
  w.input_ip(ipv6(ip("::"), w.us6, 132, Bytes(40)));
  CHECK(w.take_ip().empty());
}

TEST_CASE("replies do not need a known neighbour: they wait like everything else") {
  World w;
  w.input_ip(icmp_packet(w.peer4, w.us4, 8, 0, 1, Bytes(8)));
  CHECK(w.kernel.requests.size() == 1);
  w.neighbor(w.peer4, NeighborState::kReachable);
  CHECK(!w.take_ip().empty());
}

TEST_CASE("an exhausted frame pool means no reply and no crash") {
  IpWorld w;
  std::vector<Frame*> all;
  const Bytes request = icmp_packet(w.peer4, w.us4, 8, 0, 1, Bytes(8));
  Frame* in = w.port.make_frame(request);
  Frame* unknown = w.port.make_frame(ipv4(w.peer4, w.us4, Bytes(40), {.protocol = 132}));
  while (Frame* f = w.pool.alloc()) all.push_back(f);
  w.ip.input(w.now, w.index, in);
  // The request's own frame is free again by now: take it away too.
  all.push_back(w.pool.alloc());
  w.ip.input(w.now, w.index, unknown);
  CHECK(w.ip.counters().icmp_rate_limited == 2);
  for (Frame* f : all) w.pool.release(f);
}
