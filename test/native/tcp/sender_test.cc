// SPDX-License-Identifier: MIT
// The sender against hand-made acknowledgements: windows of congestion, SACK, timeouts. RFC 2018,
// 5681, 5682, 6298, 6582, 6928, 9438; CVE-2019-11477, 11478, 11479.
#include <chrono>

#include "tcp/peer.h"

using namespace millrace;
using namespace millrace::test;
using namespace millrace::wire;

namespace {

TcpOptions syn(uint16_t mss = 1460) {
  return {.mss_bytes = mss, .has_mss = true, .has_timestamps = true, .sack_permitted = true};
}

void sack(Scene& s, uint32_t ack, std::vector<std::pair<uint32_t, uint32_t>> blocks) {
  Made m{.seq = s.peer_seq, .ack = ack};
  for (auto [from, to] : blocks) m.options.sack[m.options.sack_count++] = {Seq(from), Seq(to)};
  m.options.has_timestamps = true;
  m.options.ts_value = s.ts;
  m.options.ts_echo = s.ts_echo;
  s.send(m);
}

}  // namespace

TEST_CASE("RFC 6928: ten segments at first, each ACK lets more go; PSH ends the burst") {
  Scene s;
  s.open(syn());
  s.write(std::string(30 * 1448, 'i'));
  CHECK(s.count_sent() == 10);
  s.now = s.now + Duration::millis(20);
  s.ack(s.host_seq + 2 * 1448);
  CHECK(s.count_sent() == 4);
  Scene t;
  t.open(syn());
  t.write(std::string(3 * 1448, 'p'));
  CHECK(!t.expect().has(kTcpPsh));
  (void)t.expect();  // perhaps the end of what a card would get at once
  CHECK(t.expect().has(kTcpPsh));
}

TEST_CASE("a SYN-ACK that is lost twice costs the initial window; the first loss is forgiven") {
  int losses = 0;
  SUBCASE("once") {
    losses = 1;
  }
  SUBCASE("twice") {
    losses = 2;
  }
  Scene s;
  s.listen();
  s.send({.seq = 1000, .flags = kTcpSyn, .options = {.mss_bytes = 1460, .has_mss = true}});
  s.expect();
  uint32_t iss = 0;
  for (int i = 0; i < losses; ++i) {
    auto again = s.wait(Duration::seconds(3));
    REQUIRE(again);
    iss = again->tcp.seq.value();
  }
  s.send({.seq = 1001, .ack = iss + 1});
  s.c = s.host.tcp->accept(*s.listener, 9);
  REQUIRE(s.c);
  s.write(std::string(5 * 1460, 'x'));
  CHECK(s.count_sent() == (losses == 1 ? 5 : 1));
}

TEST_CASE("100 ACKs for the bytes of one segment open the window by those bytes only") {
  Scene s;
  s.open(syn());
  s.write(std::string(20 * 1448, 'd'));
  s.drain();
  s.now = s.now + Duration::millis(20);
  const uint32_t before = s.host.tcp->info(*s.c).cwnd_bytes;
  for (uint32_t i = 1; i <= 100; ++i) s.ack(s.host_seq + 14 * i);
  CHECK(s.host.tcp->info(*s.c).cwnd_bytes - before <= 1400);
}

TEST_CASE("limited transmit, then fast retransmit at the third SACKed segment") {
  Scene s;
  s.open(syn());
  const uint32_t b = s.host_seq;
  s.write(std::string(30 * 1448, 'l'));
  CHECK(s.count_sent() == 10);
  s.now = s.now + Duration::millis(20);
  sack(s, b, {{b + 1448, b + 2 * 1448}});
  CHECK(s.expect().tcp.seq == Seq(b + 10 * 1448));
  sack(s, b, {{b + 1448, b + 3 * 1448}});
  CHECK(s.expect().tcp.seq == Seq(b + 11 * 1448));
  CHECK(s.silent());
  sack(s, b, {{b + 1448, b + 4 * 1448}});
  CHECK(s.expect().tcp.seq == Seq(b));
  CHECK(s.host.tcp->counters().tcp_fast_recoveries == 1);
  // 1000 further duplicates that say nothing new release nothing (RFC 3042's spoof).
  for (int i = 0; i < 1000; ++i) sack(s, b, {{b + 1448, b + 4 * 1448}});
  CHECK(s.count_sent() <= 1);
}

TEST_CASE("without SACK: three duplicate ACKs, partial ACKs repair hole after hole") {
  Scene s;
  s.open({.mss_bytes = 1448, .has_mss = true});
  const uint32_t b = s.host_seq;
  s.write(std::string(10 * 1448, 'n'));
  s.drain();
  s.now = s.now + Duration::millis(20);
  for (int i = 0; i < 3; ++i) s.ack(b);
  CHECK(s.expect().tcp.seq == Seq(b));
  s.now = s.now + Duration::millis(20);
  s.ack(b + 3 * 1448);  // partial
  CHECK(s.expect().tcp.seq == Seq(b + 3 * 1448));
  for (int i = 0; i < 300; ++i) s.ack(b + 3 * 1448);  // smoltcp #224: the counter must not wrap
  s.drain();
  s.now = s.now + Duration::millis(20);
  s.ack(b + 10 * 1448);
  CHECK(s.host.tcp->counters().tcp_timeouts == 0);
  CHECK(s.host.tcp->counters().tcp_retransmits == 2);
}

TEST_CASE("smoltcp #62: ACKs without progress do not put the timeout off") {
  Scene s;
  s.open(syn());
  s.write(std::string(1448, 't'));
  s.drain();
  const Instant start = s.now;
  uint32_t resent = 0;
  while (s.now - start < Duration::millis(1000)) {
    s.advance(Duration::millis(10));
    s.ack(s.host_seq, uint16_t(60000 + (s.now.ns / 1000000) % 2));
    resent += s.count_sent();
  }
  CHECK(resent >= 2);
}

TEST_CASE("RFC 2018 8: a peer that forgets what it SACKed gets it again") {
  Scene s;
  s.open(syn());
  const uint32_t b = s.host_seq;
  s.write(std::string(5 * 1448, 'r'));
  s.drain();
  s.now = s.now + Duration::millis(20);
  sack(s, b, {{b + 1448, b + 5 * 1448}});
  s.drain();
  s.ack(b + 1448);  // has the hole now, but says no word of what it had: it dropped it
  uint32_t next = b + 1448;
  for (int i = 0; i < 40 && next != b + 5 * 1448; ++i) {
    s.advance(Duration::millis(500));
    while (auto p = s.next()) {
      if (p->tcp.seq == Seq(next) && p->length) next += p->length, s.ack(next);
    }
  }
  CHECK(next == b + 5 * 1448);
  CHECK(s.host.tcp->acked_bytes(*s.c) == 5 * 1448);
}

TEST_CASE("impossible SACK blocks are ignored") {
  Scene s;
  s.open(syn());
  const uint32_t b = s.host_seq;
  s.write(std::string(8 * 1448, 's'));
  s.drain();
  s.now = s.now + Duration::millis(20);
  sack(s, b, {{b + 2000, b + 1000}, {b + 1448, b + 900000}, {b - 5000, b + 5000}});
  sack(s, b, {{0, 0xffffffff}, {b, b}, {b + 1, b + 0x80000001}});
  CHECK(s.host.tcp->counters().tcp_retransmits == 0);
  CHECK(s.host.tcp->counters().tcp_sack_invalid >= 3);
  s.ack(b + 8 * 1448);
  CHECK(s.host.tcp->acked_bytes(*s.c) == 8 * 1448);
}

TEST_CASE("CVE-2019-11477, 11478, 11479: MSS 48 and a queue full of SACKed fragments stays cheap") {
  Scene s;
  s.open(syn(48));
  const uint32_t b = s.host_seq;
  const uint32_t mss = s.host.tcp->payload_mss_bytes(*s.c);
  CHECK(mss == 36);
  uint32_t written = 0, acked = 0;
  // Grow the window first.
  for (int round = 0; round < 8; ++round) {
    while (written - acked < 8000 * mss && s.host.pool.available() > 4000) {
      s.host.write(*s.c, std::string(mss, 'q'));
      written += mss;
    }
    s.host.tcp->push(s.now, *s.c);
    uint32_t sent = acked;
    while (auto p = s.next()) sent = uint32_t(p->tcp.seq - Seq(b)) + p->length;
    s.now = s.now + Duration::millis(5);
    for (uint32_t a = acked + 8 * mss; a <= sent; a += 8 * mss) s.ack(b + a);
    acked = sent;
    s.ack(b + acked);
  }
  s.host.tcp->push(s.now, *s.c);
  s.drain();
  const auto start = std::chrono::steady_clock::now();
  const uint32_t flight = uint32_t(s.c->snd.nxt - s.c->snd.una) / mss;
  CHECK(flight > 500);
  for (uint32_t i = 0; i < 20000; ++i) {
    const uint32_t at = b + acked + (1 + 2 * ((i * 7919u) % (flight / 2 - 1))) * mss;
    const uint32_t other = b + acked + (1 + 2 * ((i * 104729u) % (flight / 2 - 1))) * mss;
    sack(s, b + acked, {{at, at + mss}, {other, other + mss}});
    s.drain();
  }
  const double us =
      std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() /
      20000;
  MESSAGE("hostile SACK: ", us, " us per ACK with ", flight, " segments in flight");
  CHECK(us < 200);  // debug build and sanitizers included
}

TEST_CASE("bytes at the very end of a frame still leave room for Ethernet's padding") {
  Scene s;
  s.open();
  Frame* f = s.host.pool.alloc();
  REQUIRE(f);
  f->offset = f->capacity - 1;  // what partial ACKs may leave of a full frame
  f->length = 1;
  *f->data() = 'x';
  s.host.tcp->write(*s.c, f);
  s.host.tcp->push(s.now, *s.c);
  s.host.ip.flush(s.now);
  REQUIRE(s.host.port.queued().size() == 1);
  const Frame& sent = *s.host.port.queued().front();
  CHECK(sent.length + sent.tailroom() >= 60 - 14);
  CHECK(s.expect().payload() == "x");
}

TEST_CASE("F-RTO: a timeout after which the originals arrive is undone") {
  Scene s;
  s.open({.mss_bytes = 1448, .has_mss = true, .sack_permitted = true});
  const uint32_t b = s.host_seq;
  s.write(std::string(8 * 1448, 'f'));
  CHECK(s.count_sent() == 8);
  const uint32_t cwnd = s.host.tcp->info(*s.c).cwnd_bytes;
  REQUIRE(s.wait(Duration::seconds(1)));  // the tail probe
  REQUIRE(s.wait(Duration::seconds(1)));  // the timeout
  CHECK(s.host.tcp->info(*s.c).cwnd_bytes == 1448);
  s.ack(b + 2 * 1448);  // two originals: the second was never sent again
  CHECK(s.count_sent() == 0);
  CHECK(s.host.tcp->counters().tcp_spurious_recoveries == 1);
  CHECK(s.host.tcp->info(*s.c).cwnd_bytes >= cwnd);
}

TEST_CASE("RFC 6298: samples, backoff, and Karn") {
  tcp::RttEstimator r;
  const Instant t{1'000'000'000};
  CHECK(r.rto_us(120'000'000) == 1'000'000);
  r.sample(t, Duration::millis(100), Seq(1), Seq(2), 200'000);
  CHECK(r.srtt_us() == 100'000);
  CHECK(r.rttvar_us() == 50'000);
  CHECK(r.rto_us(120'000'000) == 300'000);
  for (uint32_t i = 2; i < 200; ++i) {
    r.sample(t, Duration::millis(100), Seq(i), Seq(i + 1), 200'000);
  }
  CHECK(r.srtt_us() == 100'000);
  CHECK(r.rto_us(120'000'000) >= 300'000);  // SRTT + 200 ms and no less
  CHECK(r.rto_us(120'000'000) <= 301'000);
  CHECK(r.min_us() == 100'000);
  r.sample(t, Duration::millis(900), Seq(300), Seq(301), 200'000);
  CHECK(r.rto_us(120'000'000) > 600'000);

  // Without timestamps a segment that was sent twice gives no sample: the backoff stays (Karn).
  Scene s;
  s.open({.mss_bytes = 1448, .has_mss = true});
  s.write(std::string(1448, 'k'));
  s.drain();
  REQUIRE(s.wait(Duration::seconds(1)));
  REQUIRE(s.wait(Duration::seconds(2)));
  const uint32_t srtt = s.host.tcp->info(*s.c).srtt_us;
  const uint32_t rto = s.host.tcp->info(*s.c).rto_us;
  s.ack(s.host_seq + 1448);
  CHECK(s.host.tcp->info(*s.c).srtt_us == srtt);
  CHECK(s.host.tcp->info(*s.c).rto_us == rto);
}

TEST_CASE("CUBIC and NewReno: cuts by 0.7 and 0.5, CUBIC returns along its curve") {
  tcp::CongestionWindow w{
      .cwnd_bytes = 100 * 1000, .ssthresh_bytes = 100 * 1000, .mss_bytes = 1000};
  tcp::NewReno reno;
  CHECK(reno.on_loss(w, 100 * 1000) == 50'000);
  for (int i = 0; i < 100; ++i) reno.on_ack(w, {.now = Instant{1}, .acked_bytes = 1000});
  CHECK(w.cwnd_bytes == 101'000);  // one segment per window

  tcp::Cubic cubic;
  w = {.cwnd_bytes = 1000 * 1000, .ssthresh_bytes = 1000 * 1000, .mss_bytes = 1000};
  const uint32_t cut = cubic.on_loss(w, 1000 * 1000);
  CHECK(cut >= 699'000);
  CHECK(cut <= 701'000);
  w.cwnd_bytes = w.ssthresh_bytes = cut;
  // RTT 100 ms. K = cbrt(300 / 0.4) = 9.09 s: by then the window is back at 1000.
  Instant now{0};
  double at_half = 0;
  while (now < Instant{} + Duration::millis(9090)) {
    for (uint32_t sent = 0; sent < w.cwnd_bytes; sent += 2000) {
      cubic.on_ack(w, {.now = now, .acked_bytes = 2000, .srtt_us = 100'000});
    }
    now = now + Duration::millis(100);
    if (now == Instant{} + Duration::millis(4500)) at_half = w.cwnd_bytes / 1000.0;
  }
  CHECK(w.cwnd_bytes > 980'000);
  CHECK(w.cwnd_bytes < 1'020'000);
  // W(4.5) = 0.4 * (4.6 - 9.09)^3 + 1000 = 964.
  CHECK(at_half > 940);
  CHECK(at_half < 985);
}

TEST_CASE("no memory: nothing is lost, only late") {
  World w;
  w.establish();
  std::vector<Frame*> hoard;
  while (w.a.pool.available() > 3) hoard.push_back(w.a.pool.alloc());
  w.a.write(*w.ca, "first");
  w.a.tcp->push(w.now, *w.ca);
  while (Frame* f = w.a.pool.alloc()) hoard.push_back(f);
  w.a.tcp->shutdown_write(w.now, *w.ca);  // no frame for the FIN
  w.run(Duration::millis(300));
  CHECK(w.b.read(w.now, *w.cb) == "first");
  CHECK(!w.b.tcp->at_end(*w.cb));
  for (Frame* f : hoard) w.a.pool.release(f);
  w.run(Duration::millis(300));
  CHECK(w.b.tcp->at_end(*w.cb));
}

TEST_CASE("no memory: unread data leaves a frame to receive acknowledgements in") {
  World w;
  w.establish();
  std::vector<Frame*> hoard;
  while (w.b.pool.available() > 7) hoard.push_back(w.b.pool.alloc());
  w.b.write(*w.cb, "answer");
  w.b.tcp->push(w.now, *w.cb);
  for (int i = 0; i < 6; ++i) {  // fewer than one connection may have unread
    w.a.write(*w.ca, std::string(1000, char('a' + i)));
    w.a.tcp->push(w.now, *w.ca);
    w.run(Duration::millis(30));
    CHECK(w.b.pool.available() >= 3);
  }
  CHECK(w.b.tcp->counters().tcp_memory_dropped > 0);
  CHECK(w.b.tcp->acked_bytes(*w.cb) == 6);
  for (Frame* f : hoard) w.b.pool.release(f);
  std::string got;
  w.run_until(
      [&] {
        got += w.b.read(w.now, *w.cb);
        return got.size() == 6000;
      },
      Duration::seconds(20));
  CHECK(got.size() == 6000);
}

TEST_CASE("a receiver that sleeps and wakes gets everything, through a closed window") {
  World w;
  w.establish();
  std::string all;
  for (int i = 0; i < 1000; ++i) all += std::string(1000, char('a' + i % 26));
  w.a.write(*w.ca, all);
  w.a.tcp->push(w.now, *w.ca);
  w.run(Duration::seconds(20));
  CHECK(w.a.tcp->info(*w.ca).send_window_bytes == 0);
  CHECK(w.a.tcp->counters().tcp_zero_window_probes > 0);
  std::string got;
  w.run_until(
      [&] {
        got += w.b.read(w.now, *w.cb, 20000);
        return got.size() == all.size();
      },
      Duration::seconds(60));
  got += w.b.read(w.now, *w.cb);  // all has come; the last reads had no event to wake them
  const bool same = got == all;
  CHECK(same);
}

TEST_CASE(
    "the receive buffer grows with the path: 100 ms at 100 MB needs more than the first 256 KiB") {
  World w;
  w.keep_log = false;
  w.delay = Duration::millis(50);
  w.establish();
  const Duration took = w.transfer(60'000'000);
  CHECK(w.b.tcp->info(*w.cb).receive_window_bytes > 1'000'000);
  CHECK(took < Duration::seconds(8));  // 256 KiB per 100 ms would take 23 s
}

TEST_CASE("sleeping readers cannot take all packet memory: others still get through") {
  tcp::StackOptions options;
  World w(options, options);
  w.listen({}, 200);
  // 64 MiB of windows would be open: twice the pool.
  std::vector<Connection*> ends;
  for (uint16_t i = 0; i < 128; ++i) {
    auto c =
        w.a.tcp->connect(w.now, {kAddressA, uint16_t(30000 + i)}, {kAddressB, 80}, {}, 100 + i);
    REQUIRE(c.ok());
    ends.push_back(*c);
  }
  w.run(Duration::seconds(1));
  std::vector<Connection*> sleeping;
  while (Connection* c = w.b.tcp->accept(*w.listener, 50)) sleeping.push_back(c);
  REQUIRE(sleeping.size() == 128);
  for (int round = 0; round < 40; ++round) {
    for (Connection* c : ends) {
      if (w.a.tcp->info(*c).bytes_sent - w.a.tcp->acked_bytes(*c) < 20000 &&
          w.a.pool.available() > 4000) {
        w.a.write(*c, std::string(14480, 's'));
        w.a.tcp->push(w.now, *c);
      }
    }
    w.run(Duration::millis(200));
  }
  CHECK(w.b.pool.available() > 100);
  auto late = w.a.tcp->connect(w.now, {kAddressA, 50000}, {kAddressB, 80}, {}, 1);
  REQUIRE(late.ok());
  w.ca = *late;
  w.run(Duration::seconds(2));
  w.cb = w.b.tcp->accept(*w.listener, 2);
  REQUIRE(w.cb);
  w.transfer(100'000, Duration::seconds(60));
  for (Connection* c : sleeping) w.b.tcp->abort(w.now, c);
  for (Connection* c : ends) w.a.tcp->abort(w.now, c);
}
