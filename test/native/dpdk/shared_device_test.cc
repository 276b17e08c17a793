// SPDX-License-Identifier: MIT
// One device and several who have a part of it, in any order, over DPDK's net_null: its queues
// bring empty packets without end.
#include "port/dpdk/shared_device.h"

#include <doctest/doctest.h>
#include <rte_dev.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "port/dpdk/dpdk_port.h"
#include "ring_device.h"

namespace millrace::dpdk {
namespace {

// DPDK starts once in a process, with the arguments of the other tests.
bool started() {
  test::start_dpdk();
  static const bool done =
      rte_dev_probe("net_null0") == 0 && rte_dev_probe("net_null1,no-rx=1") == 0;
  return done;
}

DeviceSettings settings(uint32_t queues, bool shared, const char* name = "net_null0") {
  return {.name = name, .queues = queues, .shared = shared, .any_driver = true};
}

// True when this port receives.
bool receives(DpdkPort& port, FramePool& pool) {
  Frame* frames[32];
  for (int i = 0; i < 100; ++i) {
    const uint32_t n = port.receive({}, frames);
    for (uint32_t k = 0; k < n; ++k) pool.release(frames[k]);
    if (n > 0) return true;
  }
  return false;
}

// Sends a frame; true when the port has taken it and it is free again at once.
bool sends(DpdkPort& port, FramePool& pool) {
  Frame* frame = pool.alloc();
  frame->length = 60;
  const bool sent = port.transmit({}, {&frame, 1}) == 1;
  const bool ours_alone = frame->tx_pending == 0 && frame->refs == 1;
  pool.release(frame);
  return sent && ours_alone;
}

}  // namespace

TEST_CASE("a device of a driver that nobody has tried with several stacks is left alone") {
  REQUIRE(started());
  SetupError error;
  DeviceLease lease;
  DeviceSettings strict = settings(2, true);
  strict.any_driver = false;
  CHECK_FALSE(lease.take(strict, error));
  CHECK(error.code == EOPNOTSUPP);
  CHECK(std::string_view(error.text).find("over net_af_xdp only, and net_null0 is of net_null") !=
        std::string_view::npos);
  strict.shared = false;
  error = {};
  CHECK_MESSAGE(lease.take(strict, error), error.text);
}

TEST_CASE("a device is its queues': each has one, and what is left goes to the next") {
  REQUIRE(started());
  SetupError error;
  DeviceLease first, second, third;
  REQUIRE_MESSAGE(first.take(settings(2, true), error), error.text);
  REQUIRE_MESSAGE(second.take(settings(2, true), error), error.text);
  CHECK(first.opened());
  CHECK(!second.opened());
  CHECK(&first.device() == &second.device());
  CHECK(first.first_queue() == 0);
  CHECK(second.first_queue() == 1);
  CHECK(first.queues() == 1);
  CHECK(!third.take(settings(2, true), error));
  CHECK(error.code == EBUSY);
  CHECK(!third.holds());
  first.end();
  REQUIRE(third.take(settings(2, true), error));
  CHECK(third.first_queue() == 0);
  CHECK(!third.opened());
  second.end();
  CHECK(third.device().is_open());
  third.end();
  third.end();
}

TEST_CASE("the last one closes the device, and whoever comes then opens it again") {
  REQUIRE(started());
  SetupError error;
  for (int i = 0; i < 3; ++i) {
    DeviceLease lease;
    REQUIRE_MESSAGE(lease.take(settings(2, true), error), error.text);
    CHECK(lease.opened());
  }
  // Without sharing it is the same device, whole; and nobody else's.
  DeviceLease whole, other;
  REQUIRE_MESSAGE(whole.take(settings(3, false), error), error.text);
  CHECK(whole.queues() == 3);
  CHECK(!whole.is_shared());
  CHECK(!other.take(settings(1, true), error));
  CHECK(error.code == EBUSY);
  CHECK(std::string(error.text).find("has, or had, the whole of DPDK device net_null0") !=
        std::string::npos);
  // Another device is another matter.
  CHECK(other.take(settings(1, true, "net_null1"), error));
}

TEST_CASE(
    "a device that is asked for by nobody's number has one queue for each processor at most") {
  REQUIRE(started());
  SetupError error;
  DeviceLease lease;
  REQUIRE(lease.take(settings(0, true), error));
  const unsigned processors = std::thread::hardware_concurrency();
  CHECK(lease.device().queues() == std::min(processors, 16u));
}

TEST_CASE(
    "stacks come and go on their threads: who stays goes on, and nothing of who left is held") {
  REQUIRE(started());
  std::atomic<bool> stop{false};
  std::atomic<int> looks{0}, failures{0};
  std::thread resident([&] {
    FramePool pool(256, 2048);
    SetupError error;
    auto port = DpdkPort::open(settings(2, true), pool, error);
    if (!port) {
      ++failures;
      return;
    }
    while (!stop) {
      failures += !receives(*port, pool) + !sends(*port, pool);
      ++looks;
    }
  });
  while (looks == 0 && failures == 0) std::this_thread::yield();
  for (int round = 0; round < 20; ++round) {
    std::thread guest([&] {
      FramePool pool(256, 2048);
      SetupError error;
      auto port = DpdkPort::open(settings(2, true), pool, error);
      failures += !port || !receives(*port, pool) || !sends(*port, pool);
      if (!port) return;
      CHECK(port->lease().first_queue() == 1);
      // Here a thread that is terminated ends: the pool goes with it.
      port.reset();
      failures += pool.available() != pool.capacity();
    });
    guest.join();
  }
  const int before = looks;
  while (looks < before + 10 && failures == 0) std::this_thread::yield();
  stop = true;
  resident.join();
  CHECK(failures == 0);
}

}  // namespace millrace::dpdk
