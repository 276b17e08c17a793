// SPDX-License-Identifier: MIT
#include "port/loopback/loopback_port.h"

#include <doctest/doctest.h>

#include "native/port/port_test_kit.h"

using namespace millrace;
using namespace millrace::test;

TEST_CASE("loopback returns copies in order and leaves the sender its frame") {
  FramePool pool(64, 2048);
  LoopbackPort port(pool, 1500, 16);
  CHECK(port.info().link == LinkType::kIp);
  CHECK(port.info().mtu_bytes == 1500);
  CHECK(!port.rx_ready());
  std::vector<Frame*> sent;
  for (uint32_t i = 0; i < 5; ++i) sent.push_back(make_frame(pool, i, 100 + i));
  CHECK(port.transmit({}, sent) == 5);
  CHECK(port.rx_ready());
  for (Frame* frame : sent) {
    CHECK(frame->refs == 1);
    CHECK(frame->tx_pending == 0);
    std::memset(frame->data(), 0xee, frame->length);  // the copy must not see this
  }
  auto got = receive_all(port, {});
  REQUIRE(got.size() == 5);
  for (uint32_t i = 0; i < 5; ++i) {
    CHECK(has_content(*got[i], i, 100 + i));
    CHECK(got[i]->flags == Frame::kChecksumVerified);
    CHECK(got[i]->refs == 1);
  }
  CHECK(!port.rx_ready());
  CHECK(port.stats().tx_frames == 5);
  CHECK(port.stats().rx_bytes == 510);
  release_all(pool, sent);
  release_all(pool, got);
  port.close();
  CHECK(pool.available() == pool.capacity());
}

TEST_CASE("loopback refuses the rest when its ring is full, and goes on when there is room") {
  FramePool pool(64, 2048);
  LoopbackPort port(pool, 1500, 8);
  std::vector<Frame*> sent;
  for (uint32_t i = 0; i < 12; ++i) sent.push_back(make_frame(pool, i, 60));
  CHECK(port.transmit({}, sent) == 8);
  CHECK(port.stats().tx_full == 1);
  std::array<Frame*, 3> few;
  CHECK(port.receive({}, few) == 3);
  CHECK(port.transmit({}, std::span(sent).subspan(8)) == 3);
  for (uint32_t i = 0; i < 3; ++i) CHECK(has_content(*few[i], i, 60));
  for (Frame* frame : few) pool.release(frame);
  auto rest = receive_all(port, {});
  REQUIRE(rest.size() == 8);
  for (uint32_t i = 0; i < 8; ++i) CHECK(has_content(*rest[i], i + 3, 60));
  release_all(pool, rest);
  release_all(pool, sent);
  CHECK(pool.available() == pool.capacity());
}

TEST_CASE("loopback refuses when the pool is empty and gives everything back on close") {
  FramePool pool(6, 2048);
  LoopbackPort port(pool, 1500, 16);
  std::vector<Frame*> sent;
  for (uint32_t i = 0; i < 4; ++i) sent.push_back(make_frame(pool, i, 60));
  CHECK(port.transmit({}, sent) == 2);
  CHECK(pool.available() == 0);
  release_all(pool, sent);
  port.close();
  CHECK(pool.available() == pool.capacity());
}

TEST_CASE("loopback drops what is longer than its MTU, and vouches for nothing that was damaged") {
  FramePool pool(8, 4096);
  LoopbackPort port(pool, 1500, 4);
  CHECK(send_one(port, pool, {}, make_frame(pool, 0, 1501)) == 1);
  CHECK(!port.rx_ready());
  CHECK(port.stats().tx_dropped == 1);
  Frame* damaged = make_frame(pool, 1, 1500);
  damaged->flags |= Frame::kTampered;
  CHECK(send_one(port, pool, {}, damaged) == 1);
  auto got = receive_all(port, {});
  REQUIRE(got.size() == 1);
  CHECK(got[0]->flags == 0);
  release_all(pool, got);
}
