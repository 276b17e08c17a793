// SPDX-License-Identifier: MIT
// Single segments in every state: what is answered, what is not. RFC 9293 3.10.7, 5961, 7323; rows
// C1 to C6, C22.
#include "tcp/peer.h"

using namespace millrace;
using namespace millrace::test;
using namespace millrace::wire;

TEST_CASE("C1: segments to a closed port") {
  Scene s;
  s.send({.seq = 77, .flags = kTcpSyn, .payload = "abc"});
  Packet p = s.expect();
  CHECK(p.tcp.flags == (kTcpRst | kTcpAck));
  CHECK(p.tcp.seq == Seq(0));
  CHECK(p.tcp.ack == Seq(77 + 1 + 3));
  s.send({.seq = 77, .ack = 4242, .flags = kTcpAck});
  p = s.expect();
  CHECK(p.tcp.flags == kTcpRst);
  CHECK(p.tcp.seq == Seq(4242));
  s.send({.seq = 77, .ack = 4242, .flags = kTcpRst | kTcpAck});
  CHECK(s.silent());
}

TEST_CASE("C2: a listener answers only SYN and stray ACK") {
  Scene s;
  s.listen();
  for (int flags : {0, int(kTcpFin), int(kTcpRst), int(kTcpFin | kTcpPsh | kTcpUrg),
                    int(kTcpSyn | kTcpFin), int(kTcpSyn | kTcpRst), 0xff}) {
    CAPTURE(flags);
    s.send({.seq = 1, .ack = 2, .flags = uint8_t(flags)});
    CHECK(s.silent());
  }
  s.send({.seq = 1, .ack = 99, .flags = kTcpAck});
  const Packet p = s.expect();
  CHECK(p.tcp.flags == kTcpRst);
  CHECK(p.tcp.seq == Seq(99));
}

TEST_CASE("C3: SYN-SENT") {
  Scene s;
  auto c = s.host.tcp->connect(s.now, {kAddressA, 80}, {kAddressB, 5555}, {}, 4);
  REQUIRE(c.ok());
  const uint32_t iss = s.expect().tcp.seq.value();
  s.send({.seq = 9, .ack = iss + 2, .flags = kTcpSyn | kTcpAck});  // bad ACK
  Packet p = s.expect();
  CHECK(p.tcp.flags == kTcpRst);
  CHECK(p.tcp.seq == Seq(iss + 2));
  s.send({.seq = 9, .flags = kTcpRst});  // blind RST
  CHECK(s.silent());
  CHECK(s.host.errors.empty());
  s.send({.seq = 9, .ack = iss + 1, .flags = kTcpRst | kTcpAck});
  CHECK(s.host.errors[4] == ECONNREFUSED);
  s.host.tcp->close(s.now, *c);
}

TEST_CASE(
    "C4: a bad checksum changes nothing and is not answered; unfinished ones are taken where they "
    "may be") {
  Scene s;
  s.open();
  std::vector<uint8_t> bytes =
      make_packet({.seq = s.peer_seq, .ack = s.host_seq, .payload = "data"});
  bytes.back() ^= 1;
  s.host.deliver(s.now, bytes);
  CHECK(s.silent());
  CHECK(s.host.tcp->readable_bytes(*s.c) == 0);
  CHECK(s.host.tcp->counters().tcp_bad_checksum == 1);
  // kChecksumMayBePartial: only the pseudo header has been summed.
  bytes.back() ^= 1;
  const uint16_t partial =
      checksum_fold(checksum_pseudo(kAddressB, kAddressA, 6, uint32_t(bytes.size()) - 20));
  std::memcpy(bytes.data() + 36, &partial, 2);
  s.host.deliver(s.now, bytes);
  CHECK(s.host.tcp->counters().tcp_bad_checksum == 2);
  s.host.deliver(s.now, bytes, Frame::kChecksumMayBePartial);
  CHECK(s.host.read(s.now, *s.c) == "data");
}

TEST_CASE("C4: a checksum that seems unfinished behind finished ones is believed the second time") {
  // More likely it was damaged, and the sender repeats it.
  Scene s;
  s.open();
  std::vector<std::vector<uint8_t>> packets;
  for (const char* text : {"one", "two", "six"}) {
    packets.push_back(make_packet({.seq = s.peer_seq, .ack = s.host_seq, .payload = text}));
    s.peer_seq = s.peer_seq + 3;
  }
  s.host.deliver(s.now, packets[0], Frame::kChecksumMayBePartial);
  CHECK(s.host.read(s.now, *s.c) == "one");
  for (size_t i = 1; i < packets.size(); ++i) {
    const auto bytes = uint32_t(packets[i].size()) - 20;
    const uint16_t partial = checksum_fold(checksum_pseudo(kAddressB, kAddressA, 6, bytes));
    std::memcpy(packets[i].data() + 36, &partial, 2);
  }
  s.host.deliver(s.now, packets[1], Frame::kChecksumMayBePartial);
  CHECK(s.host.tcp->counters().tcp_bad_checksum == 1);
  CHECK(s.host.tcp->readable_bytes(*s.c) == 0);
  s.host.deliver(s.now, packets[1], Frame::kChecksumMayBePartial);
  s.host.deliver(s.now, packets[2], Frame::kChecksumMayBePartial);
  CHECK(s.host.read(s.now, *s.c) == "twosix");
  CHECK(s.host.tcp->counters().tcp_bad_checksum == 1);
}

TEST_CASE("C5: the peer's MSS is believed within reason, options are deducted") {
  struct Row {
    int mss;
    uint32_t payload;
  };
  for (Row r : {Row{-1, 536}, Row{0, 536}, Row{1, 48}, Row{47, 48}, Row{100, 100}, Row{1460, 1460},
                Row{65535, 1460}}) {
    CAPTURE(r.mss);
    Scene s;
    TcpOptions syn;
    syn.has_mss = r.mss >= 0;
    syn.mss_bytes = uint16_t(r.mss);
    s.open(syn);
    CHECK(s.host.tcp->payload_mss_bytes(*s.c) == r.payload);
  }
  Scene s;
  s.open({.mss_bytes = 1460, .has_mss = true, .has_timestamps = true});
  CHECK(s.host.tcp->payload_mss_bytes(*s.c) == 1448);
}

TEST_CASE("C6: data on a SYN is not taken") {
  Scene s;
  s.listen();
  s.send({.seq = 100, .flags = kTcpSyn, .payload = "early"});
  CHECK(s.expect().tcp.ack == Seq(101));
}

TEST_CASE("C22: broken and unknown options do no harm") {
  const std::vector<std::vector<uint8_t>> all = {{253, 8, 1, 2, 3, 4, 5, 6},
                                                 {2, 0, 5, 180},
                                                 {2, 1, 5, 180},
                                                 {2, 40, 5, 180},
                                                 {1, 1, 1, 8},
                                                 {8, 10, 1, 1},
                                                 {5, 3, 1, 1},
                                                 {29, 2, 1, 1},
                                                 {3, 3, 255, 0},
                                                 {0, 8, 10, 1},
                                                 {2, 4, 0, 1, 2, 4, 0, 0}};
  for (const auto& options : all) {
    Scene s;
    s.listen();
    s.host.deliver(s.now, make_packet({.seq = 5, .flags = kTcpSyn}, options));
    CHECK(s.expect().tcp.flags == (kTcpSyn | kTcpAck));
    Scene t;
    t.open();
    t.host.deliver(t.now,
                   make_packet({.seq = t.peer_seq, .ack = t.host_seq, .payload = "x"}, options));
    CHECK(t.host.read(t.now, *t.c) == "x");
  }
}

TEST_CASE("cut short anywhere, a segment is dropped") {
  Scene s;
  s.open({.mss_bytes = 1460, .has_mss = true, .has_timestamps = true});
  const std::vector<uint8_t> whole =
      make_packet({.seq = s.peer_seq, .ack = s.host_seq, .payload = "0123456789"});
  for (size_t n = 20; n < whole.size(); ++n) {
    std::vector<uint8_t> part(whole.begin(), whole.begin() + long(n));
    part[2] = uint8_t(n >> 8), part[3] = uint8_t(n);
    part[10] = part[11] = 0;
    const uint16_t sum = checksum_finish(checksum_partial({part.data(), 20}));
    std::memcpy(&part[10], &sum, 2);
    s.host.deliver(s.now, part);
  }
  CHECK(s.silent());
  CHECK(s.host.tcp->readable_bytes(*s.c) == 0);
}

TEST_CASE("RFC 5961: only the exact RST kills; challenge ACKs are rationed") {
  Scene s;
  s.open();
  s.send({.seq = s.peer_seq + 70000, .flags = kTcpRst});  // outside the window
  CHECK(s.silent());
  for (int i = 0; i < 10; ++i) {
    s.send({.seq = s.peer_seq + 100, .flags = kTcpRst});
    s.advance(Duration::millis(100));
  }
  CHECK(s.count_sent() == 2);  // 1 per 500 ms
  s.advance(Duration::seconds(1));
  for (uint32_t seq : {s.peer_seq, s.peer_seq + 1, s.peer_seq - 1, s.peer_seq + 0x80000000u}) {
    s.send({.seq = seq, .flags = kTcpSyn});
    const Packet p = s.expect();
    CHECK(p.tcp.flags == kTcpAck);
    CHECK(p.tcp.ack == Seq(s.peer_seq));
    s.advance(Duration::seconds(1));
  }
  s.send({.seq = s.peer_seq, .ack = s.host_seq + 1});  // acknowledges what was not sent
  CHECK(s.expect().tcp.flags == kTcpAck);
  s.advance(Duration::seconds(1));
  s.send({.seq = s.peer_seq, .ack = s.host_seq - 100000, .payload = "blind"});
  CHECK(s.expect().tcp.flags == kTcpAck);
  CHECK(s.host.tcp->readable_bytes(*s.c) == 0);
  CHECK(s.host.errors.empty());
  s.send({.seq = s.peer_seq, .flags = kTcpRst});
  CHECK(s.host.errors[9] == ECONNRESET);
  CHECK(s.host.tcp->connection_count() == 1);  // until its user closes it
  s.host.tcp->close(s.now, s.c);
  CHECK(s.host.tcp->connection_count() == 0);
}

TEST_CASE(
    "RFC 7323: PAWS drops old timestamps, not RSTs; TSecr follows the last in-sequence segment") {
  Scene s;
  s.open({.mss_bytes = 1460, .has_mss = true, .has_timestamps = true});
  s.ts = 1000;
  s.data("first");
  CHECK(s.expect().options.ts_echo == 1000);
  s.ts = 1005;
  // Out of order: TS.Recent must not move.
  s.send({.seq = s.peer_seq + 10, .ack = s.host_seq, .payload = "later"});
  CHECK(s.expect().options.ts_echo == 1000);
  s.ts = 900;
  s.send({.seq = s.peer_seq, .ack = s.host_seq, .payload = "ancient"});
  const Packet p = s.expect();
  CHECK(p.tcp.ack == Seq(s.peer_seq));
  CHECK(s.host.tcp->counters().tcp_paws_dropped == 1);
  CHECK(s.host.read(s.now, *s.c) == "first");
  s.ts = 1000 + 0x80000001;  // 2^31 ahead is behind
  s.send({.seq = s.peer_seq, .ack = s.host_seq, .payload = "wild"});
  s.drain();
  s.ts = 1010;
  s.data("ok");
  CHECK(s.host.read(s.now, *s.c) == "ok");
  s.ts = 10;
  s.send({.seq = s.peer_seq, .flags = kTcpRst});
  CHECK(s.host.errors[9] == ECONNRESET);
}

TEST_CASE("SACK: first block is the newest, duplicates are reported once") {
  Scene s;
  s.open({.mss_bytes = 1460, .has_mss = true, .sack_permitted = true});
  const uint32_t base = s.peer_seq;
  auto at = [&](uint32_t offset, uint32_t length) {
    s.send({.seq = base + offset, .ack = s.host_seq, .payload = std::string(length, 'x')});
    return s.expect();
  };
  Packet p = at(100, 100);
  REQUIRE(p.options.sack_count == 1);
  CHECK(p.options.sack[0].start == Seq(base + 100));
  p = at(300, 100);
  REQUIRE(p.options.sack_count == 2);
  CHECK(p.options.sack[0].start == Seq(base + 300));
  CHECK(p.options.sack[1].start == Seq(base + 100));
  p = at(300, 100);  // a duplicate: DSACK first, its block after it
  REQUIRE(p.options.sack_count == 3);
  CHECK(p.options.sack[0].start == Seq(base + 300));
  CHECK(p.options.sack[0].end == Seq(base + 400));
  CHECK(p.options.sack[1].start == Seq(base + 300));
  p = at(200, 100);  // joins the two
  REQUIRE(p.options.sack_count == 1);
  CHECK(p.options.sack[0].start == Seq(base + 100));
  CHECK(p.options.sack[0].end == Seq(base + 400));
  p = at(0, 100);
  CHECK(p.options.sack_count == 0);
  CHECK(p.tcp.ack == Seq(base + 400));
  p = at(50, 100);  // below the cumulative ACK
  REQUIRE(p.options.sack_count == 1);
  CHECK(p.options.sack[0].start == Seq(base + 50));
  CHECK(p.options.sack[0].end == Seq(base + 150));
  CHECK(s.host.tcp->readable_bytes(*s.c) == 400);
}

TEST_CASE("SegmentSmack: thousands of one-byte islands take bounded memory and no time") {
  Scene s;
  s.open({.mss_bytes = 1460, .has_mss = true, .sack_permitted = true});
  const uint32_t before = s.host.pool.available();
  for (uint32_t i = 0; i < 20000; ++i) {
    s.send({.seq = s.peer_seq + 2 + (i * 7919 % 30000) * 2, .ack = s.host_seq, .payload = "x"});
    s.drain();
  }
  CHECK(before - s.host.pool.available() <= 512);
  // The stream goes on all the same.
  const std::string all(60100, 'y');
  for (uint32_t i = 0; i < all.size(); i += 1000) s.data(all.substr(i, 1000));
  CHECK(s.host.read(s.now, *s.c).size() >= 60100);
}

TEST_CASE("small in-order segments share frames") {
  Scene s;
  s.open();
  const uint32_t before = s.host.pool.available();
  for (int i = 0; i < 5000; ++i) s.data("a");
  s.drain();
  CHECK(before - s.host.pool.available() <= 5);
  CHECK(s.host.read(s.now, *s.c) == std::string(5000, 'a'));
}

TEST_CASE("urgent data stays in the stream, whatever its pointer") {
  for (int urgent : {0, 1, 3, 65535}) {
    Scene s;
    s.open();
    std::vector<uint8_t> bytes = make_packet(
        {.seq = s.peer_seq, .ack = s.host_seq, .flags = kTcpAck | kTcpUrg, .payload = "abc"});
    store16(&bytes[38], uint16_t(urgent));
    fix_checksum(bytes);
    s.host.deliver(s.now, bytes);
    CHECK(s.host.read(s.now, *s.c) == "abc");
  }
}

TEST_CASE("LAND and impossible sources are ignored") {
  Scene s;
  s.listen();
  s.send({.seq = 1, .flags = kTcpSyn, .from_port = 80, .from = kAddressA});
  s.send({.seq = 1, .flags = kTcpSyn, .from = IpAddress::v4(0xe0000001)});
  s.send({.seq = 1, .flags = kTcpSyn, .from = IpAddress::v4(0)});
  s.send({.seq = 1, .flags = kTcpSyn, .from = IpAddress::v4(0xffffffff)});
  CHECK(s.silent());
}
