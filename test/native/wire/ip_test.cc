// SPDX-License-Identifier: MIT
// Headers of IPv4, IPv6 and Ethernet: what is taken, and every way to be malformed.
#include <doctest/doctest.h>

#include <functional>
#include <random>

#include "support/packets.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

using namespace millrace;
using namespace millrace::test;
using wire::IpProblem;
using wire::Ipv6Walk;

namespace {
const IpAddress kA4 = ip("192.0.2.1"), kB4 = ip("198.51.100.7");
const IpAddress kA6 = ip("2001:db8::1"), kB6 = ip("2001:db8:0:1::2");

// An extension header of 8 * (units + 1) bytes.
Bytes extension(uint8_t next, uint8_t units, Bytes body) {
  body.resize(size_t(units) * 8 + 6);
  return Bytes{next, units} + body;
}
wire::Ipv6Chain walk(uint8_t first, const Bytes& payload) {
  const Bytes packet = ipv6(kA6, kB6, first, payload);
  return wire::walk_ipv6(packet, first);
}
}  // namespace

TEST_CASE("an IPv4 header is read as it was written") {
  const Bytes packet = ipv4(kA4, kB4, {1, 2, 3}, {.protocol = 6, .ttl = 0, .traffic_class = 0xb9});
  wire::Ipv4View view;
  REQUIRE(wire::parse_ipv4(packet, view) == IpProblem::kNone);
  CHECK(view.source == kA4);
  CHECK(view.destination == kB4);
  CHECK(view.header_bytes == 20);
  CHECK(view.total_bytes == 23);
  CHECK(view.protocol == 6);
  CHECK(view.ttl == 0);  // a host takes it (RFC 1122 3.2.1.7)
  CHECK(view.traffic_class == 0xb9);
  CHECK(!view.fragment);
}

TEST_CASE("our IPv4 header is what an independent builder writes") {
  for (bool dont_fragment : {true, false}) {
    Bytes packet = ipv4(kA4, kB4, Bytes(100),
                        {.protocol = 17,
                         .ttl = 33,
                         .traffic_class = 0x2e,
                         .fragment = uint16_t(dont_fragment ? 0x4000 : 0)});
    Bytes ours(20);
    wire::build_ipv4(ours.data(),
                     {.total_bytes = 120,
                      .identification = 0x1234,
                      .dont_fragment = dont_fragment,
                      .ttl = 33,
                      .traffic_class = 0x2e,
                      .protocol = 17},
                     kA4, kB4);
    packet.resize(20);
    CHECK(ours == packet);
  }
}

TEST_CASE("the built IPv4 checksum holds for any fields") {
  std::mt19937 random(5);
  for (int i = 0; i < 20000; ++i) {
    Bytes header(20);
    const bool extreme = i % 4 == 0;
    const auto any = [&] { return extreme ? 0xffffffffu : uint32_t(random()); };
    wire::build_ipv4(header.data(),
                     {.total_bytes = uint16_t(any() | 20),
                      .identification = uint16_t(any()),
                      .dont_fragment = random() % 2 == 0,
                      .ttl = uint8_t(any()),
                      .traffic_class = uint8_t(any()),
                      .protocol = uint8_t(any())},
                     IpAddress::v4(any()), IpAddress::v4(any()));
    CHECK(naive_checksum(header) == 0);
  }
}

TEST_CASE("malformed IPv4 headers") {
  struct Row {
    const char* what;
    std::function<void(Bytes&)> spoil;
    IpProblem expected;
    bool fix_checksum = true;
  };
  const Row rows[] = {
      {"nothing", [](Bytes& p) { p.clear(); }, IpProblem::kHeader, false},
      {"19 bytes", [](Bytes& p) { p.resize(19); }, IpProblem::kHeader, false},
      {"version 5", [](Bytes& p) { p[0] = 0x55; }, IpProblem::kHeader},
      {"header of 16 bytes", [](Bytes& p) { p[0] = 0x44; }, IpProblem::kHeader},
      {"header of 0 bytes", [](Bytes& p) { p[0] = 0x40; }, IpProblem::kHeader},
      {"header beyond the packet", [](Bytes& p) { p[0] = 0x4f; }, IpProblem::kHeader},
      {"total below the header", [](Bytes& p) { put16(p, 2, 19); }, IpProblem::kHeader},
      {"total of zero", [](Bytes& p) { put16(p, 2, 0); }, IpProblem::kHeader},
      {"total beyond the packet", [](Bytes& p) { put16(p, 2, 29); }, IpProblem::kHeader},
      {"checksum", [](Bytes& p) { p[11] ^= 1; }, IpProblem::kChecksum, false},
      {"checksum of zero", [](Bytes& p) { put16(p, 10, 0); }, IpProblem::kChecksum, false},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    Bytes packet = ipv4(kA4, kB4, Bytes(8));
    row.spoil(packet);
    if (row.fix_checksum) fix_ipv4(packet);
    wire::Ipv4View view;
    CHECK(wire::parse_ipv4(packet, view) == row.expected);
  }
}

TEST_CASE("IPv4 options: skipped, refused, or malformed") {
  struct Row {
    const char* what;
    Bytes options;
    IpProblem expected;
    uint8_t bad_option = 0;  // kOptions: the offset in the packet
  };
  const Row rows[] = {
      {"no-operation and end", {1, 1, 0, 0}, IpProblem::kNone},
      {"router alert", {148, 4, 0, 0}, IpProblem::kNone},
      {"short router alert", {148, 3, 0, 0}, IpProblem::kOptions, 21},
      {"garbage behind the end", {0, 131, 255, 255}, IpProblem::kNone},
      {"unknown, well formed", {200, 3, 0, 0}, IpProblem::kNone},
      {"record route", {7, 7, 4, 0, 0, 0, 0, 0}, IpProblem::kNone},
      {"full record route", {7, 7, 8, 0, 0, 0, 0, 0}, IpProblem::kNone},
      {"record route without room for an address",
       {7, 7, 5, 0, 0, 0, 0, 0},
       IpProblem::kOptions,
       22},
      {"record route with pointer 3", {7, 7, 3, 0, 0, 0, 0, 0}, IpProblem::kOptions, 22},
      {"record route of length 2", {7, 2, 0, 0}, IpProblem::kOptions, 21},
      {"two record routes", {7, 3, 4, 7, 3, 4, 0, 0}, IpProblem::kOptions, 23},
      {"timestamps", {68, 8, 5, 0, 0, 0, 0, 0}, IpProblem::kNone},
      {"timestamp without room", {68, 8, 6, 0, 0, 0, 0, 0}, IpProblem::kOptions, 22},
      {"timestamp without room for an address", {68, 8, 5, 1, 0, 0, 0, 0}, IpProblem::kOptions, 22},
      {"timestamp of length 3", {68, 3, 5, 0}, IpProblem::kOptions, 21},
      {"full timestamps, one more may be counted", {68, 4, 5, 0xe0}, IpProblem::kNone},
      {"timestamp with an absurd pointer", {68, 4, 255, 255}, IpProblem::kOptions, 23},
      {"full plain timestamps, no more can be counted", {68, 4, 5, 0xf0}, IpProblem::kOptions, 23},
      {"loose source route", {131, 7, 4, 10, 0, 0, 1, 0}, IpProblem::kSourceRoute},
      {"strict source route of length 3", {137, 3, 4, 0}, IpProblem::kSourceRoute},
      {"source route of length 2", {137, 2, 0, 0}, IpProblem::kOptions, 21},
      {"two source routes", {137, 3, 4, 131, 3, 4, 0, 0}, IpProblem::kOptions, 23},
      {"source route of length 0", {131, 0, 0, 0}, IpProblem::kOptions, 20},
      {"length 0", {7, 0, 0, 0}, IpProblem::kOptions, 20},
      {"length 1", {7, 1, 0, 0}, IpProblem::kOptions, 20},
      {"length beyond the header", {1, 7, 5, 4}, IpProblem::kOptions, 21},
      {"length 255", {68, 255, 5, 0}, IpProblem::kOptions, 20},
      {"kind as the last byte", {1, 1, 1, 7}, IpProblem::kOptions, 23},
      {"forty bytes of no-operation", Bytes(40, 1), IpProblem::kNone},
  };
  for (const Row& row : rows) {
    CAPTURE(row.what);
    const Bytes packet = ipv4(kA4, kB4, Bytes(8), {.options = row.options});
    wire::Ipv4View view;
    CHECK(wire::parse_ipv4(packet, view) == row.expected);
    if (row.expected == IpProblem::kOptions) CHECK(view.bad_option == row.bad_option);
  }
}

TEST_CASE("IPv4 fragments are recognised") {
  struct Row {
    uint16_t field;
    bool fragment, first;
  };
  for (const Row& row : {Row{0, false, true}, Row{0x4000, false, true}, Row{0x8000, false, true},
                         Row{0x2000, true, true}, Row{1, true, false}, Row{0x1fff, true, false},
                         Row{0x2001, true, false}}) {
    CAPTURE(row.field);
    wire::Ipv4View view;
    REQUIRE(wire::parse_ipv4(ipv4(kA4, kB4, Bytes(8), {.fragment = row.field}), view) ==
            IpProblem::kNone);
    CHECK(view.fragment == row.fragment);
    CHECK(view.first == row.first);
  }
}

TEST_CASE("a quoted IPv4 packet may be cut short and have another checksum") {
  Bytes packet = ipv4(kA4, kB4, Bytes(1000));
  packet.resize(28);
  packet[10] ^= 0x55;
  wire::Ipv4View view;
  CHECK(wire::parse_ipv4(packet, view) == IpProblem::kHeader);
  CHECK(wire::parse_ipv4(packet, view, true) == IpProblem::kNone);
  CHECK(view.total_bytes == 1020);
  packet.resize(19);
  CHECK(wire::parse_ipv4(packet, view, true) == IpProblem::kHeader);
}

TEST_CASE(
    "an IPv6 header is read as it was written, and ours is what an independent builder writes") {
  Bytes packet = ipv6(kA6, kB6, 17, Bytes(30), 5);
  packet[0] = 0x6a, packet[1] = 0xb0;
  wire::Ipv6View view;
  REQUIRE(wire::parse_ipv6(packet, view) == IpProblem::kNone);
  CHECK(view.source == kA6);
  CHECK(view.destination == kB6);
  CHECK(view.total_bytes == 70);
  CHECK(view.next_header == 17);
  CHECK(view.hop_limit == 5);
  CHECK(view.traffic_class == 0xab);
  Bytes ours(40);
  wire::build_ipv6(ours.data(), 30, 17, 5, 0xab, kA6, kB6);
  packet.resize(40);
  CHECK(ours == packet);
}

TEST_CASE("malformed IPv6 headers") {
  const auto verdict = [](const std::function<void(Bytes&)>& spoil) {
    Bytes packet = ipv6(kA6, kB6, 17, Bytes(8));
    spoil(packet);
    wire::Ipv6View view;
    return wire::parse_ipv6(packet, view);
  };
  CHECK(verdict([](Bytes&) {}) == IpProblem::kNone);
  CHECK(verdict([](Bytes& p) { p.resize(60); }) == IpProblem::kNone);  // link padding
  CHECK(verdict([](Bytes& p) { p.resize(39); }) == IpProblem::kHeader);
  CHECK(verdict([](Bytes& p) { p.clear(); }) == IpProblem::kHeader);
  CHECK(verdict([](Bytes& p) { p[0] = 0x40; }) == IpProblem::kHeader);
  CHECK(verdict([](Bytes& p) { put16(p, 4, 9); }) == IpProblem::kHeader);
  CHECK(verdict([](Bytes& p) { put16(p, 4, 65535); }) == IpProblem::kHeader);
  CHECK(verdict([](Bytes& p) { put16(p, 4, 0); }) == IpProblem::kHeader);
  // IPv4-mapped addresses would be taken for IPv4 inside.
  for (size_t at : {size_t(8), size_t(24)}) {
    CHECK(verdict([at](Bytes& p) {
            for (size_t i = 0; i < 10; ++i) p[at + i] = 0;
            p[at + 10] = p[at + 11] = 0xff;
          }) == IpProblem::kHeader);
  }
}

TEST_CASE("extension headers are walked to the transport header") {
  const Bytes udp_header(8);
  wire::Ipv6Chain chain = walk(17, udp_header);
  CHECK(chain.result == Ipv6Walk::kTransport);
  CHECK(chain.protocol == 17);
  CHECK(chain.offset == 40);
  CHECK(chain.pointer == 6);

  // Hop-by-hop with padding and router alert, a spent routing header, destination options of 16
  // bytes.
  const Bytes options = {5, 2, 0, 0, 1, 0};
  chain = walk(0, extension(43, 0, options) + extension(60, 1, {2, 0}) +
                      extension(6, 1, {0, 0, 0x3e, 10}) + udp_header);
  CHECK(chain.result == Ipv6Walk::kTransport);
  CHECK(chain.protocol == 6);
  CHECK(chain.offset == 40 + 8 + 16 + 16);
  CHECK(chain.pointer == 40 + 8 + 16);
}

TEST_CASE("extension headers that end the walk") {
  const Bytes rest(8);
  CHECK(walk(44, rest).result == Ipv6Walk::kFragment);
  CHECK(walk(0, extension(44, 0, {1, 4}) + rest).result == Ipv6Walk::kFragment);
  CHECK(walk(59, rest).result == Ipv6Walk::kDrop);
  CHECK(walk(60, {17, 0, 1}).result == Ipv6Walk::kDrop);  // cut short
  CHECK(walk(60, extension(17, 0, {1, 4})).result == Ipv6Walk::kTransport);
  CHECK(walk(60, Bytes{17, 255} + Bytes(14)).result ==
        Ipv6Walk::kDrop);  // length beyond the packet
  CHECK(walk(60, extension(17, 0, {1, 5}) + rest).result == Ipv6Walk::kDrop);  // option too long
  CHECK(walk(60, extension(17, 0, {0, 0, 0, 0, 0, 1}) + rest).result == Ipv6Walk::kDrop);
  CHECK(walk(60, extension(17, 0, {0x40, 0}) + rest).result == Ipv6Walk::kDrop);  // 01: in silence
  CHECK(walk(60, extension(17, 0, {0x3e, 2}) + rest).result ==
        Ipv6Walk::kTransport);  // 00: skipped
}

TEST_CASE("padding that aligns nothing, or carries something, ends the walk (RFC 4942 2.1.9.5)") {
  const Bytes rest(8);
  const auto verdict = [&](uint8_t more, const Bytes& options) {
    return walk(60, extension(17, more, options) + rest).result;
  };
  CHECK(verdict(0, {1, 4, 0, 0, 0, 0}) == Ipv6Walk::kTransport);
  CHECK(verdict(0, {1, 4, 0, 0, 0, 1}) == Ipv6Walk::kDrop);
  CHECK(verdict(0, {0, 0, 0, 0, 0, 0}) == Ipv6Walk::kTransport);
  CHECK(verdict(1, {1, 5, 0, 0, 0, 0, 0, 0x3e, 5}) == Ipv6Walk::kTransport);  // 7, an option of 7
  CHECK(verdict(1, {1, 6, 0, 0, 0, 0, 0, 0, 0x3e, 4}) == Ipv6Walk::kDrop);    // 8
  CHECK(verdict(1, {1, 4, 0, 0, 0, 0, 0, 0, 0x3e, 4}) == Ipv6Walk::kDrop);    // 6 and 2 of one byte
  CHECK(verdict(1, Bytes(14)) == Ipv6Walk::kDrop);
  // Eight options, and one too many.
  Bytes many;
  for (int i = 0; i < 8; ++i) many = many + Bytes{0x3e, 0};
  CHECK(verdict(2, many + Bytes{1, 4}) == Ipv6Walk::kTransport);
  CHECK(verdict(2, many + Bytes{0x3e, 4}) == Ipv6Walk::kDrop);
}

TEST_CASE("extension headers that ask for a parameter problem name the byte") {
  const Bytes rest(8);
  const auto expect = [&](const wire::Ipv6Chain& chain, int code, uint32_t pointer) {
    CHECK(chain.result == Ipv6Walk::kProblem);
    CHECK(chain.code == code);
    CHECK(chain.pointer == pointer);
  };
  expect(walk(60, extension(17, 0, {1, 0, 0x80, 0}) + rest), 2, 44);
  expect(walk(60, extension(17, 0, {0xc2, 4}) + rest), 2, 42);  // 11, a unicast destination
  expect(walk(43, extension(17, 0, {0, 1}) + rest), 0, 42);     // RH0 with a segment left
  expect(walk(60, extension(0, 0, {1, 4}) + extension(17, 0, {1, 4}) + rest), 1,
         40);  // hop-by-hop late
  // The protocol behind it is still found: an error about an ICMPv6 error must not be sent.
  const wire::Ipv6Chain chain = walk(60, extension(58, 0, {0x80, 4}) + rest);
  CHECK(chain.protocol == 58);
  CHECK(chain.offset == 48);
}

TEST_CASE("a hundred chained headers are not followed") {
  for (int count : {8, 9, 100}) {
    Bytes payload;
    for (int i = 0; i < count; ++i)
      payload = payload + extension(i + 1 < count ? 60 : 17, 0, {1, 4});
    CHECK((walk(60, payload + Bytes(8)).result == Ipv6Walk::kTransport) == (count <= 8));
  }
}

TEST_CASE("no random packet is read beyond its end") {
  std::mt19937 random(6);
  for (int i = 0; i < 200000; ++i) {
    // On the heap at its exact size, so that a sanitizer sees the first byte beyond.
    Bytes packet(random() % 120);
    for (uint8_t& b : packet) b = uint8_t(random());
    if (!packet.empty()) packet[0] = uint8_t((i & 1 ? 0x60 : 0x40) | (packet[0] & 15));
    if (packet.size() > 6 && i % 3 == 0) packet[6] = "\0\x2b\x3c"[random() % 3];
    if (packet.size() > 5 && i % 5 == 0) put16(packet, i & 1 ? 4 : 2, uint32_t(packet.size()));
    wire::Ipv4View v4;
    wire::Ipv6View v6;
    const bool quoted = i % 7 == 0;
    if (wire::parse_ipv4(packet, v4, quoted) == IpProblem::kNone) {
      CHECK(v4.header_bytes <= packet.size());
      CHECK((quoted || v4.total_bytes <= packet.size()));
    }
    if (wire::parse_ipv6(packet, v6, quoted) == IpProblem::kNone) {
      const wire::Ipv6Chain chain = wire::walk_ipv6(packet, v6.next_header);
      if (chain.result == Ipv6Walk::kTransport) CHECK(chain.offset <= packet.size());
    }
  }
}

TEST_CASE("Ethernet headers with and without a tag") {
  const Bytes to = {1, 2, 3, 4, 5, 6}, from = {7, 8, 9, 10, 11, 12};
  wire::EthernetView view;
  Bytes frame = ethernet(to, from, 0x0800, {9});
  REQUIRE(wire::parse_ethernet(frame, view));
  CHECK(view.ether_type == 0x0800);
  CHECK(view.header_bytes == 14);
  CHECK(view.vlan == 0);
  CHECK(Bytes(view.destination, view.destination + 6) == to);
  CHECK(Bytes(view.source, view.source + 6) == from);
  frame = ethernet(to, from, 0x8100, be16(0xe123) + be16(0x86dd) + Bytes{1});
  REQUIRE(wire::parse_ethernet(frame, view));
  CHECK(view.ether_type == 0x86dd);
  CHECK(view.vlan == 0x123);
  CHECK(view.header_bytes == 18);
  frame.resize(17);
  CHECK(!wire::parse_ethernet(frame, view));
  CHECK(!wire::parse_ethernet(Bytes(13), view));
  Bytes ours(14);
  wire::build_ethernet(ours.data(), to.data(), from.data(), 0x0800);
  CHECK(ours == ethernet(to, from, 0x0800, {}));
}
