// SPDX-License-Identifier: MIT
// How many frames per second the port takes in and gives out over a veth pair, printed. Both ends
// share the machine, so the figures compare only within one run; what is checked is that nothing is
// lost, doubled or changed on the way.
//
//   build-native/test_af_xdp --test-case='*rate*'     MILLRACE_RATE_MS=3000 for a longer
//   measurement
#include <doctest/doctest.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;
using steer::Protocol;

namespace {

constexpr uint32_t kBurst = 64;
constexpr size_t kNumberAt = 42;  // Ethernet, IPv4, UDP: the payload begins

Duration duration() {
  const char* text = getenv("MILLRACE_RATE_MS");
  return Duration::millis(text ? atoi(text) : 300);
}

double per_second(uint64_t frames, Duration taken) {
  return double(frames) * 1e9 / double(taken.ns);
}

// Sends numbered datagrams from a packet socket in bursts until told to stop; as many as the link
// takes.
uint32_t flood(int fd, Bytes frame, const std::atomic<bool>& stop) {
  std::vector<Bytes> frames(kBurst, frame);
  std::vector<iovec> parts(kBurst);
  std::vector<mmsghdr> messages(kBurst);
  for (uint32_t i = 0; i < kBurst; ++i) {
    parts[i] = {frames[i].data(), frames[i].size()};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  uint32_t number = 0;
  while (!stop.load(std::memory_order_relaxed)) {
    for (uint32_t i = 0; i < kBurst; ++i) wire::store32(&frames[i][kNumberAt], number + i);
    const int sent = sendmmsg(fd, messages.data(), kBurst, 0);
    if (sent > 0) number += uint32_t(sent);
  }
  return number;
}

}  // namespace

TEST_CASE("af_xdp: rate of frames received" * needs_root()) {
  Rig rig(1, steer::XdpMode::kAuto, 16384);
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 9000)));
  const Bytes frame =
      ethernet(rig.here_mac, rig.there_mac,
               packet("10.77.0.2", "10.77.0.1", 17, udp(5000, 9000, std::string(18, 'r'))));
  std::atomic<bool> stop{false};
  uint32_t sent = 0;
  std::thread sender([&] { sent = flood(rig.packet_fd, frame, stop); });

  uint64_t received = 0;
  int64_t last = -1;
  bool in_order = true;
  Frame* frames[kBurst];
  const Instant begin = clock_now();
  Instant now = begin;
  Instant idle_since = begin;
  while (!stop || now - idle_since < Duration::millis(50)) {
    const uint32_t n = rig.port->receive(now, frames);
    for (uint32_t i = 0; i < n; ++i) {
      const int64_t number = wire::load32(frames[i]->data() + kNumberAt);
      in_order = in_order && number > last;
      last = number;
      rig.pool.release(frames[i]);
    }
    received += n;
    now = clock_now();
    if (n > 0) idle_since = now;
    if (!stop && now - begin >= duration()) {
      stop = true;
      sender.join();
    }
  }
  const PortStats stats = rig.port->stats();
  MESSAGE("received " << uint64_t(per_second(received, duration())) << " frames/s of "
                      << uint64_t(per_second(sent, duration())) << " sent; " << stats.rx_dropped
                      << " dropped for want of frames");
  CHECK(received > 1000);
  CHECK(received <= sent);
  CHECK(in_order);
  CHECK(stats.rx_frames == received);
  rig.port->close();
  CHECK(rig.pool.available() == rig.pool.capacity());
}

TEST_CASE("af_xdp: rate of frames sent" * needs_root()) {
  Rig rig(1, steer::XdpMode::kAuto, 16384);
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  // The local experimental type (IEEE 802): the other end drops it at once, so the port is what is
  // measured.
  Bytes frame = ethernet(rig.there_mac, rig.here_mac, Bytes(46, 0x40));
  wire::store16(&frame[12], 0x88b5);
  uint64_t sent = 0;
  Frame* frames[kBurst];
  const Instant begin = clock_now();
  Instant now = begin;
  for (; now - begin < duration(); now = clock_now()) {
    uint32_t n = 0;
    for (; n < kBurst && (frames[n] = rig.pool.alloc()); ++n) {
      frames[n]->length = uint32_t(frame.size());
      memcpy(frames[n]->data(), frame.data(), frame.size());
    }
    sent += rig.port->transmit(now, std::span<Frame* const>(frames, n));
    rig.port->flush(now);
    for (uint32_t i = 0; i < n; ++i) rig.pool.release(frames[i]);
  }
  MESSAGE("sent " << uint64_t(per_second(sent, now - begin)) << " frames/s");
  CHECK(sent > 1000);
  CHECK(rig.port->stats().tx_frames == sent);
  rig.port->close();
  CHECK(rig.pool.available() == rig.pool.capacity());
}
