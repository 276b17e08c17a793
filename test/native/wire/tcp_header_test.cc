// SPDX-License-Identifier: MIT
#include "wire/tcp_header.h"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace millrace::wire;

namespace {

std::vector<uint8_t> build(const TcpOptions& options, uint8_t flags) {
  TcpHeader h{.source_port = 1,
              .destination_port = 2,
              .seq = Seq(0xfffffff0),
              .ack = Seq(7),
              .window = 500,
              .urgent = 9,
              .header_bytes = uint8_t(20 + tcp_options_bytes(options)),
              .flags = flags};
  std::vector<uint8_t> bytes(h.header_bytes, 0xee);
  build_tcp_header(bytes.data(), h, options);
  return bytes;
}

}  // namespace

TEST_CASE("what is built is parsed again, in every combination of options") {
  for (int mask = 0; mask < 16; ++mask) {
    for (uint8_t sacks = 0; sacks <= 4; ++sacks) {
      TcpOptions o;
      o.has_mss = mask & 1, o.mss_bytes = o.has_mss ? 1460 : 0;
      o.has_timestamps = mask & 2;
      if (o.has_timestamps) o.ts_value = 0x01020304, o.ts_echo = 0xfffefdfc;
      o.sack_permitted = mask & 4;
      o.has_window_scale = mask & 8, o.window_scale = o.has_window_scale ? 7 : 0;
      o.sack_count = sacks;
      for (uint8_t i = 0; i < sacks; ++i) o.sack[i] = {Seq(i * 100u), Seq(i * 100u + 50)};
      const uint32_t size = tcp_options_bytes(o);
      CHECK(size % 4 == 0);
      if (size > 40) continue;
      const bool syn = sacks == 0;
      const auto bytes = build(o, syn ? kTcpSyn : kTcpAck);
      TcpHeader h;
      REQUIRE(parse_tcp_header(bytes, h));
      CHECK(h.source_port == 1);
      CHECK(h.destination_port == 2);
      CHECK(h.seq == Seq(0xfffffff0));
      CHECK(h.ack == Seq(7));
      CHECK(h.window == 500);
      CHECK(h.urgent == 9);
      CHECK(h.header_bytes == bytes.size());
      TcpOptions p;
      parse_tcp_options(std::span(bytes).subspan(20), syn, p);
      CHECK(p.has_timestamps == o.has_timestamps);
      CHECK(p.ts_value == o.ts_value);
      CHECK(p.ts_echo == o.ts_echo);
      CHECK(p.has_mss == (syn && o.has_mss));
      CHECK(p.sack_permitted == (syn && o.sack_permitted));
      CHECK(p.has_window_scale == (syn && o.has_window_scale));
      CHECK(p.sack_count == sacks);
      for (uint8_t i = 0; i < sacks; ++i) CHECK(p.sack[i].end == o.sack[i].end);
    }
  }
}

TEST_CASE("headers shorter than they say are refused") {
  auto bytes = build({}, kTcpAck);
  TcpHeader h;
  for (size_t n = 0; n < 20; ++n) CHECK(!parse_tcp_header(std::span(bytes).first(n), h));
  for (int words : {0, 1, 4, 6, 15}) {
    bytes[12] = uint8_t(words << 4);
    CHECK(!parse_tcp_header(bytes, h));
  }
  bytes[12] = 5 << 4;
  CHECK(parse_tcp_header(bytes, h));
}

TEST_CASE("a window scale above 14 is 14; SACK of a wrong length is none") {
  TcpOptions o;
  const std::vector<uint8_t> scale = {3, 3, 255, 0};
  parse_tcp_options(scale, true, o);
  CHECK(o.window_scale == 14);
  for (uint8_t length : {2, 3, 9, 11, 17}) {
    std::vector<uint8_t> sack(40, 1);
    sack[0] = 5, sack[1] = length;
    TcpOptions s;
    parse_tcp_options(sack, false, s);
    CHECK(s.sack_count == 0);
  }
}

TEST_CASE("random bytes never lead beyond the options") {
  std::mt19937 random(3);
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> bytes(random() % 41);
    for (auto& b : bytes) b = random() % 4 ? uint8_t(random() % 12) : uint8_t(random());
    TcpOptions o;
    parse_tcp_options(bytes, i & 1, o);
    CHECK(o.sack_count <= 4);
    CHECK(o.window_scale <= 14);
  }
}
