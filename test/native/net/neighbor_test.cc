// SPDX-License-Identifier: MIT
// Neighbours: asked for, waited for, given up, used while stale, bounded.
#include <doctest/doctest.h>

#include "support/net_world.h"

using namespace millrace;
using namespace millrace::test;

namespace {
Bytes udp_to(const World& w, const IpAddress& to, uint16_t port = 53) {
  return udp({to.is_v4() ? w.us4 : w.us6, 1000}, {to, port}, {1, 2, 3, 4});
}
}  // namespace

TEST_CASE("a packet waits for its neighbour and goes out when the kernel knows it") {
  World w;
  for (const IpAddress& peer : {w.peer4, w.peer6}) {
    w.kernel.requests.clear();
    Frame* f = w.port.make_frame(udp_to(w, peer));
    Path path = *w.ip.resolve(IpAddress(), peer);
    CHECK(!w.ip.send(w.now, path, f, {.protocol = 17}));
    CHECK(f->tx_pending == 1);
    w.pool.release(f);
    CHECK(!w.send_to(peer, udp_to(w, peer, 54)));
    w.ip.flush(w.now);
    CHECK(w.port.sent_count() == 0);
    REQUIRE(w.kernel.requests.size() == 1);  // one question for both
    CHECK(w.kernel.requests[0] == std::pair<uint32_t, IpAddress>{World::kIfindex, peer});
    w.neighbor(peer, NeighborState::kReachable);
    CHECK(w.timers.armed_count() == 0);
    for (uint16_t port : {53, 54}) {
      const Bytes packet = w.take_ip();
      REQUIRE(packet.size() > 28);
      CHECK(wire::load16(packet.data() + (peer.is_v4() ? 22 : 42)) == port);
    }
    CHECK(w.port.sent_count() == 0);
  }
  CHECK(w.ip.counters().neighbor_waiting == 4);
}

TEST_CASE("the gateway is the neighbour of a destination behind it") {
  World w;
  CHECK(!w.send_to(ip("198.51.100.1"), udp_to(w, w.peer4)));
  REQUIRE(w.kernel.requests.size() == 1);
  CHECK(w.kernel.requests[0].second == ip("192.0.2.1"));
  w.neighbor(ip("192.0.2.1"), NeighborState::kStale, {2, 9, 9, 9, 9, 9});
  w.ip.flush(w.now);
  const Bytes frame = w.port.take();
  CHECK(Bytes(frame.begin(), frame.begin() + 6) == Bytes{2, 9, 9, 9, 9, 9});
}

TEST_CASE("an answer from within the question is fine") {
  World w;
  w.kernel.on_ask = [&](const IpAddress& address) {
    w.neighbor(address, NeighborState::kReachable);
  };
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  CHECK(w.take_ip().size() >= 32);
  CHECK(w.timers.armed_count() == 0);
}

TEST_CASE("a silent neighbour is asked for three times, then everything that waits fails") {
  World w;
  for (uint16_t i = 0; i < 3; ++i) CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4, uint16_t(53 + i))));
  CHECK(w.kernel.requests.size() == 1);
  w.wait(Duration::millis(1010));
  CHECK(w.kernel.requests.size() == 2);
  w.wait(Duration::seconds(1));
  CHECK(w.kernel.requests.size() == 3);
  w.wait(Duration::millis(900));
  CHECK(w.datagrams.errors.empty());
  w.wait(Duration::millis(200));
  CHECK(w.kernel.requests.size() == 3);
  REQUIRE(w.datagrams.errors.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const IcmpError& error = w.datagrams.errors[i];
    CHECK(error.error == Error{EHOSTUNREACH});
    CHECK(error.hard);
    CHECK(error.from_neighbor);
    CHECK(error.local == w.us4);
    CHECK(error.remote == w.peer4);
    CHECK(w.datagrams.quoted[i] == udp_to(w, w.peer4, uint16_t(53 + i)));
  }
  CHECK(w.ip.counters().neighbor_failed == 1);
  CHECK(w.pool.available() == w.pool.capacity());

  // For a moment it is known not to answer; then the next packet asks anew.
  CHECK(w.send_to(w.peer4, udp_to(w, w.peer4)) == Error{EHOSTUNREACH});
  w.wait(Duration::seconds(1));
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  CHECK(w.kernel.requests.size() == 4);
  w.neighbor(w.peer4, NeighborState::kReachable);
  CHECK(w.take_ip().size() >= 32);
}

TEST_CASE("a transport that answers the failure by sending again is refused, not looped") {
  World w;
  int sent_again = 0;
  w.datagrams.on_error = [&] {
    CHECK(w.send_to(w.peer4, udp_to(w, w.peer4)) == Error{EHOSTUNREACH});
    ++sent_again;
  };
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  w.wait(Duration::seconds(4));
  CHECK(sent_again == 1);
}

TEST_CASE("the kernel's own failure ends the waiting, but not with an old answer") {
  World w;
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  w.neighbor(w.peer4, NeighborState::kFailed);  // from before our question
  CHECK(w.datagrams.errors.empty());
  w.wait(Duration::millis(2500));
  w.neighbor(w.peer4, NeighborState::kFailed);
  CHECK(w.datagrams.errors.size() == 1);
  CHECK(w.timers.armed_count() == 0);
}

TEST_CASE("the queue for a neighbour is bounded") {
  World w(LinkType::kEthernet, {.waiting_frames_max = 5});
  for (int i = 0; i < 5; ++i) CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  Frame* f = w.port.make_frame(Bytes(20));
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  const uint32_t offset = f->offset;
  CHECK(w.ip.send(w.now, path, f, {.protocol = 17}) == Error{ENOBUFS});
  CHECK(f->offset == offset);
  CHECK(f->refs == 1);
  w.pool.release(f);
  CHECK(w.ip.counters().neighbor_queue_full == 1);
  CHECK(!w.send_to(ip("192.0.2.21"), udp_to(w, w.peer4)));  // others still may
}

TEST_CASE("all neighbours together keep a bounded number of frames") {
  World w(LinkType::kEthernet, {.waiting_frames_max = 5});
  for (uint32_t host = 30; host < 130; ++host) {
    const IpAddress to = IpAddress::v4(0xc0000200 + host);
    CHECK(!w.send_to(to, udp_to(w, w.peer4)));  // what came first is given up for who comes later
    for (int i = 0; i < 4; ++i) static_cast<void>(w.send_to(to, udp_to(w, w.peer4)));
  }
  CHECK(w.ip.counters().neighbor_queue_full >= 420);
  CHECK(w.pool.available() == w.pool.capacity() - 80);
  w.wait(Duration::seconds(4));
  CHECK(w.pool.available() == w.pool.capacity());
  CHECK(w.datagrams.errors.size() == 80);
}

TEST_CASE("a stale neighbour is used at once while the kernel confirms it, asked seldom") {
  World w;
  w.neighbor(w.peer4, NeighborState::kStale);
  for (int i = 0; i < 10; ++i) {
    CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
    CHECK(w.take_ip().size() >= 32);
  }
  CHECK(w.kernel.requests.size() == 1);
  w.neighbor(w.peer4, NeighborState::kStale);  // the kernel's DELAY and PROBE look like this
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  CHECK(w.kernel.requests.size() == 1);
  w.wait(Duration::seconds(5));
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  CHECK(w.kernel.requests.size() == 2);
  w.neighbor(w.peer4, NeighborState::kReachable);
  w.wait(Duration::seconds(29));
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  CHECK(w.kernel.requests.size() == 2);
  w.wait(Duration::seconds(2));
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  CHECK(w.kernel.requests.size() == 3);
}

TEST_CASE("forward progress confirms a neighbour without asking") {
  World w;
  w.neighbor(w.peer4, NeighborState::kStale);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  w.ip.confirm(w.now, path);  // before anything was sent: nothing to confirm
  CHECK(!w.send(path, udp_to(w, w.peer4)));
  CHECK(w.kernel.requests.size() == 1);
  for (int i = 0; i < 20; ++i) {
    w.ip.confirm(w.now, path);
    w.wait(Duration::seconds(20));
    CHECK(!w.send(path, udp_to(w, w.peer4)));
  }
  CHECK(w.kernel.requests.size() == 1);
}

TEST_CASE("a new link address is used from the next packet on, our own as well") {
  World w;
  w.neighbor(w.peer4, NeighborState::kReachable);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  CHECK(!w.send(path, udp_to(w, w.peer4)));
  w.neighbor(w.peer4, NeighborState::kReachable, {2, 1, 1, 1, 1, 1});
  CHECK(!w.send(path, udp_to(w, w.peer4)));
  w.ip.link_changed({World::kIfindex, {2, 7, 7, 7, 7, 7}, 1500, true});
  CHECK(!w.send(path, udp_to(w, w.peer4)));
  w.ip.flush(w.now);
  w.port.take();
  Bytes frame = w.port.take();
  CHECK(Bytes(frame.begin(), frame.begin() + 6) == Bytes{2, 1, 1, 1, 1, 1});
  frame = w.port.take();
  CHECK(Bytes(frame.begin() + 6, frame.begin() + 12) == Bytes{2, 7, 7, 7, 7, 7});
}

TEST_CASE("a neighbour that the kernel forgot is asked for again") {
  for (NeighborState gone :
       {NeighborState::kNone, NeighborState::kFailed, NeighborState::kIncomplete}) {
    World w;
    w.neighbor(w.peer4, NeighborState::kReachable);
    CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
    CHECK(w.take_ip().size() >= 32);
    w.neighbor(w.peer4, gone);
    CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
    CHECK(w.take_ip().empty());
    CHECK(w.kernel.requests.size() == 1);
    w.neighbor(w.peer4, NeighborState::kReachable);
    CHECK(w.take_ip().size() >= 32);
  }
}

TEST_CASE("nonsense from the kernel or about other interfaces changes nothing") {
  World w;
  w.neighbor(w.peer4, NeighborState::kReachable, {});                     // no link address
  w.neighbor(w.peer4, NeighborState::kReachable, {0xff, 1, 1, 1, 1, 1});  // a group
  w.ip.neighbor_changed(w.now, 77, w.peer4, World::kPeerMac, NeighborState::kReachable);
  CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  CHECK(w.take_ip().empty());
  CHECK(w.kernel.requests.size() == 1);
}

TEST_CASE("the table is bounded: idle neighbours give way, busy ones do not") {
  World w(LinkType::kEthernet, {.neighbors_max = 8, .waiting_frames_max = 4});
  Path live = *w.ip.resolve(IpAddress(), w.peer4);
  w.neighbor(w.peer4, NeighborState::kReachable);
  // The kernel tells of ten thousand; one is talked to all the time.
  for (uint32_t i = 0; i < 10000; ++i) {
    CHECK(!w.send(live, udp_to(w, w.peer4)));
    w.neighbor(IpAddress::v4(0xc0000300 + i), NeighborState::kReachable, {2, 3, 3, 3, 3, 3});
    const Bytes frame = (w.ip.flush(w.now), w.port.take());
    REQUIRE(frame.size() >= 46);
    CHECK(Bytes(frame.begin(), frame.begin() + 6) ==
          Bytes(World::kPeerMac.begin(), World::kPeerMac.end()));
  }
  CHECK(w.kernel.requests.empty());
  CHECK(w.ip.counters().neighbor_evicted > 9000);

  // Eight that are waited for fill it: a ninth takes the place of the first, whose packet is lost.
  w.wait(Duration::seconds(2));
  const size_t free_before = w.pool.available();
  for (uint32_t host = 30; host < 50; ++host) {
    CHECK(!w.send_to(IpAddress::v4(0xc0000200 + host), udp_to(w, w.peer4)));
  }
  CHECK(w.ip.counters().neighbor_table_full == 0);
  CHECK(w.pool.available() == free_before - 8);
  w.neighbor(ip("192.0.2.49"), NeighborState::kReachable);
  CHECK(w.take_ip().size() >= 32);
  w.wait(Duration::seconds(4));
  CHECK(!w.send_to(ip("192.0.2.60"), udp_to(w, w.peer4)));
}

TEST_CASE("a path never uses the entry of another neighbour after an eviction") {
  World w(LinkType::kEthernet, {.neighbors_max = 1});
  w.kernel.on_ask = [&](const IpAddress& address) {
    w.neighbor(address, NeighborState::kReachable, {2, 0, 0, 0, 0, uint8_t(address.as_v4())});
  };
  Path a = *w.ip.resolve(IpAddress(), ip("192.0.2.101"));
  Path b = *w.ip.resolve(IpAddress(), ip("192.0.2.102"));
  for (int i = 0; i < 20; ++i) {
    Path& path = i % 2 ? a : b;
    CHECK(!w.send(path, udp_to(w, w.peer4)));
    w.ip.flush(w.now);
    const Bytes frame = w.port.take();
    REQUIRE(frame.size() >= 46);
    CHECK(frame[5] == (i % 2 ? 101 : 102));
    w.wait(Duration::seconds(2));
  }
  CHECK(w.ip.counters().neighbor_evicted == 19);
}

TEST_CASE("packets that waited meet a full port: dropped and counted, not leaked") {
  World w(LinkType::kEthernet, {.waiting_frames_max = 64});
  w.neighbor(w.peer4, NeighborState::kReachable);
  w.port.ring_frames = 0;
  for (int i = 0; i < 10; ++i) CHECK(!w.send_to(ip("192.0.2.30"), udp_to(w, w.peer4)));
  for (uint32_t i = 0; i < TransmitBatch::kFramesMax; ++i) {
    CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
  }
  w.neighbor(ip("192.0.2.30"), NeighborState::kReachable);
  CHECK(w.ip.counters().ip_send_queue_full == 10);
  CHECK(w.pool.available() == w.pool.capacity() - TransmitBatch::kFramesMax);
}

TEST_CASE("a storm of 100,000 addresses that nobody has shuts nobody out") {
  World w(LinkType::kEthernet, {.neighbors_max = 1024, .waiting_frames_max = 64});
  w.neighbor(w.peer4, NeighborState::kReachable);
  w.ip.address_changed(World::kIfindex, ip("10.0.0.1"), 8, true);
  REQUIRE(!w.add_route("10.0.0.0", 8));
  for (uint32_t i = 0; i < 100000; ++i) {
    // Three packets each, and now and then one for a live peer.
    for (int k = 0; k < 3; ++k)
      static_cast<void>(w.send_to(IpAddress::v4(0x0a100000 + i), udp_to(w, w.peer4)));
    if (i % 1000 != 0) continue;
    CHECK(!w.send_to(w.peer4, udp_to(w, w.peer4)));
    CHECK(w.take_ip().size() >= 32);
    // And somebody new, whom the kernel finds.
    const IpAddress fresh = IpAddress::v4(0x0a800000 + i);
    CHECK(!w.send_to(fresh, udp_to(w, w.peer4)));
    w.neighbor(fresh, NeighborState::kReachable);
    CHECK(w.take_ip().size() >= 32);
  }
  CHECK(w.ip.counters().neighbor_table_full == 0);
  w.wait(Duration::seconds(5));
  CHECK(w.ip.counters().neighbor_queue_full > 0);
}

TEST_CASE("closing with packets waiting and timers armed leaves nothing") {
  World w;
  for (uint32_t host = 30; host < 50; ++host) {
    CHECK(!w.send_to(IpAddress::v4(0xc0000200 + host), udp_to(w, w.peer4)));
  }
  CHECK(w.timers.armed_count() == 20);
  w.ip.close();
  CHECK(w.timers.armed_count() == 0);
  CHECK(w.pool.available() == w.pool.capacity());
  CHECK(w.datagrams.errors.empty());
}
