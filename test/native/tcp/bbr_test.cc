// SPDX-License-Identifier: MIT
// BBR by itself, over a line of one bottleneck: a paced sender, a queue, a fixed delay, one ACK for
// each segment (draft-cardwell-iccrg-bbr-congestion-control-00).
#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "tcp/congestion/bbr.h"

using namespace millrace;
using namespace millrace::tcp;

namespace {

constexpr uint32_t kMss = 1000;
constexpr uint32_t kRttUs = 40'000;
constexpr double kRate = 1.25e6;                                // bytes per second: 10 Mbit/s
constexpr uint32_t kProduct = uint32_t(kRate * kRttUs * 1e-6);  // 50 segments
constexpr double kHighGain = 2.885;

struct Line {
  struct Sent {
    int64_t sent_ns, arrives_ns;  // the ACK
    uint64_t delivered;           // when it left
    int64_t delivered_ns;
    int64_t first_sent_ns;
    bool app_limited, lost;
  };
  Bbr bbr{1};
  CongestionWindow window{.cwnd_bytes = 10 * kMss, .ssthresh_bytes = UINT32_MAX, .mss_bytes = kMss};
  int64_t now_ns = 1'000'000'000;
  int64_t next_send_ns = 0, link_free_ns = 0, delivered_ns = 0, first_sent_ns = 0;
  uint64_t delivered = 0, sent = 0, limited_until = 0;
  uint32_t pipe = 0, lost_total = 0, max_pipe = 0, min_pipe = UINT32_MAX;
  double rate = kRate;
  double offered = 1e12;  // what the application writes, bytes per second
  uint32_t lose_every = 0;
  RateSample::Phase phase = RateSample::Phase::kOpen;
  bool probing_rtt = false;
  std::deque<Sent> flight;
  std::vector<double> gains;  // pacing rate by the line's, at every ACK

  Line() { bbr.begin(window, Instant{now_ns}, kRttUs); }

  bool may_send() const {
    return pipe + kMss <= window.cwnd_bytes && next_send_ns <= now_ns &&
           double(sent) < offered * double(now_ns - 1'000'000'000) * 1e-9 + kMss;
  }
  void send() {
    if (flight.empty()) first_sent_ns = delivered_ns = now_ns;
    link_free_ns = std::max(link_free_ns, now_ns) + int64_t(kMss * 1e9 / rate);
    sent += kMss;
    pipe += kMss;
    const bool lost = lose_every && sent / kMss % lose_every == 0;
    flight.push_back({now_ns, link_free_ns + kRttUs * 1000ll, delivered, delivered_ns,
                      first_sent_ns, limited_until != 0, lost});
    next_send_ns = std::max(next_send_ns, now_ns) +
                   int64_t(kMss * 1e9 / double(std::max<uint64_t>(window.pacing_bytes_per_s, 1)));
    max_pipe = std::max(max_pipe, pipe);
  }
  void acknowledge() {
    const Sent s = flight.front();
    flight.pop_front();
    RateSample sample;
    sample.prior_pipe_bytes = pipe;
    pipe -= kMss;
    min_pipe = std::min(min_pipe, pipe);
    sample.now = Instant{now_ns};
    sample.srtt_us = kRttUs;
    sample.lost_bytes = s.lost ? kMss : 0;
    lost_total += sample.lost_bytes;
    if (!s.lost) {
      delivered += kMss;
      sample.acked_bytes = kMss;
      sample.prior_delivered_bytes = s.delivered;
      sample.sample_bytes = int64_t(delivered - s.delivered);
      const int64_t ack_ns = now_ns - s.delivered_ns, send_ns = s.sent_ns - s.first_sent_ns;
      sample.interval_us = std::max(ack_ns, send_ns) / 1000;
      sample.rtt_us = uint32_t((now_ns - s.sent_ns) / 1000);
      sample.app_limited = s.app_limited;
      delivered_ns = now_ns;
      first_sent_ns = s.sent_ns;
    }
    if (limited_until && delivered > limited_until) limited_until = 0;
    sample.delivered_bytes = delivered;
    sample.lost_total_bytes = lost_total;
    sample.pipe_bytes = pipe;
    sample.phase = phase;
    probing_rtt = bbr.on_sample(window, sample);
    if (probing_rtt) limited_until = std::max<uint64_t>(delivered + pipe, 1);
    gains.push_back(double(window.pacing_bytes_per_s) / rate);
  }
  void run(int64_t us) {
    const int64_t end = now_ns + us * 1000;
    while (now_ns < end) {
      while (may_send()) send();
      if (pipe + kMss <= window.cwnd_bytes && next_send_ns <= now_ns) {
        limited_until = std::max<uint64_t>(delivered + pipe, 1);  // nothing to send
      }
      now_ns += 10'000;
      while (!flight.empty() && flight.front().arrives_ns <= now_ns) acknowledge();
    }
  }
  double gain() const { return double(window.pacing_bytes_per_s) / rate; }
  // Bytes per second delivered in the next `us`, as a part of the line's.
  double goodput(int64_t us) {
    const uint64_t before = delivered;
    run(us);
    return double(delivered - before) / (rate * double(us) * 1e-6);
  }
};

}  // namespace

TEST_CASE("BBR: the start doubles the rate in every round until the pipe is full") {
  Line l;
  CHECK(l.gain() ==
        doctest::Approx(10.0 * kMss / (kRttUs * 1e-6) * kHighGain * 0.99 / kRate).epsilon(0.01));
  l.run(kRttUs + 12'000);  // the ACKs of the first round
  const double first = l.gain();
  l.run(2 * kRttUs);
  CHECK(l.gain() > first * 1.8);
  l.run(2 * kRttUs);
  CHECK(l.gain() == doctest::Approx(kHighGain * 0.99).epsilon(0.1));
  CHECK(l.window.first_slow_start());  // three rounds without a quarter more have not gone by
  CHECK(l.max_pipe > kProduct);
}

TEST_CASE(
    "BBR: the queue that the start built is drained, and then the line kept full without one") {
  Line l;
  l.run(5 * kRttUs);
  const uint32_t start_pipe = l.max_pipe;
  CHECK(start_pipe > 2 * kProduct);
  int64_t waited = 0;
  while (l.gain() > 0.5 && waited < 20) l.run(kRttUs / 2), ++waited;
  CHECK(l.gain() == doctest::Approx(0.99 / kHighGain).epsilon(0.05));  // drain
  CHECK(!l.window.first_slow_start());                                 // ssthresh is set then
  CHECK(l.window.ssthresh_bytes >= kProduct);
  l.run(10 * kRttUs);
  l.max_pipe = 0;
  l.min_pipe = UINT32_MAX;
  CHECK(l.goodput(50 * kRttUs) > 0.97);
  CHECK(l.max_pipe < uint32_t(1.5 * kProduct));
  CHECK(l.max_pipe < start_pipe);
  CHECK(l.window.cwnd_bytes >= 2 * kProduct);  // the window is twice what pacing keeps in flight
  CHECK(l.window.cwnd_bytes < 3 * kProduct);
}

TEST_CASE("BBR: probing goes up once, down once and then cruises, one cycle in eight round trips") {
  Line l;
  l.run(20 * kRttUs);
  l.gains.clear();
  l.run(64 * kRttUs);
  size_t up = 0, down = 0, cruise = 0;
  uint32_t probes = 0;
  double before = 1;
  for (const double gain : l.gains) {
    if (gain > 1.1) {
      ++up;
      if (before <= 1.1) ++probes;
    } else if (gain < 0.9) {
      ++down;
    } else {
      ++cruise;
    }
    before = gain;
    CHECK(gain < 1.25 * 1.02);
    CHECK(gain > 0.75 * 0.97);
  }
  CHECK(probes >= 6);
  CHECK(probes <= 9);
  CHECK(cruise > 3 * (up + down) / 2);
  CHECK(up > 0);
  CHECK(down > 0);
}

TEST_CASE("BBR: a line that becomes faster is found by probing, a slower one within ten rounds") {
  Line l;
  l.run(20 * kRttUs);
  l.rate = 2 * kRate;
  l.run(60 * kRttUs);
  CHECK(l.goodput(20 * kRttUs) > 0.9);
  l.rate = kRate;
  l.run(100 * kRttUs);  // a round is longer while the queue is
  l.max_pipe = 0;
  CHECK(l.goodput(20 * kRttUs) > 0.95);
  CHECK(l.gain() < 1.3);
  CHECK(l.max_pipe < 2 * kProduct);
}

TEST_CASE("BBR: after ten seconds it looks at the round trip with four segments, for 200 ms") {
  Line l;
  l.run(9'900'000);
  CHECK(!l.probing_rtt);
  const uint32_t before = l.window.cwnd_bytes;
  int64_t waited_us = 0;
  while (!l.probing_rtt && waited_us < 1'000'000) l.run(1000), waited_us += 1000;
  REQUIRE(l.probing_rtt);
  CHECK(l.window.cwnd_bytes == 4 * kMss);
  int64_t lasted_us = 0;
  uint32_t largest = 0;
  while (l.probing_rtt && lasted_us < 2'000'000) {
    largest = std::max(largest, l.window.cwnd_bytes);
    l.run(1000);
    lasted_us += 1000;
  }
  CHECK(largest == 4 * kMss);
  CHECK(lasted_us >= 200'000);
  CHECK(lasted_us < 200'000 + 4 * int64_t(kRttUs));
  CHECK(l.window.cwnd_bytes + 2 * kMss >= before);  // as it was, but for the phase of the probing
  CHECK(l.goodput(20 * kRttUs) > 0.95);  // what was seen meanwhile is no measure of the line
}

TEST_CASE("BBR: an application that writes little neither ends the start nor lowers the estimate") {
  Line slow;
  slow.offered = kRate / 10;
  slow.run(30 * kRttUs);
  CHECK(slow.window.first_slow_start());
  CHECK(slow.goodput(20 * kRttUs) == doctest::Approx(0.1).epsilon(0.1));
  slow.offered = 1e12;
  slow.run(12 * kRttUs);
  CHECK(slow.goodput(20 * kRttUs) > 0.95);

  Line fast;
  fast.run(30 * kRttUs);
  fast.offered = double(fast.sent) / (double(fast.now_ns - 1'000'000'000) * 1e-9) / 20;
  fast.run(5 * kRttUs);  // stands still: all that was in flight arrives
  CHECK(fast.pipe == 0);
  fast.bbr.on_idle(fast.window, Instant{fast.now_ns}, Duration::micros(5 * kRttUs));
  CHECK(fast.gain() == doctest::Approx(0.99).epsilon(0.03));  // goes on at the rate found before
  fast.offered = 1e12;
  CHECK(fast.goodput(20 * kRttUs) > 0.9);
}

TEST_CASE("BBR: random loss does not shrink the rate; a recovery sends what arrives, for a round") {
  Line l;
  l.run(30 * kRttUs);
  const uint32_t window = l.window.cwnd_bytes, threshold = l.window.ssthresh_bytes;
  CHECK(l.bbr.on_loss(l.window, l.pipe) == threshold);
  l.phase = RateSample::Phase::kFast;
  l.acknowledge();
  CHECK(l.window.cwnd_bytes <= l.pipe + 2 * kMss);
  const uint32_t conserving = l.window.cwnd_bytes;
  CHECK(conserving < window);
  l.phase = RateSample::Phase::kOpen;
  l.acknowledge();
  CHECK(l.window.cwnd_bytes >= window);

  Line lossy;
  lossy.lose_every = 50;  // 2 %: more than Reno or CUBIC could live with on this path
  lossy.run(30 * kRttUs);
  CHECK(lossy.goodput(50 * kRttUs) > 0.9);
}

TEST_CASE("BBR: a timeout and an undone loss look for the full pipe anew") {
  Line l;
  l.run(3 * kRttUs);  // in the start
  l.bbr.on_timeout();
  l.window.cwnd_bytes = kMss;
  l.phase = RateSample::Phase::kLoss;
  l.run(2 * kRttUs);
  l.phase = RateSample::Phase::kOpen;
  l.run(12 * kRttUs);
  CHECK(l.goodput(20 * kRttUs) > 0.95);
  l.bbr.on_undo(l.window);
  CHECK(l.goodput(20 * kRttUs) > 0.95);
}
