// SPDX-License-Identifier: MIT
#include "net/ip_layer.h"

#include <doctest/doctest.h>

#include <vector>

#include "support/memory_port.h"

using namespace millrace;
using namespace millrace::net;

namespace {

struct Recorder : TransportHandler {
  explicit Recorder(FramePool& pool) : pool(pool) {}
  void receive(Instant, Frame* frame, const IpMeta& meta) override {
    payload.assign(frame->data(), frame->data() + frame->length);
    last = meta;
    ++received;
    pool.release(frame);
  }
  void icmp_error(Instant, const IcmpError& error) override { ++errors; }
  FramePool& pool;
  std::vector<uint8_t> payload;
  IpMeta last;
  int received = 0;
  int errors = 0;
};

struct Loop {
  FramePool pool{64, 2048};
  TimerWheel timers{Instant{0}};
  Random random = Random::from_seed(1);
  test::MemoryPort port{pool};
  IpLayer ip{pool, timers, random, Limits{}};
  Recorder tcp{pool};
  Instant now{1000};
  uint8_t index = 0;
  Loop() {
    index = ip.attach(port, LinkConfig{}, true);
    ip.set_handler(6, &tcp);
  }
  ~Loop() {
    ip.close();
    port.close();
    CHECK(pool.available() == pool.capacity());
  }
  void bounce() {
    ip.flush(now);
    while (port.sent_count()) ip.input(now, index, port.make_frame(port.take()));
  }
};

const IpAddress kV4 = IpAddress::v4(0x7f000005);
const uint8_t kOne[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

}  // namespace

TEST_CASE("a packet sent over a local_everywhere link comes back whole, in both families") {
  for (const IpAddress& remote : {kV4, IpAddress::v6_bytes(kOne)}) {
    Loop loop;
    Result<Path> path = loop.ip.resolve(IpAddress(), remote);
    REQUIRE(path.ok());
    CHECK(path->local == (remote.is_v4() ? IpAddress::v4(0x7f000001) : remote));
    const std::vector<uint8_t> payload = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    Frame* frame = loop.port.make_frame(payload);
    CHECK(loop.ip.send(loop.now, *path, frame, {.protocol = 6, .ttl = 9, .traffic_class = 2}) ==
          kOk);
    CHECK(frame->tx_pending == 1);
    loop.pool.release(frame);
    loop.bounce();
    CHECK(loop.tcp.received == 1);
    CHECK(loop.tcp.payload == payload);
    CHECK(loop.tcp.last.source == path->local);
    CHECK(loop.tcp.last.destination == remote);
    CHECK(loop.tcp.last.ttl == 9);
    CHECK(loop.tcp.last.traffic_class == 2);
  }
}
