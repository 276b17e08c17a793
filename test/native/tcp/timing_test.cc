// SPDX-License-Identifier: MIT
// When things happen: delayed ACKs, Nagle, probes, retries, keep-alive, the ends of states. Rows C7
// to C21.
#include "tcp/peer.h"

using namespace millrace;
using namespace millrace::test;
using namespace millrace::wire;

namespace {

TcpOptions plain_syn() {
  return {.mss_bytes = 1460, .has_mss = true};
}
TcpOptions full_syn() {
  return {.mss_bytes = 1460, .has_mss = true, .has_timestamps = true, .sack_permitted = true};
}
double ms(Duration d) {
  return double(d.ns) / 1e6;
}

}  // namespace

TEST_CASE("C11: the first 16 segments are acknowledged at once, then every second or after 40 ms") {
  Scene s;
  s.open(full_syn());
  const std::string full(1448, 'd');
  for (int i = 0; i < 16; ++i) {
    s.data(full);
    CHECK(s.count_sent() == 1);
    s.advance(Duration::millis(5));
  }
  s.data(full);
  CHECK(s.silent());
  s.data(full);
  CHECK(s.count_sent() == 1);
  s.data(full);
  const Instant start = s.now;
  REQUIRE(s.wait(Duration::seconds(1)));
  CHECK(ms(s.now - start) >= 39.9);
  CHECK(ms(s.now - start) <= 45);
}

TEST_CASE("C12: out of order, gap filling and duplicate segments are acknowledged at once") {
  Scene s;
  s.open(full_syn());
  for (int i = 0; i < 20; ++i) s.data(std::string(1448, 'd'));
  s.advance(Duration::millis(100));
  s.drain();
  const uint32_t base = s.peer_seq;
  s.send({.seq = base + 100, .ack = s.host_seq, .payload = std::string(100, 'b')});
  CHECK(s.count_sent() == 1);
  s.send({.seq = base, .ack = s.host_seq, .payload = std::string(100, 'a')});
  CHECK(s.count_sent() == 1);
  s.send({.seq = base, .ack = s.host_seq, .payload = std::string(100, 'a')});
  CHECK(s.count_sent() == 1);
}

TEST_CASE("C13: Nagle holds a second short segment, not the first; nodelay and FIN are not held") {
  Scene s;
  s.open(full_syn());
  s.write("one");
  CHECK(s.expect().payload() == "one");
  s.write("two");
  s.write("three");
  CHECK(s.silent());
  s.ack(s.host_seq + 3);
  CHECK(s.expect().payload() == "twothree");  // merged
  s.write("x");
  CHECK(s.silent());
  s.host.tcp->set_option(s.now, *s.c, tcp::Option::kNodelay, 1);
  CHECK(s.expect().payload() == "x");
  s.write("y");
  CHECK(s.expect().payload() == "y");
  s.host.tcp->set_option(s.now, *s.c, tcp::Option::kNodelay, 0);
  s.write("z");
  CHECK(s.silent());
  s.host.tcp->shutdown_write(s.now, *s.c);
  const Packet p = s.expect();
  CHECK(p.payload() == "z");
  CHECK(p.has(kTcpFin));
  CHECK(p.has(kTcpPsh));
}

TEST_CASE("C14: silly window avoidance on both sides") {
  Scene s;
  s.open(plain_syn(), 1000);
  s.write(std::string(5000, 'w'));
  CHECK(s.expect().length == 500);  // half of the largest window ever offered
  CHECK(s.expect().length == 500);
  CHECK(s.silent());
  s.ack(s.host_seq + 1000, 100);  // a silly window
  CHECK(s.silent());
  s.ack(s.host_seq + 1000, 500);
  CHECK(s.expect().length == 500);
  // Receiver: reading a little of a full buffer does not open a little window.
  tcp::StackOptions small;
  small.receive_buffer_bytes = small.receive_buffer_max_bytes = 10000;
  Scene r(small);
  r.open(plain_syn());
  for (int i = 0; i < 10; ++i) r.data(std::string(1000, 'f'));
  r.advance(Duration::millis(50));
  uint16_t window = 1;
  while (auto p = r.next()) window = p->tcp.window;
  CHECK(window == 0);
  r.host.read(r.now, *r.c, 500);
  CHECK(r.silent());
  r.host.read(r.now, *r.c, 3000);
  const Packet p = r.expect();
  CHECK(p.tcp.window == 3500);
}

TEST_CASE("C15: zero window probes carry nothing, double, and end only when nobody answers") {
  Scene s;
  s.open(full_syn(), 0);
  s.write("waiting");
  CHECK(s.silent());
  std::vector<Instant> at{s.now};
  for (int i = 0; i < 6; ++i) {
    auto p = s.wait(Duration::seconds(200));
    REQUIRE(p);
    at.push_back(s.now);
    CHECK(p->length == 0);
    CHECK(p->tcp.seq == Seq(s.host_seq - 1));
    s.ack(s.host_seq, 0);
  }
  CHECK(ms(at[1] - at[0]) >= 200);
  CHECK(ms(at[1] - at[0]) <= 280);
  for (size_t i = 2; i < at.size(); ++i) {
    const double ratio = ms(at[i] - at[i - 1]) / ms(at[i - 1] - at[i - 2]);
    CHECK(ratio > 1.9);
    CHECK(ratio < 2.1);
  }
  // Hours of answered probes do not kill it.
  for (int i = 0; i < 60; ++i) {
    REQUIRE(s.wait(Duration::seconds(130)));
    s.ack(s.host_seq, 0);
  }
  CHECK(s.host.errors.empty());
  s.ack(s.host_seq, 1000);
  CHECK(s.expect().payload() == "waiting");
  s.ack(s.host_seq + 7, 0);
  // Unanswered: 15 probes, then the end.
  s.write("again");
  int probes = 0;
  while (s.wait(Duration::seconds(200))) ++probes;
  CHECK(probes == 15);
  CHECK(s.host.errors[9] == ETIMEDOUT);
  s.host.tcp->close(s.now, s.c);
}

TEST_CASE("C16, C17: a shrinking window does no harm, an old segment cannot shrink it") {
  Scene s;
  s.open(plain_syn(), 10000);
  s.write(std::string(5840, 's'));
  CHECK(s.count_sent() == 4);
  s.ack(s.host_seq + 1460, 1460);  // the edge moves back over data in flight
  s.ack(s.host_seq + 1460, 0);
  s.advance(Duration::seconds(3));
  CHECK(s.host.errors.empty());
  s.drain();
  s.ack(s.host_seq + 5840, 10000);
  // Old: lower sequence number, tiny window.
  s.send({.seq = s.peer_seq - 1, .ack = s.host_seq + 5840, .window = 1});
  s.drain();
  s.write(std::string(1460, 't'));
  CHECK(s.expect().length == 1460);
}

TEST_CASE("C18: keep-alive after 7200 s, 9 probes 75 s apart, then RST and ETIMEDOUT") {
  Scene s;
  s.open(full_syn());
  Instant start = s.now;
  auto p = s.wait(Duration::seconds(7300));
  REQUIRE(p);
  CHECK(ms(s.now - start) >= 7'199'000);
  CHECK(ms(s.now - start) < 7'201'000);
  CHECK(p->tcp.seq == Seq(s.host_seq - 1));
  CHECK(p->length == 0);
  s.ack(s.host_seq);  // alive: it starts again
  start = s.now;
  REQUIRE(s.wait(Duration::seconds(7300)));
  CHECK(ms(s.now - start) >= 7'199'000);
  for (int i = 0; i < 8; ++i) {
    start = s.now;
    REQUIRE(s.wait(Duration::seconds(80)));
    CHECK(ms(s.now - start) >= 74'900);
  }
  CHECK(s.host.errors.empty());
  p = s.wait(Duration::seconds(80));
  REQUIRE(p);
  CHECK(p->tcp.flags == (kTcpRst | kTcpAck));
  CHECK(s.host.errors[9] == ETIMEDOUT);
  s.host.tcp->close(s.now, s.c);
}

TEST_CASE("C19: SYN retries as Linux") {
  Scene s;
  auto c = s.host.tcp->connect(s.now, {kAddressA, 80}, {kAddressB, 5555}, {}, 4);
  REQUIRE(c.ok());
  s.expect();
  const double gaps[] = {1, 1, 1, 1, 1, 2, 4, 8, 16, 32};
  const Instant start = s.now;
  for (double gap : gaps) {
    const Instant before = s.now;
    REQUIRE(s.wait(Duration::seconds(70)));
    CHECK(ms(s.now - before) >= gap * 1000 - 1);
    CHECK(ms(s.now - before) < gap * 1000 + 40);
  }
  CHECK(!s.wait(Duration::seconds(100)));
  CHECK(s.host.errors[4] == ETIMEDOUT);
  CHECK(ms(s.now - start) >= 131'000);
  s.host.tcp->close(s.now, *c);
}

TEST_CASE("C20: SYN-ACK retries at 1, 3, 7, 15, 31 s, then forgotten without RST") {
  Scene s;
  s.listen();
  s.send({.seq = 1, .flags = kTcpSyn});
  s.expect();
  const Instant start = s.now;
  for (double at : {1, 3, 7, 15, 31}) {
    REQUIRE(s.wait(Duration::seconds(40)));
    CHECK(ms(s.now - start) >= at * 1000 - 1);
    CHECK(ms(s.now - start) < at * 1000 + 20);
  }
  CHECK(!s.wait(Duration::seconds(100)));
  CHECK(s.host.tcp->counters().tcp_half_open_expired == 1);
}

TEST_CASE(
    "C21: data is given up after about 924 s, an orphan after about 100 s, by user timeout "
    "sooner") {
  Scene s;
  s.open(full_syn());
  s.write("into the void");
  Instant start = s.now;
  while (s.host.errors.empty() && ms(s.now - start) < 2e6)
    s.advance(Duration::millis(100)), s.drain();
  CHECK(s.host.errors[9] == ETIMEDOUT);
  CHECK(ms(s.now - start) >= 924'000);
  CHECK(ms(s.now - start) <= 1'050'000);
  s.host.tcp->close(s.now, s.c);

  Scene o;
  o.open(full_syn());
  o.host.tcp->close(o.now, o.c);
  start = o.now;
  while (o.host.tcp->connection_count() && ms(o.now - start) < 2e6) {
    o.advance(Duration::millis(100));
    o.drain();
  }
  CHECK(o.host.tcp->connection_count() == 0);
  CHECK(ms(o.now - start) >= 100'000);
  CHECK(ms(o.now - start) <= 130'000);

  Scene u;
  u.open(full_syn());
  u.host.tcp->set_option(u.now, *u.c, tcp::Option::kUserTimeout, 5000);
  u.write("patience");
  start = u.now;
  while (u.host.errors.empty() && ms(u.now - start) < 2e6)
    u.advance(Duration::millis(10)), u.drain();
  CHECK(u.host.errors[9] == ETIMEDOUT);
  CHECK(ms(u.now - start) >= 5'200);  // from the first retransmission on, as Linux
  CHECK(ms(u.now - start) <= 5'500);
  u.host.tcp->close(u.now, u.c);
}

TEST_CASE("C8: close with unread data, or data after close, means RST") {
  Scene s;
  s.open();
  s.data("never read");
  s.drain();
  s.host.tcp->close(s.now, s.c);
  CHECK(s.expect().has(kTcpRst));
  CHECK(s.host.tcp->connection_count() == 0);

  Scene t;
  t.open();
  t.host.tcp->close(t.now, t.c);
  CHECK(t.expect().has(kTcpFin));
  t.ack(t.host_seq + 1);
  CHECK(t.host.tcp->connection_count() == 1);
  t.host_seq += 1;
  t.data("too late");
  CHECK(t.expect().has(kTcpRst));
  CHECK(t.host.tcp->connection_count() == 0);
}

TEST_CASE("C7: an orphan in FIN-WAIT-2 lives 60 s") {
  Scene s;
  s.open();
  s.host.tcp->close(s.now, s.c);
  s.drain();
  s.ack(s.host_seq + 1);
  s.advance(Duration::seconds(59));
  CHECK(s.host.tcp->connection_count() == 1);
  s.advance(Duration::seconds(2));
  CHECK(s.host.tcp->connection_count() == 0);
}

TEST_CASE(
    "C10: TIME-WAIT survives RST, repeats the ACK of a FIN, and reopens for a newer SYN only") {
  Scene s;
  s.open(full_syn());
  s.host.tcp->close(s.now, s.c);
  s.drain();
  s.host_seq += 1;
  s.ack(s.host_seq);
  s.ts = 600;
  s.data("", kTcpFin);
  CHECK(s.expect().tcp.ack == Seq(s.peer_seq));
  s.send({.seq = s.peer_seq, .flags = kTcpRst});
  CHECK(s.host.tcp->connection_count() == 1);
  s.advance(Duration::seconds(40));
  s.send({.seq = s.peer_seq - 1, .ack = s.host_seq, .flags = kTcpFin | kTcpAck});
  CHECK(s.expect().tcp.ack == Seq(s.peer_seq));
  s.advance(Duration::seconds(40));  // restarted
  CHECK(s.host.tcp->connection_count() == 1);
  s.ts = 599;
  s.send({.seq = s.peer_seq + 5, .flags = kTcpSyn, .options = {.has_mss = true}});
  CHECK(s.expect().tcp.flags == kTcpAck);
  CHECK(s.host.tcp->connection_count() == 1);
  s.ts = 700;
  TcpOptions syn = full_syn();
  syn.ts_value = 700;
  s.send({.seq = 5, .flags = kTcpSyn, .options = syn});
  const Packet p = s.expect();
  CHECK(p.tcp.flags == (kTcpSyn | kTcpAck));
  CHECK(p.tcp.ack == Seq(6));
  CHECK(p.tcp.seq > Seq(s.host_seq));
  CHECK(s.host.tcp->connection_count() == 0);
}

TEST_CASE("C23: a full backlog drops SYNs and keeps handshakes waiting") {
  Scene s;
  s.listen({}, 1);
  for (uint16_t port = 1; port <= 4; ++port) {
    s.send({.seq = 10, .flags = kTcpSyn, .from_port = port});
    auto p = s.next();
    if (!p) continue;
    s.send({.seq = 11, .ack = p->tcp.seq.value() + 1, .from_port = port});
  }
  CHECK(s.host.acceptable == 2);
  CHECK(s.host.tcp->counters().tcp_listen_overflows == 2);
  CHECK(s.host.tcp->accept(*s.listener, 1) != nullptr);
  s.send({.seq = 10, .flags = kTcpSyn, .from_port = 9});
  CHECK(s.expect().tcp.flags == (kTcpSyn | kTcpAck));
}

TEST_CASE("a SYN flood takes half-open slots and nothing else") {
  tcp::StackOptions options;
  options.half_open_max = 64;
  Scene s(options);
  s.listen();
  for (uint32_t i = 0; i < 1000; ++i) {
    s.send({.seq = i, .flags = kTcpSyn, .from_port = uint16_t(i + 1)});
    s.drain();
  }
  CHECK(s.listener->half_opens == 48);
  CHECK(s.host.tcp->counters().tcp_cookies_sent == 952);
  CHECK(s.host.tcp->counters().tcp_half_open_full == 0);
  CHECK(s.host.tcp->connection_count() == 0);
  s.advance(Duration::seconds(70));
  s.drain();
  s.send({.seq = 5, .flags = kTcpSyn, .from_port = 7});
  CHECK(s.expect().tcp.flags == (kTcpSyn | kTcpAck));
}

TEST_CASE("idle: the congestion window is halved per RTO, down to the initial window") {
  World w;
  w.establish();
  w.transfer(2'000'000);
  w.run(Duration::millis(100));
  const uint32_t before = w.a.tcp->info(*w.ca).cwnd_bytes;
  CHECK(before > 200'000);
  w.run(Duration::seconds(30));
  w.a.write(*w.ca, "x");
  w.a.tcp->push(w.now, *w.ca);
  CHECK(w.a.tcp->info(*w.ca).cwnd_bytes == 14480);
  w.run(Duration::seconds(1));
}

TEST_CASE(
    "path MTU: a believed ICMP cuts the segments and sends them again at once; a forged one does "
    "nothing") {
  Scene s;
  s.open(full_syn());
  s.write(std::string(4 * 1448, 'm'));
  CHECK(s.count_sent() == 4);
  auto icmp = [&](uint32_t seq, uint32_t mtu, int error = EMSGSIZE) {
    uint8_t quoted[8];
    store16(quoted, 80);
    store16(quoted + 2, 5555);
    store32(quoted + 4, seq);
    net::IcmpError e{.local = kAddressA,
                     .remote = kAddressB,
                     .quoted_transport = quoted,
                     .error = Error{error},
                     .hard = error == ECONNREFUSED,
                     .mtu_bytes = mtu};
    s.host.tcp->icmp_error(s.now, e);
  };
  icmp(s.host_seq - 10, 1000);
  icmp(s.host_seq + 50000, 1000);
  CHECK(s.silent());
  CHECK(s.host.tcp->counters().tcp_icmp_ignored == 2);
  icmp(s.host_seq, 0, ECONNREFUSED);  // soft: it is established
  CHECK(s.host.errors.empty());
  const uint32_t cwnd = s.host.tcp->info(*s.c).cwnd_bytes;
  icmp(s.host_seq, 1000);
  CHECK(s.host.tcp->payload_mss_bytes(*s.c) == 948);
  uint32_t sum = 0;
  while (auto p = s.next()) {
    CHECK(p->length <= 948);
    sum += p->length;
  }
  CHECK(sum == 4 * 1448);
  CHECK(s.host.tcp->info(*s.c).cwnd_bytes == cwnd);
  icmp(s.host_seq, 68);
  CHECK(s.host.tcp->payload_mss_bytes(*s.c) == 500);  // the floor of 552
  s.drain();
  s.ack(s.host_seq + 4 * 1448);
  s.advance(Duration::seconds(601));
  s.write(std::string(1448, 'n'));
  CHECK(s.host.tcp->payload_mss_bytes(*s.c) == 1448);
}

TEST_CASE("RFC 6528: sequence numbers of one 4-tuple grow, of different ones are unrelated") {
  Scene s;
  s.listen();
  uint32_t last = 0;
  std::vector<uint32_t> all;
  for (int i = 0; i < 200; ++i) {
    s.send({.seq = 9, .flags = kTcpSyn, .from_port = uint16_t(100 + i)});
    all.push_back(s.expect().tcp.seq.value());
  }
  std::sort(all.begin(), all.end());
  uint32_t close = 0;
  for (size_t i = 1; i < all.size(); ++i) close += all[i] - all[i - 1] < 1000 ? 1 : 0;
  CHECK(close < 5);
  for (int i = 0; i < 5; ++i) {
    auto c = s.host.tcp->connect(s.now, {kAddressA, 4000}, {kAddressB, 4001}, {}, 3);
    REQUIRE(c.ok());
    const uint32_t seq = s.expect().tcp.seq.value();
    if (i > 0) CHECK(Seq(seq) > Seq(last));
    last = seq;
    s.host.tcp->abort(s.now, *c);
    s.advance(Duration::millis(10));
  }
}
