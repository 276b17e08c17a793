// SPDX-License-Identifier: MIT
// The congestion control algorithms by themselves: numbers in, window out.
#include <doctest/doctest.h>

#include <initializer_list>

#include "tcp/congestion/cubic.h"
#include "tcp/congestion/new_reno.h"

using namespace millrace;
using namespace millrace::tcp;
using wire::Seq;

namespace {

constexpr uint32_t kMss = 1000;

// A sender whose window is always full: a round acknowledges all of it, one segment per ACK.
template <typename Algorithm>
struct Sender {
  Algorithm algorithm;
  CongestionWindow window{.cwnd_bytes = 10 * kMss, .ssthresh_bytes = UINT32_MAX, .mss_bytes = kMss};
  Instant now{1'000'000'000};
  Seq una{1};
  Seq nxt{1 + 10 * kMss};

  void round(uint32_t rtt_us) {
    const Seq end = nxt;
    now = now + Duration::micros(rtt_us);
    while (una < end) {
      nxt = una + window.cwnd_bytes;  // what this ACK releases has not left yet
      una += kMss;
      algorithm.on_ack(window, {.now = now,
                                .acked_bytes = kMss,
                                .rtt_us = rtt_us,
                                .srtt_us = rtt_us,
                                .una = una,
                                .nxt = nxt});
    }
  }
  void lose() {
    window.ssthresh_bytes = algorithm.on_loss(window, window.cwnd_bytes);
    window.cwnd_bytes = window.ssthresh_bytes;
  }
  uint32_t segments() const { return window.cwnd_bytes / kMss; }
};

}  // namespace

TEST_CASE("HyStart++: steady round trips leave slow start alone (RFC 9406 4.2)") {
  Sender<Cubic> s;
  for (int i = 0; i < 5; ++i) s.round(20'000);
  CHECK(s.segments() > 250);
  CHECK(s.segments() <= 320);
  CHECK(s.window.first_slow_start());
}

TEST_CASE("HyStart++: growing round trips slow it down, and end it after five rounds") {
  Sender<Cubic> s;
  s.round(40'000);
  s.round(40'000);
  s.round(44'000);  // less than an eighth more
  s.round(46'000);  // an eighth of 44 ms is 5.5 ms: still too little
  const uint32_t before = s.segments();
  CHECK(before > 130);
  s.round(52'000);  // conservative from the eighth sample on
  const uint32_t first = s.segments();
  CHECK(first > before + before / 4 - 5);
  CHECK(first < before + before / 4 + 10);
  for (int i = 0; i < 3; ++i) s.round(52'000);
  CHECK(s.window.first_slow_start());
  CHECK(s.segments() < first * 2);
  s.round(52'000);
  CHECK(!s.window.first_slow_start());
  CHECK(!s.window.slow_start());
}

TEST_CASE("HyStart++: round trips that shrink again resume slow start (RFC 9406 4.2)") {
  Sender<Cubic> s;
  s.round(40'000);
  s.round(40'000);
  s.round(60'000);
  const uint32_t slow = s.segments();
  CHECK(slow < 56);
  s.round(41'000);
  s.round(41'000);
  CHECK(s.segments() > slow * 3);
  for (int i = 0; i < 5; ++i) s.round(41'000);
  CHECK(s.window.first_slow_start());
}

TEST_CASE("HyStart++: only the first slow start (RFC 9406 4.3)") {
  Sender<Cubic> s;
  for (int i = 0; i < 4; ++i) s.round(40'000);
  s.window.ssthresh_bytes = s.algorithm.on_loss(s.window, s.window.cwnd_bytes);
  s.algorithm.on_timeout();
  s.window.cwnd_bytes = 10 * kMss;
  s.round(40'000);
  s.round(100'000);
  s.round(200'000);
  CHECK(s.segments() > 60);
}

TEST_CASE("CUBIC: 0.7 on loss, back to the old maximum after K, then beyond (RFC 9438 4.2, 4.6)") {
  Sender<Cubic> s;
  s.window = {.cwnd_bytes = 1000 * kMss, .ssthresh_bytes = 1000 * kMss, .mss_bytes = kMss};
  s.lose();
  CHECK(s.segments() == 700);
  // K = cbrt((1000 - 700) / 0.4) = 9.09 s: 90 rounds of 100 ms.
  for (int i = 0; i < 45; ++i) s.round(100'000);
  CHECK(s.segments() > 930);  // 1000 - 0.4 * 4.54^3 = 962
  CHECK(s.segments() < 980);
  for (int i = 0; i < 47; ++i) s.round(100'000);
  CHECK(s.segments() >= 995);
  CHECK(s.segments() <= 1010);
  for (int i = 0; i < 60; ++i) s.round(100'000);
  CHECK(s.segments() > 1070);  // 0.4 * 6^3 = 86 past the plateau
  CHECK(s.segments() < 1110);
}

TEST_CASE("CUBIC: a second loss below the old maximum makes room (RFC 9438 4.7)") {
  Sender<Cubic> s;
  s.window = {.cwnd_bytes = 1000 * kMss, .ssthresh_bytes = 1000 * kMss, .mss_bytes = kMss};
  s.lose();
  for (int i = 0; i < 10; ++i) s.round(100'000);
  const double again = s.segments();
  CHECK(again < 1000);
  s.lose();
  // The plateau is now at 0.85 of that window.
  for (int i = 0; i < 75; ++i) s.round(100'000);
  CHECK(s.segments() < again * 0.85 * 1.02);
  CHECK(s.segments() > again * 0.85 * 0.97);
}

TEST_CASE("CUBIC: on short paths Reno's slope, 0.53 per round, by the RFC then 1 (RFC 9438 4.3)") {
  for (const bool rfc : {false, true}) {
    Sender<Cubic> s{.algorithm = Cubic(rfc)};
    s.window = {.cwnd_bytes = 100 * kMss, .ssthresh_bytes = 100 * kMss, .mss_bytes = kMss};
    s.lose();
    CHECK(s.segments() == 70);
    for (int i = 0; i < 40; ++i) s.round(1'000);
    CHECK(s.segments() >= 89);  // 70 + 40 * 0.529 = 91
    CHECK(s.segments() <= 92);
    for (int i = 0; i < 57; ++i) s.round(1'000);
    // 17 more rounds to the 100 segments of the cut; by the RFC one segment per round from there.
    CHECK(s.segments() >= (rfc ? 135 : 118));
    CHECK(s.segments() <= (rfc ? 142 : 122));
  }
}

TEST_CASE("CUBIC: a timeout forgets the old maximum (RFC 9438 4.8)") {
  Sender<Cubic> s;
  s.window = {.cwnd_bytes = 1000 * kMss, .ssthresh_bytes = 1000 * kMss, .mss_bytes = kMss};
  s.window.ssthresh_bytes = s.algorithm.on_loss(s.window, s.window.cwnd_bytes);
  s.algorithm.on_timeout();
  s.window.cwnd_bytes = 100 * kMss;
  s.window.ssthresh_bytes = 100 * kMss;
  s.nxt = s.una + s.window.cwnd_bytes;
  s.round(100'000);
  // No curve towards 1000: the search grows by a twentieth per round trip.
  CHECK(s.segments() >= 104);
  CHECK(s.segments() <= 106);
}

TEST_CASE("CUBIC: time in which nothing was sent does not count (RFC 9438 5.8)") {
  Sender<Cubic> a, b;
  for (Sender<Cubic>* s : {&a, &b}) {
    s->window = {.cwnd_bytes = 1000 * kMss, .ssthresh_bytes = 1000 * kMss, .mss_bytes = kMss};
    s->lose();
    for (int i = 0; i < 10; ++i) s->round(100'000);
  }
  b.now = b.now + Duration::seconds(20);
  b.algorithm.on_idle(b.window, b.now, Duration::seconds(20));
  a.round(100'000);
  b.round(100'000);
  CHECK(a.segments() == b.segments());
}

TEST_CASE("CUBIC: after an undone loss the curve goes on as it was (RFC 9438 4.9.1)") {
  Sender<Cubic> a, b;
  for (Sender<Cubic>* s : {&a, &b}) {
    s->window = {.cwnd_bytes = 1000 * kMss, .ssthresh_bytes = 1000 * kMss, .mss_bytes = kMss};
    s->lose();
    for (int i = 0; i < 10; ++i) s->round(100'000);
  }
  const CongestionWindow before = b.window;
  (void)b.algorithm.on_loss(b.window, b.window.cwnd_bytes);
  b.window = before;
  b.algorithm.on_undo(b.window);
  for (int i = 0; i < 60; ++i) {
    a.round(100'000);
    b.round(100'000);
  }
  CHECK(b.segments() == a.segments());
  // The same in the convex part, beyond the old maximum, and on Reno's slope.
  for (int i = 0; i < 60; ++i) {
    a.round(100'000);
    b.round(100'000);
  }
  const CongestionWindow beyond = b.window;
  CHECK(b.segments() > 1000);
  (void)b.algorithm.on_loss(b.window, b.window.cwnd_bytes);
  b.algorithm.on_timeout();
  b.window = beyond;
  b.algorithm.on_undo(b.window);
  for (int i = 0; i < 30; ++i) {
    a.round(100'000);
    b.round(100'000);
  }
  CHECK(b.segments() == a.segments());
}

TEST_CASE("NewReno: one segment per round, half on loss (RFC 5681 3.1)") {
  Sender<NewReno> s;
  s.window = {.cwnd_bytes = 100 * kMss, .ssthresh_bytes = 100 * kMss, .mss_bytes = kMss};
  for (int i = 0; i < 10; ++i) s.round(10'000);
  CHECK(s.segments() >= 109);
  CHECK(s.segments() <= 110);
  s.lose();
  CHECK(s.segments() / 2 <= 55 / 2);
  CHECK(s.window.cwnd_bytes >= 54 * kMss);
}
