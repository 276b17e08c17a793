// SPDX-License-Identifier: MIT
// Port dpdk at its limits, over rings: memory that is not there, a ring that is full, a device that
// is refused, used already or taken away.
#include "port/dpdk/dpdk_port.h"

#include "dpdk/ring_device.h"
#include "dpdk/ring_port.h"
#include "support/packets.h"

using namespace millrace;
using namespace millrace::test;

namespace {

std::string refusal(const dpdk::DeviceSettings& settings, FramePool& pool) {
  SetupError error;
  auto port = dpdk::DpdkPort::open(settings, pool, error);
  CHECK(!port);
  CHECK(error.code != 0);
  return error.text;
}

std::unique_ptr<dpdk::DpdkPort> open_port(const RingDevice& device, FramePool& pool) {
  SetupError error;
  dpdk::DeviceSettings settings;
  settings.name = device.name();
  auto port = dpdk::DpdkPort::open(settings, pool, error);
  REQUIRE_MESSAGE(port, error.text);
  return port;
}

bool says(const std::string& text, const char* words) {
  CAPTURE(text);
  return text.find(words) != std::string::npos;
}

}  // namespace

TEST_CASE("what is received without a frame for it is dropped and counted, and then it goes on") {
  FramePool pool(4, 2048);
  RingPort port(pool);
  FrameQueue taken;
  while (Frame* f = pool.alloc()) taken.push_back(f);
  CHECK(!port.arrive(Instant{}, Bytes(100, 1)));
  CHECK(port.stats().rx_dropped == 1);
  pool.release_all(taken);
  CHECK(!port.arrive(Instant{}, Bytes(5000, 1)));  // longer than a frame
  CHECK(port.stats().rx_dropped == 2);
  Frame* f = port.arrive(Instant{}, Bytes(100, 2));
  REQUIRE(f);
  CHECK(f->length == 100);
  pool.release(f);
  CHECK(port.stats().rx_frames == 1);
}

TEST_CASE(
    "a ring that is full takes what it has room for; the rest is the caller's, and so is its "
    "turn") {
  FramePool pool(16, 2048);
  RingDevice device;
  const auto port = open_port(device, pool);
  uint32_t filled = 0;
  while (rte_mbuf* m = rte_pktmbuf_alloc(packet_pool())) {
    if (rte_ring_enqueue(device.out, m) != 0) {
      rte_pktmbuf_free(m);
      break;
    }
    ++filled;
  }
  // The tests' packets are fewer than the ring has room for: put some in twice.
  while (rte_ring_free_count(device.out) > 3) {
    void* again = nullptr;
    REQUIRE(rte_ring_dequeue(device.out, &again) == 0);
    rte_mbuf_refcnt_update(static_cast<rte_mbuf*>(again), 1);
    REQUIRE(rte_ring_enqueue(device.out, again) == 0);
    REQUIRE(rte_ring_enqueue(device.out, again) == 0);
  }
  std::vector<Frame*> frames;
  for (uint32_t i = 0; i < 8; ++i) {
    frames.push_back(pool.alloc());
    frames.back()->length = 64;
  }
  CHECK(port->transmit(Instant{}, frames) == 3);
  CHECK(port->stats().tx_full == 1);
  for (uint32_t i = 0; i < 8; ++i) {
    CHECK(frames[i]->tx_pending == (i < 3 ? 1 : 0));
    CHECK(frames[i]->refs == (i < 3 ? 2 : 1));
  }
  while (rte_mbuf* m = device.take()) rte_pktmbuf_free(m);
  for (Frame* f : frames) {
    CHECK(f->tx_pending == 0);
    pool.release(f);
  }
  CHECK(pool.available() == pool.capacity());
}

TEST_CASE("refusals name what was refused, and leave the device to whoever has it") {
  FramePool pool(64, 2048);
  RingDevice device;
  dpdk::DeviceSettings settings;
  settings.name = device.name();
  settings.queues = 3;
  CHECK(says(refusal(settings, pool), "has 1 receive queues, not 3"));
  settings.queues = 1;
  settings.receive_buffers = 1u << 26;
  CHECK(says(refusal(settings, pool), "DPDK has no memory for 67108864 packet buffers"));
}

TEST_CASE("DPDK starts once: the same arguments again are right, others are refused") {
  start_dpdk();
  SetupError error;
  CHECK(!dpdk::start_eal("--vdev=net_null1", false, error));
  CHECK(error.code == EINVAL);
  CHECK(says(error.text, "DPDK runs in this process with other arguments already"));
  start_dpdk();
}

TEST_CASE(
    "a device that is taken away: what is sent is lost and counted, nothing comes, and closing is "
    "quiet") {
  FramePool pool(64, 2048);
  RingDevice device;
  const auto port = open_port(device, pool);
  Frame* f = pool.alloc();
  f->length = 64;
  Frame* one[] = {f};
  CHECK(port->transmit(Instant{}, one) == 1);
  CHECK(port->stats().tx_frames == 1);
  REQUIRE(rte_vdev_uninit(device.name()) == 0);
  CHECK(port->transmit(Instant{}, one) == 1);
  CHECK(port->stats().tx_dropped == 1);
  Frame* got = nullptr;
  CHECK(port->receive(Instant{}, {&got, 1}) == 0);
  CHECK(!port->rx_ready());
  while (rte_mbuf* m = device.take()) rte_pktmbuf_free(m);
  port->close();
  CHECK(f->tx_pending == 0);
  pool.release(f);
  CHECK(pool.available() == pool.capacity());
}

TEST_CASE("a device that its bus wants back is closed and let go by the next look") {
  FramePool pool(64, 2048);
  RingDevice device;
  const auto port = open_port(device, pool);
  Frame* f = pool.alloc();
  f->length = 64;
  Frame* one[] = {f};
  CHECK(port->transmit(Instant{}, one) == 1);
  rte_dev_event_callback_process(device.name(), RTE_DEV_EVENT_ADD);
  CHECK(!port->gone());
  // As DPDK's thread does when the kernel asks vfio for a card.
  rte_dev_event_callback_process(device.name(), RTE_DEV_EVENT_REMOVE);
  CHECK(port->gone());
  uint16_t id = 0;
  CHECK(rte_eth_dev_get_port_by_name(device.name(), &id) == 0);
  Frame* got = nullptr;
  CHECK(port->receive(Instant{}, {&got, 1}) == 0);
  CHECK(rte_eth_dev_get_port_by_name(device.name(), &id) == -ENODEV);
  CHECK(port->poll_fd() >= 0);  // whoever waits for it goes on, in vain
  CHECK(port->stats().tx_frames == 1);
  CHECK(port->transmit(Instant{}, one) == 1);
  CHECK(port->stats().tx_dropped == 1);
  while (rte_mbuf* m = device.take()) rte_pktmbuf_free(m);
  port->close();
  CHECK(f->tx_pending == 0);
  pool.release(f);
  CHECK(pool.available() == pool.capacity());
}

TEST_CASE(
    "what is sent before the link is there for the first time waits for it, but not for ever") {
  for (const bool comes : {true, false}) {
    CAPTURE(comes);
    FramePool pool(64, 2048);
    RingDevice device;
    const auto port = open_port(device, pool);
    const uint16_t id = port->device().id();
    REQUIRE(rte_eth_dev_set_link_down(id) == 0);
    Frame* f = pool.alloc();
    f->length = 64;
    Frame* one[] = {f};
    const Instant begin{1'000'000'000};
    CHECK(port->transmit(begin, one) == 0);
    CHECK(port->transmit(begin + Duration::millis(4999), one) == 0);
    CHECK(port->stats().tx_full == 2);
    CHECK(f->tx_pending == 0);
    if (comes) REQUIRE(rte_eth_dev_set_link_up(id) == 0);
    CHECK(port->transmit(begin + Duration::millis(comes ? 4999 : 5000), one) == 1);
    // It is a cable from then on, and this driver sends by one that is out.
    REQUIRE(rte_eth_dev_set_link_down(id) == 0);
    CHECK(port->transmit(begin + Duration::seconds(6), one) == 1);
    CHECK(port->stats().tx_frames == 2);
    while (rte_mbuf* m = device.take()) rte_pktmbuf_free(m);
    pool.release(f);
  }
}
