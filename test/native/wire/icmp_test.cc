// SPDX-License-Identifier: MIT
#include "wire/icmp.h"

#include <doctest/doctest.h>

#include <cerrno>

#include "support/packets.h"
#include "wire/udp.h"

using namespace millrace;
using namespace millrace::test;

TEST_CASE("ICMP errors mean to a socket what they mean under Linux") {
  struct Row {
    int type, code, error;
    bool hard;
  };
  const Row rows4[] = {
      {3, 0, ENETUNREACH, false},
      {3, 1, EHOSTUNREACH, false},
      {3, 2, ENOPROTOOPT, true},
      {3, 3, ECONNREFUSED, true},
      {3, 4, EMSGSIZE, false},
      {3, 5, EOPNOTSUPP, false},
      {3, 6, ENETUNREACH, true},
      {3, 7, EHOSTDOWN, true},
      {3, 8, ENONET, true},
      {3, 9, ENETUNREACH, true},
      {3, 10, EHOSTUNREACH, true},
      {3, 11, ENETUNREACH, false},
      {3, 12, EHOSTUNREACH, false},
      {3, 13, EHOSTUNREACH, true},
      {3, 14, EHOSTUNREACH, true},
      {3, 15, EHOSTUNREACH, true},
      {3, 16, 0, false},
      {3, 255, 0, false},
      {4, 0, 0, false},
      {5, 1, 0, false},
      {11, 0, EHOSTUNREACH, false},
      {12, 0, EPROTO, true},
      {0, 0, 0, false},
      {13, 0, 0, false},
  };
  for (const Row& row : rows4) {
    CAPTURE(row.type);
    CAPTURE(row.code);
    const wire::IcmpMeaning m = wire::meaning_of_icmp4(uint8_t(row.type), uint8_t(row.code));
    CHECK(m.errno_code == row.error);
    CHECK(m.hard == row.hard);
    CHECK(m.too_big == (row.type == 3 && row.code == 4));
  }
  const Row rows6[] = {
      {1, 0, ENETUNREACH, false},  {1, 1, EACCES, true},       {1, 2, EHOSTUNREACH, false},
      {1, 3, EHOSTUNREACH, false}, {1, 4, ECONNREFUSED, true}, {1, 5, EACCES, true},
      {1, 6, EACCES, true},        {1, 7, EPROTO, true},       {2, 0, EMSGSIZE, false},
      {3, 0, EHOSTUNREACH, false}, {4, 1, EPROTO, true},       {137, 0, 0, false},
      {100, 0, EPROTO, false},
  };
  for (const Row& row : rows6) {
    CAPTURE(row.type);
    CAPTURE(row.code);
    const wire::IcmpMeaning m = wire::meaning_of_icmp6(uint8_t(row.type), uint8_t(row.code));
    CHECK(m.errno_code == row.error);
    CHECK(m.hard == row.hard);
    CHECK(m.too_big == (row.type == 2));
  }
}

TEST_CASE("a quote must hold the beginning of a datagram and eight bytes of its transport header") {
  const IpAddress a = ip("10.0.0.1"), b = ip("10.0.0.2");
  const Bytes whole = udp_packet({a, 1000}, {b, 53}, Bytes(100, 7));
  wire::IcmpQuote quote;
  for (size_t size = 0; size <= whole.size(); ++size) {
    CAPTURE(size);
    const Bytes cut(whole.begin(), whole.begin() + long(size));
    CHECK(wire::parse_quote4(cut, quote) == (size >= 28));
  }
  CHECK(quote.source == a);
  CHECK(quote.destination == b);
  CHECK(quote.protocol == 17);
  CHECK(quote.total_bytes == 128);
  CHECK(quote.transport.size() == 108);
  // RFC 4884 extensions behind the datagram are no part of it.
  REQUIRE(wire::parse_quote4(whole + Bytes(40, 9), quote));
  CHECK(quote.transport.size() == 108);
  CHECK(!wire::parse_quote4(ipv4(a, b, Bytes(20), {.fragment = 0x2001}), quote));
  CHECK(wire::parse_quote4(ipv4(a, b, Bytes(20), {.fragment = 0x2000}), quote));
  CHECK(!wire::parse_quote4(ipv4(a, b, Bytes(7)) + Bytes(10), quote));
}

TEST_CASE("a quoted IPv6 datagram") {
  const IpAddress a = ip("2001:db8::1"), b = ip("2001:db8::2");
  const Bytes whole = udp_packet({a, 1000}, {b, 53}, Bytes(50, 7));
  wire::IcmpQuote quote;
  for (size_t size = 0; size <= whole.size(); ++size) {
    CHECK(wire::parse_quote6(Bytes(whole.begin(), whole.begin() + long(size)), quote) ==
          (size >= 48));
  }
  CHECK(quote.source == a);
  CHECK(quote.destination == b);
  CHECK(quote.total_bytes == 98);
  CHECK(quote.transport.size() == 58);
  CHECK(!wire::parse_quote6(ipv6(a, b, 17, Bytes(7)) + Bytes(9), quote));
}

TEST_CASE("UDP lengths") {
  const Bytes good = udp({ip("10.0.0.1"), 7}, {ip("10.0.0.2"), 9}, {1, 2, 3});
  wire::UdpView view;
  REQUIRE(wire::parse_udp(good, view));
  CHECK(view.source_port == 7);
  CHECK(view.destination_port == 9);
  CHECK(view.length_bytes == 11);
  for (size_t size = 0; size < 11; ++size) {
    CHECK(!wire::parse_udp({good.data(), size}, view));
  }
  CHECK(wire::parse_udp(good + Bytes(20), view));
  for (uint32_t length : {0u, 1u, 7u, 12u, 65535u}) {
    Bytes bad = good;
    put16(bad, 4, length);
    CHECK(!wire::parse_udp(bad, view));
  }
}

TEST_CASE("UDP checksums: right, wrong, absent and unfinished") {
  struct Pair {
    IpAddress a, b;
  };
  for (const Pair& pair :
       {Pair{ip("10.0.0.1"), ip("10.0.0.2")}, Pair{ip("fd00::1"), ip("fd00::2")}}) {
    const bool v4 = pair.a.is_v4();
    Bytes d = udp({pair.a, 7}, {pair.b, 9}, {1, 2, 3});
    CHECK(wire::udp_checksum_ok(d, pair.a, pair.b, false));
    for (size_t bit = 0; bit < d.size() * 8; ++bit) {
      d[bit / 8] ^= uint8_t(1 << bit % 8);
      CHECK(!wire::udp_checksum_ok(d, pair.a, pair.b, false));
      d[bit / 8] ^= uint8_t(1 << bit % 8);
    }
    CHECK(!wire::udp_checksum_ok(d, pair.b, ip("10.9.9.9"), false));
    put16(d, 6, 0);
    CHECK(wire::udp_checksum_ok(d, pair.a, pair.b, false) == v4);
    // Only the pseudo header's sum, as a virtual device leaves it.
    const uint16_t pseudo = uint16_t(~naive_checksum(pseudo_header(pair.a, pair.b, 17, 11)));
    put16(d, 6, pseudo);
    CHECK(wire::udp_checksum_ok(d, pair.a, pair.b, true));
    CHECK(!wire::udp_checksum_ok(d, pair.a, pair.b, false));
    put16(d, 6, pseudo + 1u);
    CHECK(!wire::udp_checksum_ok(d, pair.a, pair.b, true));
  }
}

TEST_CASE("a computed UDP checksum of zero is sent as all ones") {
  const IpAddress a = ip("10.0.0.1"), b = ip("10.0.0.2");
  int zeros = 0;
  for (uint32_t filler = 0; filler < 65536; ++filler) {
    Bytes ours = Bytes(8) + be16(filler);
    wire::build_udp(ours, 1000, 2000, a, b);
    if (filler % 97 == 0) CHECK(ours == udp({a, 1000}, {b, 2000}, be16(filler)));
    CHECK((ours[6] | ours[7]) != 0);
    zeros += ours[6] == 0xff && ours[7] == 0xff;
  }
  CHECK(zeros == 1);  // exactly one filler makes the sum zero
}
