// SPDX-License-Identifier: MIT
#include "port/af_xdp/af_xdp_port.h"

#include <doctest/doctest.h>
#include <netinet/in.h>

#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;
using steer::Protocol;

namespace {

int udp_socket(const char* address, uint16_t port) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, address, &a.sin_addr);
  const int bytes = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
  const timeval wait{2, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
  return fd;
}

}  // namespace

TEST_CASE("af_xdp: a steered datagram of a kernel peer reaches the port, and the answer the peer" *
          needs_root()) {
  Rig rig;
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  MESSAGE(std::string(rig.port->info().mode));
  CHECK(std::string(rig.port->info().mode) == "native copy, long TCP packets cut by the kernel");
  CHECK(rig.port->info().mtu_bytes == 1500);
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 9000)));

  int fd;
  {
    Inside there(rig.veth.there);
    fd = udp_socket("10.77.0.2", 5000);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9000);
    inet_pton(AF_INET, "10.77.0.1", &to.sin_addr);
    REQUIRE(sendto(fd, "hello", 5, 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 5);
  }
  const auto frames = rig.receive(1);
  REQUIRE(frames.size() == 1);
  CHECK(std::string(frames[0].end() - 5, frames[0].end()) == "hello");
  CHECK(rig.last_flags == Frame::kChecksumMayBePartial);
  CHECK(rig.steering->counters().ours_local == 1);

  REQUIRE(rig.transmit(
              {ethernet(rig.there_mac, rig.here_mac,
                        packet("10.77.0.1", "10.77.0.2", 17, udp(9000, 5000, "answer")))}) == 1);
  char answer[64];
  REQUIRE(recv(fd, answer, sizeof(answer), 0) == 6);
  CHECK(std::string(answer, 6) == "answer");
  close(fd);
}

namespace {

// Frames of the pool that nobody has: all of them when nothing has leaked.
bool pool_is_whole(const FramePool& pool) {
  return pool.available() == pool.capacity();
}

Bytes numbered(Rig& rig, uint32_t number, size_t bytes = 22) {
  std::string payload(bytes, 'x');
  wire::store32(reinterpret_cast<uint8_t*>(payload.data()), number);
  return ethernet(rig.there_mac, rig.here_mac,
                  packet("10.77.0.1", "10.77.0.2", 17, udp(9000, 5000, payload)));
}

}  // namespace

TEST_CASE("af_xdp: more frames than a ring holds leave in order, and all are given back" *
          needs_root()) {
  Rig rig(1, steer::XdpMode::kAuto, 1024, {.tx_slots = 64});
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  int fd;
  {
    Inside there(rig.veth.there);
    fd = udp_socket("10.77.0.2", 5000);
  }
  constexpr uint32_t kFrames = 3000;
  std::vector<Bytes> list;
  for (uint32_t i = 0; i < kFrames; ++i) list.push_back(numbered(rig, i));
  REQUIRE(rig.transmit(list) == kFrames);
  for (uint32_t i = 0; i < kFrames; ++i) {
    uint8_t payload[64];
    REQUIRE(recv(fd, payload, sizeof(payload), 0) == 22);
    if (wire::load32(payload) != i) {
      CHECK(wire::load32(payload) == i);
      break;
    }
  }
  close(fd);
  CHECK(rig.port->stats().tx_frames == kFrames);
  CHECK(rig.port->stats().tx_dropped == 0);
  // Every frame but those waiting to be received into.
  const Instant end = clock_now() + Duration::seconds(2);
  Frame* none[1];
  while (rig.pool.available() + rig.port->fill_frames() < rig.pool.capacity() &&
         clock_now() < end) {
    REQUIRE(rig.port->receive(clock_now(), none) == 0);
  }
  CHECK(rig.pool.available() + rig.port->fill_frames() == rig.pool.capacity());
  CHECK(rig.port->next_event().is_never());
  rig.port->close();
  CHECK(pool_is_whole(rig.pool));
}

TEST_CASE(
    "af_xdp: a burst fills the transmit ring; transmit() takes a prefix and flush() drains it in "
    "one turn" *
    needs_root()) {
  Rig rig(1, steer::XdpMode::kAuto, 1024, {.tx_slots = 512});
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  std::vector<Frame*> frames;
  for (uint32_t i = 0; i < 600; ++i) {
    Frame* f = rig.pool.alloc();
    const Bytes bytes = numbered(rig, i, 1400);
    f->length = uint32_t(bytes.size());
    memcpy(f->data(), bytes.data(), bytes.size());
    frames.push_back(f);
  }
  CHECK(rig.port->transmit(clock_now(), std::span(frames).first(500)) == 500);
  CHECK(frames[0]->tx_pending == 1);
  CHECK(frames[0]->refs == 2);
  rig.port->flush(clock_now());
  // Copy mode sends within the call; the driver may keep a few frames a moment longer.
  uint32_t pending = 0;
  for (Frame* f : frames) pending += f->tx_pending;
  CHECK(pending <= 64);
  for (Frame* f : frames) rig.pool.release(f);
  rig.port->close();
  CHECK(pool_is_whole(rig.pool));
}

TEST_CASE("af_xdp: a device that is down takes nothing and loses nothing" * needs_root()) {
  Rig rig(1, steer::XdpMode::kAuto, 512, {.tx_slots = 64});
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  int fd;
  {
    Inside there(rig.veth.there);
    fd = udp_socket("10.77.0.2", 5000);
  }
  const auto set = [&](const char* state) {
    Inside here(rig.veth.here);
    REQUIRE(run({"ip", "link", "set", "mrh", state}));
  };
  set("down");
  std::vector<Frame*> frames;
  for (uint32_t i = 0; i < 100; ++i) {
    Frame* f = rig.pool.alloc();
    const Bytes bytes = numbered(rig, i);
    f->length = uint32_t(bytes.size());
    memcpy(f->data(), bytes.data(), bytes.size());
    frames.push_back(f);
  }
  const uint32_t taken = rig.port->transmit(clock_now(), frames);
  CHECK(taken == 64);
  const Instant before = clock_now();
  rig.port->flush(before);
  CHECK(clock_now() - before < Duration::millis(50));  // does not spin
  CHECK(frames[0]->tx_pending == 1);
  CHECK(rig.port->stats().tx_full > 0);
  CHECK(!rig.port->next_event().is_never());
  // The pauses between attempts grow, to an end.
  for (int i = 0; i < 20; ++i) rig.port->flush(clock_now());
  const Instant now = clock_now();
  rig.port->flush(now);
  CHECK(rig.port->next_event() - now <= Duration::millis(50));
  CHECK(rig.port->next_event() - now >= Duration::millis(10));

  set("up");
  Frame* none[1];
  const Instant end = clock_now() + Duration::seconds(3);
  while (frames[63]->tx_pending && clock_now() < end) {
    if (clock_now() >= rig.port->next_event()) rig.port->receive(clock_now(), none);
  }
  for (uint32_t i = 0; i < taken; ++i) {
    uint8_t payload[64];
    REQUIRE(recv(fd, payload, sizeof(payload), 0) == 22);
    CHECK(wire::load32(payload) == i);
  }
  close(fd);
  for (Frame* f : frames) rig.pool.release(f);
  rig.port->close();
  CHECK(pool_is_whole(rig.pool));
}

TEST_CASE("af_xdp: frames that no device could send are counted, not kept" * needs_root()) {
  Rig rig;
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  Frame* empty = rig.pool.alloc();
  Frame* runt = rig.pool.alloc();
  runt->length = 13;
  Frame* frames[] = {empty, runt};
  CHECK(rig.port->transmit(clock_now(), frames) == 2);
  rig.port->flush(clock_now());
  CHECK(rig.port->stats().tx_dropped == 2);
  CHECK(rig.port->stats().tx_frames == 0);
  CHECK(empty->tx_pending == 0);
  rig.pool.release(empty);
  rig.pool.release(runt);
  rig.port->close();
  CHECK(pool_is_whole(rig.pool));
}

TEST_CASE("af_xdp: closed with frames on the way in and out, everything comes back" *
          needs_root()) {
  Rig rig(2, steer::XdpMode::kAuto, 1024);
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 9000)));
  for (int i = 0; i < 50; ++i) {
    REQUIRE(rig.inject_ip(packet("10.77.0.2", "10.77.0.1", 17, udp(5000, 9000, "waiting"))));
  }
  Frame* f = rig.pool.alloc();
  const Bytes bytes = numbered(rig, 1);
  f->length = uint32_t(bytes.size());
  memcpy(f->data(), bytes.data(), bytes.size());
  Frame* three[] = {f, f, f};  // one frame may be on its way several times
  CHECK(rig.port->transmit(clock_now(), three) == 3);
  CHECK(f->tx_pending == 3);
  rig.pool.release(f);
  CHECK(rig.port->fill_frames() > 0);
  rig.port->close();
  rig.port->close();
  CHECK(pool_is_whole(rig.pool));
  CHECK(!rig.port->rx_ready());
}

TEST_CASE(
    "af_xdp: without frames in the pool packets are dropped and counted, and later ones received" *
    needs_root()) {
  Rig rig(1, steer::XdpMode::kAuto, 256, {.fill_frames_max = 32});
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 9000)));
  CHECK(rig.port->fill_frames() == 32);
  std::vector<Frame*> hoard;
  while (Frame* f = rig.pool.alloc()) hoard.push_back(f);
  for (int i = 0; i < 100; ++i) {
    REQUIRE(rig.inject_ip(packet("10.77.0.2", "10.77.0.1", 17, udp(5000, 9000, "flood"))));
  }
  std::vector<Frame*> kept;
  Frame* some[64];
  const Instant end = clock_now() + Duration::millis(200);
  while (clock_now() < end) {
    const uint32_t n = rig.port->receive(clock_now(), some);
    kept.insert(kept.end(), some, some + n);
  }
  CHECK(kept.size() == 32);
  CHECK(rig.port->stats().rx_dropped == 68);
  for (Frame* f : kept) rig.pool.release(f);
  for (Frame* f : hoard) rig.pool.release(f);
  REQUIRE(rig.port->receive(clock_now(), some) == 0);  // refills
  REQUIRE(rig.inject_ip(packet("10.77.0.2", "10.77.0.1", 17, udp(5000, 9000, "again"))));
  CHECK(rig.receive(1).size() == 1);
}

TEST_CASE("af_xdp: every queue of the interface is received from" * needs_root()) {
  Rig rig(2);
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  CHECK(rig.port->queues() == 2);
  CHECK(rig.port->info().queues == 2);
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 9000)));
  // The sending device's queue is the receiving one's; the kernel picks it by flow hash or
  // processor, and a packet socket may be told by its priority map only: so many flows, until both
  // were seen.
  bool seen[2] = {};
  Inside there(rig.veth.there);
  for (uint16_t port = 5000; port < 5200 && !(seen[0] && seen[1]); ++port) {
    const int fd = udp_socket("10.77.0.2", port);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9000);
    inet_pton(AF_INET, "10.77.0.1", &to.sin_addr);
    REQUIRE(sendto(fd, "queue", 5, 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 5);
    close(fd);
    REQUIRE(rig.receive(1).size() == 1);
    seen[rig.last_queue & 1] = true;
  }
  CHECK(seen[0]);
  CHECK(seen[1]);
}

TEST_CASE("af_xdp: generic mode where asked for" * needs_root()) {
  Rig rig(1, steer::XdpMode::kGeneric);
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  CHECK(std::string(rig.port->info().mode) == "generic copy, long TCP packets cut by the kernel");
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("::", 9000)));
  REQUIRE(rig.inject_ip(packet("fd77::2", "fd77::1", 17, udp(5000, 9000, "six"))));
  const auto frames = rig.receive(1);
  REQUIRE(frames.size() == 1);
  CHECK(std::string(frames[0].end() - 3, frames[0].end()) == "six");
}

TEST_CASE("af_xdp: frames up to the device's MTU, and no bigger than a frame holds" *
          needs_root()) {
  Rig rig;
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  CHECK(rig.port->frame_limit_bytes() == 1792);
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 9000)));
  const std::string payload(1472, 'p');
  REQUIRE(rig.inject_ip(packet("10.77.0.2", "10.77.0.1", 17, udp(5000, 9000, payload))));
  const auto frames = rig.receive(1);
  REQUIRE(frames.size() == 1);
  CHECK(frames[0].size() == 1514);
  // Longer: a datagram goes to the kernel.
  REQUIRE(!rig.steering->set_frame_limit(1000));
  REQUIRE(rig.inject_ip(packet("10.77.0.2", "10.77.0.1", 17, udp(5000, 9000, payload))));
  CHECK(rig.receive(1, 100).empty());
  CHECK(rig.steering->counters().undeliverable == 1);
}

TEST_CASE("af_xdp: the poll descriptor tells of frames" * needs_root()) {
  Rig rig(2);
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 9000)));
  pollfd p{rig.port->poll_fd(), POLLIN, 0};
  CHECK(poll(&p, 1, 0) == 0);
  CHECK(!rig.port->rx_ready());
  REQUIRE(rig.inject_ip(packet("10.77.0.2", "10.77.0.1", 17, udp(5000, 9000, "wake"))));
  CHECK(poll(&p, 1, 1000) == 1);
  CHECK(rig.port->rx_ready());
  CHECK(rig.receive(1).size() == 1);
  CHECK(poll(&p, 1, 0) == 0);
  CHECK(!rig.port->rx_ready());
}

TEST_CASE("af_xdp: errors name what is wrong" * needs_root()) {
  VethPair veth;
  REQUIRE(veth.ok);
  Inside here(veth.here);
  FramePool pool(256, 2048);
  SetupError error;
  const auto says = [&](const char* word) {
    return std::string(error.text).find(word) != std::string::npos;
  };
  CHECK(!AfXdpPort::open("nosuch0", pool, {}, error));
  CHECK(error.code == ENODEV);
  CHECK(says("\"nosuch0\""));
  CHECK(says("lo"));
  CHECK(says("mrh"));
  CHECK(!AfXdpPort::open("lo", pool, {}, error));
  CHECK(error.code == EINVAL);
  CHECK(says("not an Ethernet interface"));
  FramePool wrong(16, 8192);
  CHECK(!AfXdpPort::open("mrh", wrong, {}, error));
  CHECK(error.code == EINVAL);
  CHECK(!AfXdpPort::open("mrh", pool, {.rx_slots = 1000}, error));
  CHECK(error.code == EINVAL);
  CHECK(!AfXdpPort::open("mrh", pool, {.queues_max = 0}, error));
  CHECK(error.code == E2BIG);
  auto first = AfXdpPort::open("mrh", pool, {}, error);
  REQUIRE(first);
  FramePool other(256, 2048);
  CHECK(!AfXdpPort::open("mrh", other, {}, error));
  CHECK(error.code == EBUSY);
  CHECK(says("queue 0"));
  CHECK(pool_is_whole(other));
  first->close();
  CHECK(pool_is_whole(pool));
  auto again = AfXdpPort::open("mrh", pool, {}, error);
  CHECK_MESSAGE(again, error.text);
}
