// SPDX-License-Identifier: MIT
// SYN cookies (RFC 4987 3.6): sent only under a flood, good for what they hold, for two minutes at
// most, and nothing is kept for them.
#include "tcp/syn_cookies.h"

#include "tcp/peer.h"

using namespace millrace;
using namespace millrace::test;
using namespace millrace::wire;

namespace {

const TcpOptions kFullSyn = {.ts_value = 500,
                             .mss_bytes = 1460,
                             .window_scale = 9,
                             .has_mss = true,
                             .has_window_scale = true,
                             .has_timestamps = true,
                             .sack_permitted = true};

tcp::StackOptions with_half_open_max(uint32_t most) {
  tcp::StackOptions options;
  options.half_open_max = most;
  return options;
}

// A listener whose half-open table is three quarters full: 96 of 128.
struct Flooded : Scene {
  explicit Flooded(uint32_t backlog = 4096) : Scene(with_half_open_max(128)) {
    listen({}, backlog);
    flood(96);
    CHECK(count_sent() == 96);
    CHECK(counters().tcp_cookies_sent == 0);
  }
  const tcp::Counters& counters() const { return host.tcp->counters(); }
  // SYNs from ever new addresses which never answer.
  void flood(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i, ++flooded) {
      send({.seq = flooded * 7919,
            .flags = kTcpSyn,
            .options = kFullSyn,
            .from_port = uint16_t(1024 + flooded % 60000),
            .from = IpAddress::v4(0x0a100000 + flooded)});
    }
  }
  // The SYN of the peer, answered with a cookie.
  Packet ask(const TcpOptions& syn) {
    send({.seq = peer_seq, .flags = kTcpSyn, .options = syn});
    const uint64_t half_opens = listener->half_opens;
    const Packet p = expect();
    CHECK(p.tcp.flags == (kTcpSyn | kTcpAck));
    CHECK(p.tcp.ack == Seq(peer_seq + 1));
    CHECK(listener->half_opens == half_opens);
    host_seq = p.tcp.seq.value() + 1;
    return p;
  }
  // The ACK that brings the cookie back; true when it made a connection.
  bool answer(bool with_timestamps, const std::string& payload = {}) {
    const int before = host.acceptable;
    Made m{.seq = peer_seq + 1, .ack = host_seq, .window = 4000, .payload = payload};
    m.options.has_timestamps = with_timestamps;
    m.options.ts_value = 520;
    m.options.ts_echo = ts_echo;
    send(m);
    return host.acceptable > before;
  }
  void accept() {
    c = host.tcp->accept(*listener, 9);
    REQUIRE(c);
  }
  uint32_t flooded = 0;
};

}  // namespace

TEST_CASE("cookies: without timestamps a connection with the MSS and nothing else") {
  Flooded s;
  TcpOptions syn = kFullSyn;
  syn.has_timestamps = false;
  const Packet p = s.ask(syn);
  CHECK(s.counters().tcp_cookies_sent == 1);
  CHECK(p.options.has_mss);
  CHECK(p.options.mss_bytes == 1460);
  CHECK(!p.options.has_window_scale);
  CHECK(!p.options.sack_permitted);
  CHECK(!p.options.has_timestamps);
  CHECK(s.answer(false));
  s.accept();
  CHECK(s.counters().tcp_cookies_accepted == 1);
  CHECK(s.counters().tcp_passive_opens == 1);
  CHECK(s.host.tcp->payload_mss_bytes(*s.c) == 1460);
  CHECK(s.host.tcp->info(*s.c).send_window_bytes == 4000);
  CHECK(!s.c->scaling);
  CHECK(!s.c->sack);
  CHECK(!s.c->timestamps);
  // It transfers both ways.
  s.peer_seq += 1;
  s.data("question");
  CHECK(s.host.read(s.now, *s.c) == "question");
  s.drain();
  s.write("answer");
  const Packet out = s.expect();
  CHECK(out.payload() == "answer");
  CHECK(out.tcp.seq == Seq(s.host_seq));
}

TEST_CASE("cookies: with timestamps window scale and SACK survive, every scale") {
  for (int scale = -1; scale <= 14; ++scale) {
    for (bool sack : {false, true}) {
      CAPTURE(scale);
      Flooded s;
      TcpOptions syn = kFullSyn;
      syn.has_window_scale = scale >= 0;
      syn.window_scale = uint8_t(std::max(scale, 0));
      syn.sack_permitted = sack;
      const Packet p = s.ask(syn);
      CHECK(p.options.has_timestamps);
      CHECK(p.options.ts_echo == 500);
      CHECK(p.options.has_window_scale == (scale >= 0));
      CHECK(p.options.sack_permitted == sack);
      CHECK(s.answer(true));
      s.accept();
      CHECK(s.c->timestamps);
      CHECK(s.c->scaling == (scale >= 0));
      CHECK(s.c->sack == sack);
      CHECK(s.c->rcv.ts_recent == 520);
      CHECK(s.host.tcp->info(*s.c).send_window_bytes == 4000u << std::max(scale, 0));
      CHECK(s.host.tcp->payload_mss_bytes(*s.c) == 1448);
      // The clock goes on from what the SYN-ACK said, never back.
      s.write("x");
      const Packet out = s.expect();
      CHECK(out.options.ts_echo == 520);
      CHECK(int32_t(out.options.ts_value - p.options.ts_value) >= 0);
      CHECK(int32_t(out.options.ts_value - p.options.ts_value) < 64);
    }
  }
}

TEST_CASE("cookies: the MSS comes back as the largest of the table that the peer can take") {
  struct Row {
    uint16_t announced, kept;
  };
  for (Row r : {Row{1, 48}, Row{48, 48}, Row{300, 256}, Row{536, 536}, Row{1300, 1220},
                Row{1400, 1380}, Row{1452, 1440}, Row{1460, 1460}, Row{9000, 1460}}) {
    CAPTURE(r.announced);
    Flooded s;
    s.ask({.mss_bytes = r.announced, .has_mss = true});
    CHECK(s.answer(false));
    s.accept();
    CHECK(s.host.tcp->payload_mss_bytes(*s.c) == r.kept);
  }
}

TEST_CASE("cookies: data on the completing ACK is taken") {
  Flooded s;
  s.ask(kFullSyn);
  CHECK(s.answer(true, "early bird"));
  s.accept();
  CHECK(s.host.read(s.now, *s.c) == "early bird");
}

TEST_CASE("cookies: a forged one is reset and leaves nothing") {
  Flooded s;
  s.ask(kFullSyn);
  const uint32_t good = s.host_seq;
  const uint32_t live = s.host.tcp->connection_count();
  uint64_t rejected = 0;
  auto refused = [&](const Made& m) {
    s.send(m);
    const Packet p = s.expect();
    CHECK(p.tcp.flags == kTcpRst);
    CHECK(p.tcp.seq == Seq(m.ack));
    CHECK(s.counters().tcp_cookies_rejected == ++rejected);
    CHECK(s.host.tcp->connection_count() == live);
  };
  for (uint32_t bit = 20; bit < 32; ++bit) {
    CAPTURE(bit);
    refused({.seq = s.peer_seq + 1, .ack = good ^ (1u << bit)});
  }
  // With the lower part wrong it may be a later segment of the true peer: no answer at most.
  for (uint32_t bit = 3; bit < 20; ++bit) {
    CAPTURE(bit);
    s.send({.seq = s.peer_seq + 1, .ack = good ^ (1u << bit)});
    if (auto p = s.next()) CHECK(p->tcp.flags == kTcpRst);
    CHECK(s.host.tcp->connection_count() == live);
  }
  rejected = s.counters().tcp_cookies_rejected;
  refused({.seq = s.peer_seq + 1, .ack = good, .from_port = 5556});  // another port
  refused({.seq = s.peer_seq + 1, .ack = good, .from = IpAddress::v4(0x0a000003)});
  CHECK(s.host.acceptable == 0);
  s.host_seq = good;
  CHECK(s.answer(true));  // the true one still counts
}

TEST_CASE("cookies: a later segment overtakes the one that completes; it comes again") {
  Flooded s;
  s.ask(kFullSyn);
  s.send({.seq = s.peer_seq + 6, .ack = s.host_seq, .payload = "second"});
  CHECK(s.silent());
  CHECK(s.counters().tcp_cookies_rejected == 0);
  CHECK(s.host.acceptable == 0);
  CHECK(s.answer(true, "first"));
  s.accept();
  s.peer_seq += 6;
  s.timestamps = true;
  s.ts = 530;
  s.data("second");
  CHECK(s.host.read(s.now, *s.c) == "firstsecond");
}

TEST_CASE("cookies: no segment of the first flight but the first passes for the first") {
  Random random = Random::from_seed(6);
  tcp::SynCookies cookies(random);
  FlowKey flow{{kAddressA, 80}, {kAddressB, 5555}};
  const Instant now{90'000'000'000};
  using Verdict = tcp::SynCookies::Verdict;
  for (uint32_t round = 0; round < 20; ++round) {
    flow.remote.port = uint16_t(40000 + round);
    const Seq irs(random.next_u32());
    const Seq cookie = cookies.make(now, flow, irs, 1460);
    CHECK(cookies.check(now, flow, irs, cookie).verdict == Verdict::kGood);
    uint32_t later = 0;
    for (uint32_t ahead = 1; ahead <= 65535; ++ahead) {
      later += cookies.check(now, flow, irs + ahead, cookie).verdict == Verdict::kLater;
    }
    CHECK(later == 65535);
  }
}

TEST_CASE("cookies: one makes one connection, not another when its ACK comes again") {
  Flooded s;
  s.ask(kFullSyn);
  const uint32_t good = s.host_seq, echo = s.ts_echo;
  CHECK(s.answer(true));
  s.accept();
  s.send({.seq = s.peer_seq + 1, .flags = kTcpRst});
  CHECK(s.host.errors[9] == ECONNRESET);
  s.host.tcp->close(s.now, s.c);
  s.host_seq = good;
  s.ts_echo = echo;
  CHECK(!s.answer(true));
  CHECK(s.expect().tcp.flags == kTcpRst);
  // A new connection between the same ports is another matter.
  s.peer_seq += 100'000;
  s.ask(kFullSyn);
  CHECK(s.answer(true));
}

TEST_CASE("cookies: good for a minute at least and two at most") {
  for (const auto& row : {std::pair{1, true}, {59, true}, {120, false}, {180, false}}) {
    const int seconds = row.first;
    const bool good = row.second;
    CAPTURE(seconds);
    Flooded s;
    s.ask(kFullSyn);
    const uint32_t ack = s.host_seq, echo = s.ts_echo;
    s.advance(Duration::seconds(seconds));
    s.drain();
    s.flood(200);  // cookies go on being sent: the age alone decides
    s.drain();
    s.host_seq = ack;
    s.ts_echo = echo;
    CHECK(s.answer(true) == good);
    CHECK(s.counters().tcp_cookies_rejected == (good ? 0 : 1));
    if (!good) CHECK(s.expect().tcp.flags == kTcpRst);
  }
}

TEST_CASE("cookies: looked for only while some were sent recently") {
  Scene s;
  s.listen();
  s.send({.seq = 1, .ack = 99});
  CHECK(s.expect().tcp.flags == kTcpRst);
  CHECK(s.host.tcp->counters().tcp_cookies_rejected == 0);
  Flooded f;
  f.ask(kFullSyn);
  f.advance(Duration::seconds(121));
  f.drain();
  CHECK(!f.answer(true));
  CHECK(f.expect().tcp.flags == kTcpRst);
  CHECK(f.counters().tcp_cookies_rejected == 0);
}

TEST_CASE("cookies: the number of checks a second is bounded; past it nothing is answered") {
  Flooded s;
  s.ask(kFullSyn);
  const uint32_t good = s.host_seq;
  for (uint32_t i = 0; i < 5000; ++i) {
    s.send({.seq = i, .ack = i * 77, .from_port = 7000});
    s.drain();
  }
  CHECK(s.counters().tcp_cookies_rejected < 5000);
  CHECK(s.counters().tcp_cookies_rejected == s.counters().tcp_resets_sent);
  s.host_seq = good;
  CHECK(!s.answer(true));
  CHECK(s.silent());
  s.advance(Duration::millis(100));
  s.drain();
  s.host_seq = good;
  CHECK(s.answer(true));
}

TEST_CASE("cookies: with a full backlog the ACK is dropped, and counts when there is room") {
  Flooded s(0);
  s.ask(kFullSyn);
  const uint32_t good = s.host_seq, echo = s.ts_echo;
  // Somebody else takes the one place.
  s.send({.seq = 50,
          .flags = kTcpSyn,
          .options = {.mss_bytes = 1460, .has_mss = true},
          .from_port = 6000});
  s.send({.seq = 51, .ack = s.expect().tcp.seq.value() + 1, .from_port = 6000});
  CHECK(s.host.acceptable == 1);
  s.host_seq = good;
  s.ts_echo = echo;
  CHECK(!s.answer(true, "data"));
  s.send({.seq = s.peer_seq + 5, .ack = good, .payload = "more"});  // and its second segment
  CHECK(s.silent());
  CHECK(s.counters().tcp_listen_overflows == 2);
  s.accept();
  s.ts_echo = echo;
  CHECK(s.answer(true, "data"));
  s.accept();
  CHECK(s.host.read(s.now, *s.c) == "data");
}

TEST_CASE("cookies: one that comes back after a repeated SYN got a handshake of its own") {
  Flooded s;
  s.ask(kFullSyn);
  const uint32_t good = s.host_seq, echo = s.ts_echo;
  while (s.listener->half_opens > 0) s.advance(Duration::seconds(1)), s.drain();
  // 63 s on: the flood is over, a repeated SYN is answered the usual way, then the cookie comes.
  const uint64_t sent = s.counters().tcp_cookies_sent;
  s.send({.seq = s.peer_seq, .flags = kTcpSyn, .options = kFullSyn});
  CHECK(s.expect().tcp.seq.value() + 1 != good);
  CHECK(s.counters().tcp_cookies_sent == sent);
  CHECK(s.listener->half_opens == 1);
  s.host_seq = good;
  s.ts_echo = echo;
  CHECK(s.answer(true));
  CHECK(s.counters().tcp_cookies_accepted == 1);
  CHECK(s.listener->half_opens == 0);
}

TEST_CASE("cookies: a listener's share is its backlog, 128 at least") {
  for (auto [backlog, share] : {std::pair{1u, 128u}, {128u, 128u}, {300u, 300u}}) {
    Scene s;  // half_open_max 4096
    s.listen({}, backlog);
    for (uint32_t i = 0; i < share + 5; ++i) {
      s.send({.seq = i, .flags = kTcpSyn, .from_port = uint16_t(2000 + i)});
    }
    CHECK(s.count_sent() == share + 5);
    CHECK(s.listener->half_opens == share);
    CHECK(s.host.tcp->counters().tcp_cookies_sent == 5);
  }
}

TEST_CASE("cookies: the numbers alone, over IPv6, at every second of their life") {
  using Verdict = tcp::SynCookies::Verdict;
  Random random = Random::from_seed(4);
  tcp::SynCookies cookies(random);
  FlowKey flow;
  uint8_t address[16] = {0xfd, 0x77};
  flow.local = {IpAddress::v6_bytes(address), 443};
  address[15] = 9;
  flow.remote = {IpAddress::v6_bytes(address), 50000};
  for (int64_t start = 0; start < 60; start += 7) {
    const Instant made = Instant{} + Duration::seconds(100 * 60 + start);
    const Seq cookie = cookies.make(made, flow, Seq(0xfffffff0), 9000);
    for (int64_t age = 0; age < 16000; age += age < 200 ? 1 : 599) {
      const auto found =
          cookies.check(made + Duration::seconds(age), flow, Seq(0xfffffff0), cookie);
      const bool good = start + age < 120;
      CHECK((found.verdict == Verdict::kGood) == good);
      CHECK(found.mss_bytes == (good ? 8940 : 0));
    }
    CHECK(cookies.check(made, flow, Seq(0xfffffff1), cookie).verdict == Verdict::kLater);
    FlowKey other = flow;
    other.remote.port = 50001;
    CHECK(cookies.check(made, other, Seq(0xfffffff0), cookie).verdict == Verdict::kForged);
  }
  // A guess: one in 2^28 is good, one in 2^12 passes for a later segment and is not answered.
  uint32_t passed = 0;
  for (uint32_t i = 0; i < 1'000'000; ++i) {
    const auto found = cookies.check(Instant{5}, flow, Seq(i), Seq(random.next_u32()));
    CHECK_FALSE(found.verdict == Verdict::kGood);
    passed += found.verdict == Verdict::kLater ? 1 : 0;
  }
  CHECK(passed < 350);
}

TEST_CASE("cookies: timestamps that carry options never run ahead of the clock") {
  for (uint32_t ts : {0u, 1u, 63u, 64u, 0x7fffffc0u, 0xffffffffu}) {
    for (uint8_t scale = 0; scale <= 14; ++scale) {
      TcpOptions syn, back;
      syn.has_window_scale = true;
      syn.window_scale = scale;
      syn.sack_permitted = scale % 2 == 0;
      const uint32_t value = tcp::cookie_timestamp(ts, syn, scale % 3 == 0);
      CHECK(int32_t(ts - value) >= 0);
      CHECK(int32_t(ts - value) < 64);
      bool ecn = false;
      tcp::read_cookie_timestamp(value, back, ecn);
      CHECK(ecn == (scale % 3 == 0));
      CHECK(back.window_scale == scale);
      CHECK(back.sack_permitted == syn.sack_permitted);
    }
  }
}

TEST_CASE("cookies: 100,000 SYNs keep memory bounded while a client connects and transfers") {
  World w({}, with_half_open_max(256));
  w.keep_log = false;
  w.listen();
  uint32_t sent = 0;
  uint32_t least_available = w.b.pool.available();
  // What B answers to the flood's addresses is lost.
  w.hook = [&](Packet& p, bool from_a) {
    if (!from_a && p.destination != kAddressA) return Fate{};
    return Fate{w.delay};
  };
  auto flood = [&](uint32_t count) {
    for (uint32_t i = 0; i < count; ++i, ++sent) {
      w.b.deliver(w.now, make_packet({.seq = sent * 2654435761u,
                                      .flags = kTcpSyn,
                                      .options = kFullSyn,
                                      .from_port = uint16_t(1024 + sent % 64000),
                                      .from = IpAddress::v4(0x0a200000 + sent),
                                      .to = kAddressB}));
      if (i % 64 == 63) w.collect(w.b, false);
    }
    least_available = std::min(least_available, w.b.pool.available());
  };
  for (int i = 0; i < 450; ++i) flood(100), w.run(Duration::millis(5));
  w.connect();
  for (int i = 0; i < 50; ++i) flood(100), w.run(Duration::millis(5));
  CHECK(w.b.tcp->counters().tcp_cookies_accepted == 1);
  REQUIRE(w.b.acceptable == 1);
  w.cb = w.b.tcp->accept(*w.listener, 2);
  REQUIRE(w.cb);
  CHECK(w.cb->sack);
  CHECK(w.cb->timestamps);
  CHECK(w.cb->snd.shift == w.ca->rcv.shift);
  CHECK(w.cb->snd.mss_bytes == w.ca->snd.mss_bytes);
  for (int i = 0; i < 500; ++i) flood(100), w.run(Duration::millis(2));
  w.transfer(3'000'000);
  const tcp::Counters& counters = w.b.tcp->counters();
  CHECK(sent == 100'000);
  CHECK(counters.tcp_cookies_sent > 99'000);
  CHECK(counters.tcp_cookies_rejected == 0);
  CHECK(w.b.tcp->connection_count() == 1);
  CHECK(w.listener->half_opens <= 192);
  CHECK(least_available > w.b.pool.capacity() / 2);
}
