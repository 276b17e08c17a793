// SPDX-License-Identifier: MIT
// Stamps of a device: its ticks become the stack's time, and stand in captures. The device is a
// double: rings, packets that carry stamps as DPDK's drivers write them, and a counter to read.
#include "port/dpdk/receive_clock.h"

#include <rte_mbuf_dyn.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/clock_os.h"
#include "dpdk/ring_device.h"
#include "port/dpdk/dpdk_port.h"
#include "port/wrap/pcap_port.h"
#include "support/packets.h"

using namespace millrace;
using namespace millrace::test;
using dpdk::ReceiveClock;

namespace {

// A counter of 125 MHz that began long before this process, near its end.
constexpr uint64_t kBegin = UINT64_MAX - 5'000'000;
uint64_t ticks_at(Instant time) {
  static const Instant start = monotonic_now();
  return kBegin + uint64_t((time - start).ns / 8);
}
int read_counter(uint16_t, uint64_t* ticks) {
  *ticks = ticks_at(monotonic_now());
  return 0;
}
int no_counter(uint16_t, uint64_t*) {
  return -ENOTSUP;
}

std::unique_ptr<dpdk::DpdkPort> open_port(const RingDevice& device, FramePool& pool,
                                          int (*read_clock)(uint16_t, uint64_t*) = read_counter,
                                          bool wanted = true, bool stamps = true) {
  SetupError error;
  dpdk::DeviceSettings settings;
  settings.name = device.name();
  settings.stamps = wanted;
  settings.assumed_receive_offloads = stamps ? RTE_ETH_RX_OFFLOAD_TIMESTAMP : 0;
  settings.read_clock = read_clock;
  auto port = dpdk::DpdkPort::open(settings, pool, error);
  REQUIRE_MESSAGE(port, error.text);
  return port;
}

bool by_device(const dpdk::DpdkPort& port) {
  return std::string(port.info().mode).find("timestamps by device") != std::string::npos;
}

// As a driver hands it over; without a stamp where `ticks` is null.
void arrive(const RingDevice& device, const uint64_t* ticks) {
  rte_mbuf* packet = rte_pktmbuf_alloc(packet_pool());
  REQUIRE(packet);
  std::memset(rte_pktmbuf_append(packet, 60), 0, 60);
  int offset = 0;
  uint64_t flag = 0;
  REQUIRE(rte_mbuf_dyn_rx_timestamp_register(&offset, &flag) == 0);
  if (ticks) {
    *RTE_MBUF_DYNFIELD(packet, offset, uint64_t*) = *ticks;
    packet->ol_flags |= flag;
  }
  REQUIRE(rte_ring_enqueue(device.in, packet) == 0);
}

ReceiveClock::Reading reading(int64_t at_ns, uint64_t ticks) {
  return {Instant{at_ns - 50}, Instant{at_ns + 50}, ticks};
}

}  // namespace

TEST_CASE("rate and beginning of a counter are measured, and measured again as it drifts") {
  ReceiveClock clock;
  const Instant now{2'000'000'000};
  CHECK(!clock.known());
  CHECK(clock.time_of(7, now) == now);
  clock.add(reading(1'000'000'000, kBegin));
  CHECK(!clock.known());
  clock.add(reading(2'000'000'000, kBegin + 125'000'000));  // the counter wraps on its way
  CHECK(clock.known());
  CHECK(clock.time_of(kBegin + 125'000'000 - 125, now) == now - Duration::micros(1));
  CHECK(clock.time_of(kBegin + 125'000'000 + 125, now) == now + Duration::micros(1));
  CHECK(clock.next() == Instant{3'000'000'050});
  // It runs at 124 MHz since: a packet of the middle of that second is 0.5 s old.
  clock.add(reading(3'000'000'000, kBegin + 125'000'000 + 124'000'000));
  const Instant later{3'000'000'000};
  CHECK(clock.time_of(kBegin + 125'000'000 + 62'000'000, later) == later - Duration::millis(500));
}

TEST_CASE("a stamp that cannot be is not believed, nor a counter that stands or was set back") {
  ReceiveClock clock;
  const Instant now{100'000'000'000};
  clock.add(reading(99'000'000'000, 1'000'000'000));
  clock.add(reading(100'000'000'000, 2'000'000'000));
  CHECK(clock.time_of(0, now) == now - Duration::seconds(2));
  CHECK(clock.time_of(2'100'000'000, now) == now + Duration::millis(100));
  for (const uint64_t ticks : {uint64_t(2'100'000'001), uint64_t(1) << 62,
                               uint64_t(0) - (uint64_t(1) << 62), uint64_t(0) - 8'000'000'001}) {
    CAPTURE(ticks);
    CHECK(clock.time_of(ticks, now) == now);
  }
  clock.add(reading(101'000'000'000, 2'000'000'000));
  CHECK(!clock.known());
  CHECK(clock.time_of(2'000'000'000, now) == now);
  clock.add(reading(102'000'000'000, 1'000));
  CHECK(!clock.known());
  clock.add(reading(103'000'000'000, 1'000'001'000));
  CHECK(clock.known());
}

TEST_CASE("stamps are the device's where it has them, can be read, and somebody wants them") {
  FramePool pool(64, 2048);
  const auto used = [&](auto... how) {
    RingDevice device;
    return by_device(*open_port(device, pool, how...));
  };
  CHECK(used());
  CHECK(!used(no_counter));
  CHECK(!used(read_counter, false));
  CHECK(!used(read_counter, true, false));
}

TEST_CASE("a received frame has the time of its stamp; one without a stamp has none") {
  FramePool pool(64, 2048);
  RingDevice device;
  const auto port = open_port(device, pool);
  const Instant came = monotonic_now();
  const uint64_t ticks = ticks_at(came);
  usleep(30'000);
  arrive(device, &ticks);
  arrive(device, nullptr);
  Frame* got[2] = {};
  REQUIRE(port->receive(monotonic_now(), got) == 2);
  REQUIRE((got[0]->flags & Frame::kStamped) != 0);
  CHECK((got[1]->flags & Frame::kStamped) == 0);
  // Measured over 10 ms on a machine that may be busy.
  CHECK(got[0]->received > came - Duration::millis(10));
  CHECK(got[0]->received < came + Duration::millis(10));
  for (Frame* f : got) pool.release(f);
}

TEST_CASE("a capture has the device's stamps") {
  char path[] = "/tmp/millrace-stamps-XXXXXX";
  close(mkstemp(path));
  FramePool pool(64, 2048);
  RingDevice device;
  auto capture =
      PcapPort::open(open_port(device, pool), {.path = path, .format = PcapFormat::kPcap});
  REQUIRE(capture.ok());
  const Instant came = monotonic_now();
  const uint64_t ticks = ticks_at(came);
  usleep(60'000);
  arrive(device, &ticks);
  Frame* got = nullptr;
  REQUIRE((*capture)->receive(monotonic_now(), {&got, 1}) == 1);
  pool.release(got);
  (*capture)->close();
  std::ifstream file(path, std::ios::binary);
  const Bytes bytes{std::istreambuf_iterator<char>(file), {}};
  unlink(path);
  REQUIRE(bytes.size() == 24 + 16 + 60);
  uint32_t seconds = 0, nanos = 0;
  std::memcpy(&seconds, &bytes[24], 4);
  std::memcpy(&nanos, &bytes[28], 4);
  const Instant stamp = Instant{} + Duration::seconds(seconds) + Duration::nanos(nanos);
  CHECK(stamp > came - Duration::millis(20));
  CHECK(stamp < came + Duration::millis(20));
}
