// SPDX-License-Identifier: MIT
#include "port/wrap/fault_port.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>

#include "native/port/port_test_kit.h"
#include "port/loopback/loopback_port.h"
#include "wire/checksum.h"

using namespace millrace;
using namespace millrace::test;

namespace {

struct Fixture {
  explicit Fixture(const char* faults, uint32_t ring = 4096, uint32_t held = 1024)
      : pool(8192, 2048),
        port(std::make_unique<LoopbackPort>(pool, 1500, ring), pool, parse_faults(faults).config,
             held) {}
  ~Fixture() {
    port.close();
    CHECK(pool.available() == pool.capacity());
  }
  uint32_t send(uint32_t number, int64_t us = 0) {
    return send_one(port, pool, at_us(us), make_frame(pool, number, 64));
  }
  FramePool pool;
  FaultPort port;
};

}  // namespace

TEST_CASE("without faults everything passes as it is") {
  Fixture f("off");
  for (uint32_t i = 0; i < 50; ++i) CHECK(f.send(i) == 1);
  auto got = receive_all(f.port, {});
  REQUIRE(got.size() == 50);
  for (uint32_t i = 0; i < 50; ++i) CHECK(has_content(*got[i], i, 64));
  CHECK(f.port.next_event().is_never());
  release_all(f.pool, got);
}

TEST_CASE("drop takes its share, on the side it is set for") {
  for (const char* text : {"rx.drop=0.3", "tx.drop=0.3"}) {
    Fixture f(text);
    for (uint32_t i = 0; i < 2000; ++i) CHECK(f.send(i) == 1);
    auto got = receive_all(f.port, {});
    const bool rx = text[0] == 'r';
    const FaultStats& stats = rx ? f.port.rx_faults() : f.port.tx_faults();
    CHECK(got.size() + stats.dropped == 2000);
    CHECK(stats.dropped > 500);
    CHECK(stats.dropped < 700);
    CHECK((rx ? f.port.tx_faults() : f.port.rx_faults()).dropped == 0);
    release_all(f.pool, got);
  }
}

TEST_CASE("the n-th frame is dropped, duplicated, damaged or overtaken exactly once") {
  for (const char* side : {"rx.", "tx."}) {
    Fixture f((std::string(side) + "drop_at=3," + side + "dup_at=5," + side + "corrupt_at=7," +
               side + "reorder_at=8," + side + "reorder_us=100")
                  .c_str());
    for (uint32_t i = 1; i <= 10; ++i) CHECK(f.send(i) == 1);
    auto got = receive_all(f.port, at_us(50));
    CHECK(!f.port.rx_ready());
    CHECK(f.port.next_event() >= at_us(100));
    auto late = receive_all(f.port, at_us(200));
    std::vector<int> numbers;
    for (Frame* frame : got) numbers.push_back(number_of(*frame, 11));
    std::multiset<int> all(numbers.begin(), numbers.end());
    CHECK(all.count(3) == 0);
    CHECK(all.count(5) == 2);
    CHECK(all.count(7) == 0);
    CHECK(all.count(-1) == 1);  // the damaged one
    CHECK(all.count(8) == 0);
    CHECK(got.size() == 9);
    REQUIRE(late.size() == 1);
    CHECK(has_content(*late[0], 8, 64));
    for (Frame* frame : got) {
      const bool damaged = number_of(*frame, 11) < 0;
      CHECK(bool(frame->flags & Frame::kChecksumVerified) == !damaged);
    }
    release_all(f.pool, got);
    release_all(f.pool, late);
  }
}

TEST_CASE("damage always shows in the Internet checksum and spares the sender's frame") {
  Fixture f("tx.corrupt=1");
  for (uint32_t i = 0; i < 500; ++i) {
    Frame* frame = make_frame(f.pool, i, 64);
    if (i % 2) std::memset(frame->data(), i % 4 == 1 ? 0 : 0xff, 64);
    const uint16_t before = wire::checksum_finish(wire::checksum_partial(frame->bytes()));
    f.pool.retain(frame);
    send_one(f.port, f.pool, {}, frame);
    CHECK(wire::checksum_finish(wire::checksum_partial(frame->bytes())) == before);
    auto got = receive_all(f.port, {});
    REQUIRE(got.size() == 1);
    CHECK(wire::checksum_finish(wire::checksum_partial(got[0]->bytes())) != before);
    CHECK((got[0]->flags & Frame::kChecksumVerified) == 0);
    release_all(f.pool, got);
    f.pool.release(frame);
  }
}

TEST_CASE("delay holds every frame for its time, both ways, in order") {
  Fixture f("rx.delay_us=300,tx.delay_us=200");
  for (uint32_t i = 0; i < 10; ++i) CHECK(f.send(i, i) == 1);
  CHECK(receive_all(f.port, at_us(100)).empty());
  CHECK(f.port.next_event() == at_us(200));
  CHECK(receive_all(f.port, at_us(210)).empty());  // through the device, now held on the way in
  CHECK(receive_all(f.port, at_us(509)).empty());
  auto got = receive_all(f.port, at_us(510));
  REQUIRE(got.size() == 10);
  for (uint32_t i = 0; i < 10; ++i) CHECK(has_content(*got[i], i, 64));
  CHECK(f.port.next_event().is_never());
  release_all(f.pool, got);
}

TEST_CASE("once: the n-th frame is delayed, and what follows waits behind it") {
  for (const std::string side : {"rx.", "tx."}) {
    Fixture f((side + "delay_at=4," + side + "delay_us=300").c_str());
    for (uint32_t i = 1; i <= 6; ++i) CHECK(f.send(i) == 1);
    auto got = receive_all(f.port, {});
    REQUIRE(got.size() == 3);
    for (uint32_t i = 0; i < 3; ++i) CHECK(has_content(*got[i], i + 1, 64));
    CHECK(f.send(7, 299) == 1);
    CHECK(receive_all(f.port, at_us(299)).empty());
    CHECK(f.port.next_event() == at_us(300));
    CHECK(f.send(8, 300) == 1);  // comes when the others are due, and goes behind them
    auto late = receive_all(f.port, at_us(300));
    REQUIRE(late.size() == 5);
    for (uint32_t i = 0; i < 5; ++i) CHECK(has_content(*late[i], i + 4, 64));
    const FaultStats& stats = side == "rx." ? f.port.rx_faults() : f.port.tx_faults();
    CHECK(stats.delayed == 1);
    release_all(f.pool, got);
    release_all(f.pool, late);
  }
}

TEST_CASE("by rate: a share of the frames is delayed, and their order stays") {
  for (const std::string side : {"rx.", "tx."}) {
    Fixture f((side + "delay=0.05," + side + "delay_us=40,seed=9").c_str());
    uint32_t next = 0, waited = 0;
    for (uint32_t t = 0; t < 3000; ++t) {
      CHECK(f.send(t, t) == 1);
      auto got = receive_all(f.port, at_us(t));
      if (got.empty()) ++waited;
      for (Frame* frame : got) CHECK(has_content(*frame, next++, 64));
      release_all(f.pool, got);
    }
    auto rest = receive_all(f.port, at_us(4000));
    for (Frame* frame : rest) CHECK(has_content(*frame, next++, 64));
    release_all(f.pool, rest);
    CHECK(next == 3000);
    const FaultStats& stats = side == "rx." ? f.port.rx_faults() : f.port.tx_faults();
    CHECK(stats.delayed > 100);
    CHECK(stats.delayed < 200);
    CHECK(waited > 1000);
    CHECK(waited < 2950);
  }
}

TEST_CASE("once: from the n-th frame on nothing passes, for a time or to the end") {
  for (const std::string side : {"rx.", "tx."}) {
    for (const bool ends : {true, false}) {
      Fixture f((side + "cut_at=3" + (ends ? "," + side + "cut_us=50" : "")).c_str());
      std::vector<int> numbers;
      for (uint32_t t = 1; t <= 100; ++t) {
        CHECK(f.send(t, t) == 1);
        auto got = receive_all(f.port, at_us(t));
        for (Frame* frame : got) numbers.push_back(number_of(*frame, 101));
        release_all(f.pool, got);
      }
      const FaultStats& stats = side == "rx." ? f.port.rx_faults() : f.port.tx_faults();
      // The third comes at 3 us: those until 52 us are gone, the one at 53 us passes.
      REQUIRE(numbers.size() == (ends ? 50 : 2));
      CHECK(stats.cut == 100 - numbers.size());
      CHECK(numbers[1] == 2);
      if (ends) CHECK(numbers[2] == 53);
    }
  }
}

TEST_CASE("by rate: the way is cut now and then, for its time") {
  for (const std::string side : {"rx.", "tx."}) {
    Fixture f((side + "cut=0.01," + side + "cut_us=20,seed=4").c_str());
    uint32_t passed = 0, gaps = 0, last = 0;
    for (uint32_t t = 1; t <= 5000; ++t) {
      CHECK(f.send(t, t) == 1);
      auto got = receive_all(f.port, at_us(t));
      for (Frame* frame : got) {
        const uint32_t number = uint32_t(number_of(*frame, 5001));
        if (number != last + 1) {
          ++gaps;
          CHECK(number - last - 1 >= 20);
        }
        last = number;
        ++passed;
      }
      release_all(f.pool, got);
    }
    const FaultStats& stats = side == "rx." ? f.port.rx_faults() : f.port.tx_faults();
    CHECK(passed + stats.cut == 5000);
    CHECK(gaps > 20);  // one in a hundred of those that pass
    CHECK(gaps < 70);
  }
}

TEST_CASE("duplicates, damage and being overtaken come at their rates") {
  const struct {
    const char* name;
    uint64_t FaultStats::*count;
  } kinds[] = {{"dup", &FaultStats::duplicated},
               {"corrupt", &FaultStats::corrupted},
               {"reorder", &FaultStats::reordered}};
  for (const auto& kind : kinds) {
    for (const bool rx : {true, false}) {
      CAPTURE(kind.name);
      const std::string side = rx ? "rx." : "tx.";
      Fixture f((side + kind.name + "=0.1," + side + "reorder_us=3").c_str());
      uint64_t received = 0, overtaken = 0, damaged = 0;
      int last = -1;
      for (uint32_t t = 0; t < 2010; ++t) {
        if (t < 2000) CHECK(f.send(t, t) == 1);
        auto got = receive_all(f.port, at_us(t));
        for (Frame* frame : got) {
          const int number = number_of(*frame, 2000);
          if (number < 0) ++damaged;
          if (number >= 0 && number < last) ++overtaken;
          last = std::max(last, number);
        }
        received += got.size();
        release_all(f.pool, got);
      }
      const FaultStats& stats = rx ? f.port.rx_faults() : f.port.tx_faults();
      const FaultStats& other = rx ? f.port.tx_faults() : f.port.rx_faults();
      CHECK(stats.*kind.count > 140);
      CHECK(stats.*kind.count < 260);
      CHECK(other.*kind.count == 0);
      CHECK(received == 2000 + stats.duplicated);
      CHECK(damaged == stats.corrupted);
      if (stats.reordered) CHECK(overtaken > 100);
    }
  }
}

TEST_CASE("cut lets nothing through, and faults can be changed while it runs") {
  Fixture f("cut");
  for (uint32_t i = 0; i < 5; ++i) CHECK(f.send(i) == 1);
  CHECK(receive_all(f.port, {}).empty());
  CHECK(f.port.tx_faults().cut == 5);
  f.port.configure({});
  CHECK(f.send(9) == 1);
  auto got = receive_all(f.port, {});
  REQUIRE(got.size() == 1);
  CHECK(has_content(*got[0], 9, 64));
  release_all(f.pool, got);
}

TEST_CASE("what a full device refuses is not lost and not counted twice") {
  Fixture f("tx.drop=0.2,seed=3", 8);
  std::vector<Frame*> sent;
  for (uint32_t i = 0; i < 100; ++i) sent.push_back(make_frame(f.pool, i, 64));
  size_t taken = 0, received = 0;
  while (taken < sent.size()) {
    taken += f.port.transmit({}, std::span(sent).subspan(taken));
    auto got = receive_all(f.port, {});
    received += got.size();
    release_all(f.pool, got);
  }
  CHECK(received + f.port.tx_faults().dropped == 100);
  CHECK(f.port.tx_faults().dropped > 5);
  release_all(f.pool, sent);
}

TEST_CASE("what is held back is bounded") {
  Fixture f("tx.delay_us=1000", 4096, 16);
  for (uint32_t i = 0; i < 20; ++i) CHECK(f.send(i) == 1);
  CHECK(f.port.tx_faults().overflowed == 4);
  auto got = receive_all(f.port, at_us(1000));
  CHECK(got.size() == 16);
  release_all(f.pool, got);
}

TEST_CASE("the same seed treats the same frames the same way") {
  std::vector<int> runs[2];
  for (auto& run : runs) {
    Fixture f(
        "rx.drop=0.2,rx.dup=0.2,rx.corrupt=0.1,rx.reorder=0.3,rx.reorder_us=20,seed=11,"
        "rx.delay=0.1,rx.delay_us=5,rx.cut=0.01,rx.cut_us=3");
    for (int64_t t = 0; t < 200; ++t) {
      f.send(uint32_t(t), t);
      auto got = receive_all(f.port, at_us(t));
      for (Frame* frame : got) run.push_back(number_of(*frame, 200));
      release_all(f.pool, got);
    }
  }
  CHECK(runs[0] == runs[1]);
  CHECK(runs[0].size() > 100);
}
