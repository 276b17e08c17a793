// SPDX-License-Identifier: MIT
#include "port/sim/sim_network.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "native/port/port_test_kit.h"
#include "wire/checksum.h"

using namespace millrace;
using namespace millrace::test;

namespace {

struct Pair {
  explicit Pair(const SimConditions& conditions, SimPortOptions options = {}, uint64_t seed = 1)
      : network(seed, 8192), pool_a(4096, 2048), pool_b(4096, 2048) {
    a = network.add_port(pool_a, options);
    b = network.add_port(pool_b, options);
    network.set_conditions(0, conditions);
  }
  ~Pair() {
    a->close();
    b->close();
    CHECK(network.in_flight() == 0);
    CHECK(pool_a.available() == pool_a.capacity());
    CHECK(pool_b.available() == pool_b.capacity());
  }
  void send(uint32_t number, Instant now, uint32_t length = 100) {
    CHECK(send_one(*a, pool_a, now, make_frame(pool_a, number, length)) == 1);
  }
  std::vector<int> receive(Instant now) {
    auto got = receive_all(*b, now);
    std::vector<int> numbers;
    for (Frame* frame : got) numbers.push_back(number_of(*frame, 256));
    release_all(pool_b, got);
    return numbers;
  }
  SimNetwork network;
  FramePool pool_a, pool_b;
  std::unique_ptr<SimPort> a, b;
};

}  // namespace

TEST_CASE("frames arrive after the delay, in order, in the other stack's pool") {
  Pair p({.delay = Duration::millis(10)});
  for (uint32_t i = 0; i < 5; ++i) p.send(i, at_us(i));
  CHECK(p.network.next_event() == at_us(10'000));
  CHECK(p.b->next_event() == at_us(10'000));
  CHECK(p.a->next_event().is_never());
  CHECK(p.receive(at_us(9'999)).empty());
  CHECK(p.receive(at_us(10'001)) == std::vector<int>{0, 1});
  CHECK(p.receive(at_us(20'000)) == std::vector<int>{2, 3, 4});
  CHECK(p.network.in_flight() == 0);
}

TEST_CASE("loss, bursts and duplicates happen at their rates") {
  Pair alone({.loss = 100'000});
  Pair bursts({.burst_start = 20'000, .burst_frames = 8});
  Pair twice({.duplicate = 100'000});
  size_t alone_got = 0, twice_got = 0, runs = 0;
  std::set<int> last;
  std::vector<bool> lost;
  for (uint32_t i = 0; i < 2000; ++i) {
    alone.send(i % 256, at_us(i)), bursts.send(i % 256, at_us(i)), twice.send(i % 256, at_us(i));
    alone_got += alone.receive(at_us(i)).size();
    lost.push_back(bursts.receive(at_us(i)).empty());
    twice_got += twice.receive(at_us(i)).size();
  }
  CHECK(alone_got > 1700);
  CHECK(alone_got < 1900);
  CHECK(twice_got > 2100);
  CHECK(twice_got < 2300);
  const size_t lost_count = size_t(std::count(lost.begin(), lost.end(), true));
  for (size_t i = 1; i < lost.size(); ++i) runs += lost[i] && !lost[i - 1];
  CHECK(runs > 15);
  CHECK(lost_count > 4 * runs);  // they come together
}

TEST_CASE("reordered frames arrive later than those behind them, and all arrive") {
  Pair p({.reorder = 200'000, .reorder_by = Duration::millis(1), .delay = Duration::millis(1)});
  for (uint32_t i = 0; i < 200; ++i) p.send(i, at_us(i * 10));
  auto got = p.receive(at_us(100'000));
  CHECK(got.size() == 200);
  CHECK(!std::is_sorted(got.begin(), got.end()));
  std::sort(got.begin(), got.end());
  for (int i = 0; i < 200; ++i) CHECK(got[size_t(i)] == i);
}

TEST_CASE("a slow line spaces frames and drops the tail of a full queue") {
  // 8 Mbit/s: a byte takes a microsecond.
  Pair p({.rate_bits_per_s = 8'000'000, .queue_bytes = 1000});
  for (uint32_t i = 0; i < 20; ++i) p.send(i, at_us(0));
  CHECK(p.receive(at_us(99)).empty());
  CHECK(p.receive(at_us(100)) == std::vector<int>{0});
  CHECK(p.receive(at_us(350)) == std::vector<int>{1, 2});
  CHECK(p.receive(at_us(10'000)).size() == 7);  // ten in all
}

TEST_CASE("marks: CE on what can be marked, the header's checksum stays right, the rest is left") {
  Pair p({.mark = 1'000'000});
  for (const uint8_t version : {uint8_t(4), uint8_t(6)}) {
    for (const uint8_t ecn : {0, 1, 2, 3}) {
      Frame* frame = make_frame(p.pool_a, 1, 60);
      uint8_t* ip = frame->data();
      std::memset(ip, 0x5a, 20);
      ip[0] = version == 4 ? 0x45 : 0x6a;
      ip[1] = version == 4 ? uint8_t(0xb8 | ecn) : uint8_t(ecn << 4 | 5);
      ip[10] = ip[11] = 0;
      const uint16_t sum = wire::checksum_finish(wire::checksum_partial({ip, 20}));
      std::memcpy(ip + 10, &sum, 2);
      send_one(*p.a, p.pool_a, {}, frame);
      auto got = receive_all(*p.b, {});
      REQUIRE(got.size() == 1);
      const uint8_t* out = got[0]->data();
      const int expected = ecn == 0 ? 0 : 3;
      const int now = version == 4 ? out[1] & 3 : out[1] >> 4 & 3;
      CHECK(now == expected);
      if (version == 4) {
        const int dscp = out[1] >> 2;
        CHECK(dscp == 0x2e);
        CHECK(wire::checksum_fold(wire::checksum_partial({out, 20})) == 0xffff);
      }
      release_all(p.pool_b, got);
    }
  }
}

TEST_CASE("marks: a queue marks from its threshold on") {
  Pair p({.mark_from_bytes = 300, .rate_bits_per_s = 8'000'000});
  int marked = 0;
  for (uint32_t i = 0; i < 10; ++i) {
    Frame* frame = make_frame(p.pool_a, i, 100);
    frame->data()[0] = 0x45;
    frame->data()[1] = 2;
    send_one(*p.a, p.pool_a, {}, frame);
  }
  auto got = receive_all(*p.b, at_us(10'000));
  REQUIRE(got.size() == 10);
  for (size_t i = 0; i < got.size(); ++i) marked += (got[i]->data()[1] & 3) == 3;
  CHECK(marked == 7);  // all but those that found 0, 100 and 200 bytes before them
  release_all(p.pool_b, got);
}

TEST_CASE("corruption: the visible kind always breaks the sum, the hidden kind never") {
  Pair visible({.corrupt = 1'000'000});
  Pair hidden({.corrupt_hidden = 1'000'000});
  int changed = 0;
  for (uint32_t i = 0; i < 500; ++i) {
    for (Pair* p : {&visible, &hidden}) {
      Frame* frame = make_frame(p->pool_a, i, 120);
      if (i % 3 == 0) std::memset(frame->data(), i % 2 ? 0xff : 0, 120);
      const uint64_t before = wire::checksum_fold(wire::checksum_partial(frame->bytes()));
      std::vector<uint8_t> copy(frame->data(), frame->data() + 120);
      send_one(*p->a, p->pool_a, {}, frame);
      auto got = receive_all(*p->b, {});
      REQUIRE(got.size() == 1);
      const uint64_t after = wire::checksum_fold(wire::checksum_partial(got[0]->bytes()));
      CHECK((before == after) == (p == &hidden));
      CHECK(got[0]->flags == 0);
      if (p == &hidden) {
        changed += std::memcmp(copy.data(), got[0]->data(), 120) != 0;
        CHECK(std::memcmp(copy.data(), got[0]->data(), 20) == 0);
      }
      release_all(p->pool_b, got);
    }
  }
  CHECK(changed > 250);
}

TEST_CASE("the link can be cut and mended, and its MTU changed, while it runs") {
  Pair p({});
  p.send(1, at_us(0));
  p.network.set_conditions(0, {.up = false});
  p.send(2, at_us(1));
  CHECK(p.receive(at_us(1)) == std::vector<int>{1});  // what was on its way arrives
  p.network.set_conditions(0, {.mtu_bytes = 600});
  p.send(3, at_us(2), 600);
  p.send(4, at_us(2), 601);
  CHECK(p.receive(at_us(2)) == std::vector<int>{3});
}

TEST_CASE("a router that says why a packet did not fit") {
  for (bool v6 : {false, true}) {
    Pair p({.delay = Duration::micros(5), .mtu_bytes = 1280, .answer_too_big = true});
    Frame* frame = make_frame(p.pool_a, 0, 1400);
    uint8_t* ip = frame->data();
    ip[0] = v6 ? 0x60 : 0x45;
    ip[v6 ? 6 : 9] = 6;
    std::vector<uint8_t> sent(ip, ip + 1400);
    send_one(*p.a, p.pool_a, at_us(0), frame);
    CHECK(p.receive(at_us(100)).empty());
    auto got = receive_all(*p.a, at_us(5));
    REQUIRE(got.size() == 1);
    const uint8_t* a = got[0]->data();
    const size_t header = v6 ? 40 : 20;
    REQUIRE(got[0]->length == (v6 ? 1280 : 576));
    CHECK(std::memcmp(a + (v6 ? 24 : 16), sent.data() + (v6 ? 8 : 12), v6 ? 16 : 4) == 0);
    CHECK(a[header] == (v6 ? 2 : 3));
    CHECK(wire::load16(a + header + 6) == 1280);
    CHECK(std::memcmp(a + header + 8, sent.data(), got[0]->length - header - 8) == 0);
    if (!v6) CHECK(wire::checksum_finish(wire::checksum_partial({a, 20})) == 0);
    if (!v6) {
      CHECK(wire::checksum_finish(wire::checksum_partial({a + 20, got[0]->length - 20})) == 0);
    }
    release_all(p.pool_a, got);
  }
}

TEST_CASE("a device that reads frames later holds them, and notices a change") {
  Pair p({}, {.tx_hold = Duration::micros(50), .tx_ring_frames = 2});
  std::vector<Frame*> sent;
  for (uint32_t i = 0; i < 3; ++i) sent.push_back(make_frame(p.pool_a, i, 100));
  CHECK(p.a->transmit(at_us(0), sent) == 2);
  CHECK(p.a->stats().tx_full == 1);
  CHECK(sent[0]->tx_pending == 1);
  CHECK(sent[0]->refs == 2);
  CHECK(sent[2]->tx_pending == 0);
  CHECK(p.network.next_event() == at_us(50));
  std::array<Frame*, 1> none;
  CHECK(p.a->receive(at_us(49), none) == 0);
  CHECK(sent[0]->tx_pending == 1);
  sent[1]->data()[0] ^= 1;
  CHECK(p.a->receive(at_us(50), none) == 0);
  CHECK(sent[0]->tx_pending == 0);
  CHECK(sent[0]->refs == 1);
  CHECK(p.a->changed_while_pending() == 1);
  CHECK(p.receive(at_us(50)) == std::vector<int>{0, -1});
  CHECK(p.a->transmit(at_us(60), std::span(sent).subspan(2)) == 1);  // still held at close
  release_all(p.pool_a, sent);
}

TEST_CASE("an exhausted pool or a full network drops and counts") {
  SimNetwork network(1, 4);
  FramePool pool_a(64, 2048), pool_b(2, 2048);
  auto a = network.add_port(pool_a, {}), b = network.add_port(pool_b, {});
  for (uint32_t i = 0; i < 6; ++i) send_one(*a, pool_a, {}, make_frame(pool_a, i, 100));
  CHECK(network.in_flight() == 4);
  auto got = receive_all(*b, {});
  CHECK(got.size() == 2);
  CHECK(b->stats().rx_dropped == 2);
  release_all(pool_b, got);
  a->close(), b->close();
}

TEST_CASE("three ports: Ethernet by link address, groups to all; IP by address") {
  for (LinkType link : {LinkType::kEthernet, LinkType::kIp}) {
    SimNetwork network(1, 64);
    FramePool pool(64, 2048);
    std::unique_ptr<SimPort> ports[3];
    for (uint8_t i = 0; i < 3; ++i) {
      ports[i] = network.add_port(pool, {.link = link});
      const std::array<uint8_t, 6> mac{2, 0, 0, 0, 0, i};
      ports[i]->set_mac(mac);
      ports[i]->add_address(wire::IpAddress::v4(0x0a000000u + i));
    }
    auto send_to = [&](uint8_t to, bool group) {
      Frame* frame = make_frame(pool, 0, 100);
      if (link == LinkType::kEthernet) {
        const uint8_t mac[6] = {uint8_t(group ? 0xff : 2), 0, 0, 0, 0, to};
        std::memcpy(frame->data(), mac, 6);
      } else {
        frame->data()[0] = 0x45;
        wire::store32(frame->data() + 16, 0x0a000000u + to);
      }
      send_one(*ports[0], pool, {}, frame);
    };
    auto count = [&](uint8_t i) {
      auto got = receive_all(*ports[i], {});
      const size_t n = got.size();
      release_all(pool, got);
      return n;
    };
    send_to(2, false);
    CHECK(count(1) == 0);
    CHECK(count(2) == 1);
    send_to(7, false);  // nobody
    CHECK(network.in_flight() == 0);
    if (link == LinkType::kEthernet) {
      send_to(0xff, true);
      CHECK(count(0) == 0);
      CHECK(count(1) == 1);
      CHECK(count(2) == 1);
    }
    for (auto& port : ports) port->close();
    CHECK(pool.available() == pool.capacity());
  }
}

TEST_CASE("the same seed gives the same run, another seed another") {
  auto run = [](uint64_t seed) {
    Pair p({.loss = 100'000,
            .burst_start = 10'000,
            .burst_frames = 3,
            .duplicate = 50'000,
            .reorder = 200'000,
            .reorder_by = Duration::micros(500),
            .corrupt = 50'000,
            .delay = Duration::micros(100),
            .rate_bits_per_s = 100'000'000,
            .queue_bytes = 5000},
           {}, seed);
    std::vector<int> all;
    for (uint32_t i = 0; i < 200; ++i) {
      p.send(i, at_us(i * 5));
      for (int n : p.receive(at_us(i * 5))) all.push_back(n);
    }
    for (int n : p.receive(at_us(100'000))) all.push_back(n);
    return all;
  };
  CHECK(run(5) == run(5));
  CHECK(run(5) != run(6));
}
