// SPDX-License-Identifier: MIT
// Loss, reordering, duplication: what recovery must do, and what it must not do. RFC 5681, 6298,
// 6675, 8985.
#include <algorithm>

#include "tcp/harness.h"

using namespace millrace;
using namespace millrace::test;

namespace {

// Drops the n-th data segment from A (counted from 0, transmissions of any kind), for each n given.
std::function<Fate(Packet&, bool)> drop_data(std::vector<int> which, Duration delay) {
  auto count = std::make_shared<int>(0);
  return [=](Packet& p, bool from_a) -> Fate {
    if (from_a && p.length > 0) {
      const int n = (*count)++;
      for (int w : which) {
        if (w == n) return {};
      }
    }
    return {delay};
  };
}

}  // namespace

TEST_CASE("one lost segment is repaired by fast retransmit, once") {
  for (bool sack : {true, false}) {
    CAPTURE(sack);
    World w;
    w.hook = [&](Packet& p, bool) -> Fate {
      if (!sack && p.has(wire::kTcpSyn)) strip_option(p, 4);
      return {w.delay};
    };
    w.establish();
    CHECK(w.ca->sack == sack);
    w.hook = drop_data({20}, w.delay);
    const Duration took = w.transfer(400'000);
    CHECK(took < Duration::millis(400));
    CHECK(w.a.tcp->counters().tcp_retransmits == 1);
    CHECK(w.a.tcp->counters().tcp_timeouts == 0);
    CHECK(w.a.tcp->counters().tcp_fast_recoveries == 1);
  }
}

TEST_CASE("congestion control that is changed in the middle of a recovery cuts the window") {
  for (const char* next : {"cubic", "reno"}) {
    CAPTURE(next);
    World w;
    w.establish();
    CHECK(!w.a.tcp->set_congestion_control(w.now, *w.ca, "bbr"));
    w.hook = drop_data({5}, w.delay);
    w.a.write(*w.ca, std::string(100'000, 'x'));
    w.a.tcp->push(w.now, *w.ca);
    for (int i = 0; i < 500 && w.ca->loss.phase != tcp::Recovery::kFast; ++i) {
      w.run(Duration::millis(1));
    }
    REQUIRE(w.ca->loss.phase == tcp::Recovery::kFast);
    CHECK(w.ca->window.ssthresh_bytes == UINT32_MAX);  // BBR has none
    const uint32_t flight = w.ca->snd.queue.flight_bytes();
    CHECK(!w.a.tcp->set_congestion_control(w.now, *w.ca, next));
    CHECK(w.ca->window.ssthresh_bytes < UINT32_MAX);
    w.run(Duration::seconds(3));
    CHECK(w.b.read(w.now, *w.cb).size() == 100'000);
    CHECK(w.ca->loss.phase == tcp::Recovery::kOpen);
    CHECK(w.ca->window.cwnd_bytes < 2 * flight + 100'000);
  }
}

TEST_CASE("many holes in one window are each sent again exactly once") {
  World w;
  w.establish();
  w.hook = drop_data({40, 42, 44, 45, 46, 50, 55, 57, 58}, w.delay);
  w.transfer(1'000'000);
  CHECK(w.a.tcp->counters().tcp_retransmits == 9);
  CHECK(w.a.tcp->counters().tcp_timeouts == 0);
  CHECK(w.b.tcp->counters().tcp_duplicates == 0);
}

TEST_CASE("a lost retransmission is repaired without a timeout") {
  World w;
  w.establish();
  Seq victim;
  int seen = 0;
  int n = 0;
  w.hook = [&](Packet& p, bool from_a) -> Fate {
    if (from_a && p.length > 0) {
      if (n++ == 30) victim = p.tcp.seq;
      if (n > 30 && p.tcp.seq == victim && seen++ < 2) return {};
    }
    return {w.delay};
  };
  w.transfer(1'000'000);
  CHECK(seen == 3);
  CHECK(w.a.tcp->counters().tcp_timeouts == 0);
  CHECK(w.a.tcp->counters().tcp_lost_retransmits == 1);
}

TEST_CASE("the lost tail of a burst is found by a probe, before the timeout") {
  World w;
  w.establish();
  w.transfer(50'000);
  int n = 0;
  w.hook = [&](Packet& p, bool from_a) -> Fate {
    if (from_a && p.length > 0 && (n++ == 9 || n == 9)) return {};  // the last two
    return {w.delay};
  };
  const Duration took = w.transfer(10 * 1448);
  CHECK(took < Duration::millis(150));
  CHECK(w.a.tcp->counters().tcp_loss_probes == 1);
  CHECK(w.a.tcp->counters().tcp_timeouts == 0);
}

TEST_CASE("everything lost: timeout, backoff, and the stream goes on") {
  World w;
  w.establish();
  w.transfer(50'000);
  bool dead = true;
  std::vector<Instant> tries;
  w.hook = [&](Packet& p, bool from_a) -> Fate {
    if (dead && from_a && p.length) tries.push_back(w.now);
    if (dead) return {};
    return {w.delay};
  };
  w.a.write(*w.ca, "lost and found");
  w.a.tcp->push(w.now, *w.ca);
  w.run(Duration::seconds(10));
  // First transmission, tail probe, then timeouts whose gaps double.
  REQUIRE(tries.size() >= 6);
  for (size_t i = 4; i < tries.size(); ++i) {
    const double ratio =
        double((tries[i] - tries[i - 1]).ns) / double((tries[i - 1] - tries[i - 2]).ns);
    CHECK(ratio > 1.9);
    CHECK(ratio < 2.1);
  }
  dead = false;
  w.run(Duration::seconds(15));
  CHECK(w.b.read(w.now, *w.cb).substr(0, 4) == "lost");
}

TEST_CASE("after a long cut the stream is sent again from its front") {
  tcp::StackOptions options;
  options.mtu_probing = tcp::MtuProbing::kBlackHole;
  World w(options);
  w.establish();
  w.transfer(20'000);
  w.run(Duration::millis(100));
  const wire::Seq front = w.ca->snd.una;
  bool cut = true;
  std::vector<uint32_t> again;  // where each segment with old data begins, counted from the front
  w.hook = [&](Packet& p, bool from_a) -> Fate {
    if (from_a && cut) return {};
    if (from_a && p.length > 0) again.push_back(uint32_t(wire::Seq(p.tcp.seq) - front));
    return {w.delay};
  };
  const std::string data(8 * 1448, 'x');
  w.a.write(*w.ca, data);
  w.a.tcp->push(w.now, *w.ca);
  w.run(Duration::seconds(
      13));  // long enough for smaller segments to be tried: the head is in pieces
  cut = false;
  std::string got;
  w.run_until(
      [&] {
        got += w.b.read(w.now, *w.cb);
        return got.size() == data.size();
      },
      Duration::seconds(60));
  CHECK(got == data);
  REQUIRE(again.size() > 3);
  CHECK(again[0] == 0);
  CHECK(std::is_sorted(again.begin(), again.end()));
}

TEST_CASE("RTO is SRTT plus at least 200 ms") {
  World w;
  w.delay = Duration::millis(11);
  w.establish();
  w.transfer(1'000'000);
  const tcp::Info info = w.a.tcp->info(*w.ca);
  CHECK(info.srtt_us >= 21'500);
  CHECK(info.srtt_us < 40'000);
  CHECK(info.rto_us >= info.srtt_us + 200'000);
  CHECK(info.rto_us < 300'000);
}

TEST_CASE("reordering within the window costs no timeout and is learnt") {
  World w;
  w.establish();
  Random random = Random::from_seed(5);
  w.hook = [&](Packet& p, bool) -> Fate {
    return {random.chance(100'000) ? w.delay + Duration::millis(3) : w.delay};
  };
  w.transfer(4'000'000);
  CHECK(w.a.tcp->counters().tcp_timeouts == 0);
  // After the first surprises nearly nothing is sent again for nothing.
  CHECK(w.a.tcp->counters().tcp_retransmits < 40);
}

TEST_CASE("a delay spike that looks like loss is undone") {
  World w;
  w.establish();
  w.transfer(500'000);
  const uint32_t before = w.a.tcp->info(*w.ca).cwnd_bytes;
  // The wire stands still for 900 ms and loses nothing.
  const Instant open = w.now + Duration::millis(900);
  w.hook = [&](Packet&, bool from_a) -> Fate {
    return {from_a ? std::max(w.delay, open - w.now) : w.delay};
  };
  w.transfer(200'000);
  w.run(Duration::millis(100));
  CHECK(w.a.tcp->counters().tcp_timeouts >= 1);
  CHECK(w.a.tcp->counters().tcp_spurious_recoveries >= 1);
  CHECK(w.a.tcp->info(*w.ca).cwnd_bytes >= before / 2);
}

TEST_CASE("bad wires of every kind deliver every byte in order") {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    World w;
    w.keep_log = false;
    Random random = Random::from_seed(seed);
    const uint32_t loss = random.below(4) * 30'000;
    const uint32_t dup = random.below(3) * 20'000;
    const uint32_t late = random.below(3) * 50'000;
    const uint32_t corrupt = random.below(2) * 5'000;
    w.delay = Duration::micros(50 + random.below(40'000));
    w.hook = [&](Packet& p, bool) -> Fate {
      if (random.chance(loss)) return {};
      Fate f{w.delay};
      if (random.chance(late)) f[0] = f[0] + Duration::micros(random.below(30'000));
      if (random.chance(dup)) f.push_back(w.delay + Duration::micros(random.below(60'000)));
      if (random.chance(corrupt)) {
        p.bytes[20 + random.below(uint32_t(p.bytes.size() - 20))] ^= uint8_t(1 + random.below(255));
      }
      return f;
    };
    w.establish();
    w.transfer(600'000, Duration::seconds(900));
    w.a.tcp->shutdown_write(w.now, *w.ca);
    CHECK(w.run_until([&] { return w.b.tcp->at_end(*w.cb); }, Duration::seconds(300)));
    w.b.tcp->close(w.now, w.cb);
    w.a.tcp->close(w.now, w.ca);
    w.run(Duration::seconds(400));
    CHECK(w.a.tcp->connection_count() == 0);
    CHECK(w.b.tcp->connection_count() == 0);
  }
}
