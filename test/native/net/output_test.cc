// SPDX-License-Identifier: MIT
// The way out: headers, padding, batches.
#include <doctest/doctest.h>

#include <set>

#include "support/net_world.h"

using namespace millrace;
using namespace millrace::test;

TEST_CASE("a packet goes out with every header right") {
  World w;
  w.neighbor(w.peer4, NeighborState::kReachable);
  w.neighbor(w.peer6, NeighborState::kReachable);
  const Bytes data(60, 0xab);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  CHECK(!w.send(path, data, {.protocol = 6, .ttl = 63, .traffic_class = 0x12}));
  w.ip.flush(w.now);
  const Bytes us(World::kMac.begin(), World::kMac.end());
  const Bytes peer(World::kPeerMac.begin(), World::kPeerMac.end());
  Bytes expected = ipv4(w.us4, w.peer4, data, {.protocol = 6, .ttl = 63, .traffic_class = 0x12});
  put16(expected, 4, 0);  // don't fragment: no identification
  fix_ipv4(expected);
  CHECK(w.port.take() == ethernet(peer, us, 0x0800, expected));

  path = *w.ip.resolve(IpAddress(), w.peer6);
  CHECK(!w.send(path, data, {.protocol = 17, .ttl = 5}));
  w.ip.flush(w.now);
  CHECK(w.port.take() == ethernet(peer, us, 0x86dd, ipv6(w.us6, w.peer6, 17, data, 5)));
  CHECK(w.ip.counters().ip_sent == 2);
}

TEST_CASE("short frames are padded with zeros, whatever the memory held before") {
  World w;
  w.neighbor(w.peer4, NeighborState::kReachable);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  for (size_t size = 0; size <= 30; ++size) {
    Frame* f = w.pool.alloc();
    std::fill(f->chunk, f->chunk + f->capacity, uint8_t(0x5a));  // old secrets
    f->length = uint32_t(size);
    CHECK(!w.ip.send(w.now, path, f, {.protocol = 6}));
    w.pool.release(f);
    w.ip.flush(w.now);
    const Bytes frame = w.port.take();
    CHECK(frame.size() == std::max<size_t>(60, 34 + size));
    for (size_t i = 34 + size; i < frame.size(); ++i) CHECK(frame[i] == 0);
    CHECK(wire::load16(frame.data() + 16) == 20 + size);
  }
}

TEST_CASE("a packet that may be fragmented has an identification nobody can guess") {
  World w(LinkType::kIp);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  std::set<uint16_t> seen, steps;
  uint16_t before = 0;
  for (int i = 0; i < 3000; ++i) {
    CHECK(!w.send(path, Bytes(20), {.protocol = 6, .dont_fragment = false}));
    const Bytes packet = w.take_ip();
    CHECK(wire::load16(packet.data() + 6) == 0);
    CHECK(naive_checksum(Bytes(packet.begin(), packet.begin() + 20)) == 0);
    const uint16_t id = wire::load16(packet.data() + 4);
    seen.insert(id);
    steps.insert(uint16_t(id - before));
    before = id;
  }
  CHECK(seen.size() == 3000);  // RFC 6864 4.1: none twice
  CHECK(steps.size() > 2800);  // and no step tells of the next
}

TEST_CASE("identifications come back after all 65,536, and differ by destination and secret") {
  Random random = Random::from_seed(5), other = Random::from_seed(6);
  net::Identifications ids(random), others(other);
  const IpAddress here = ip("192.0.2.1"), one = ip("192.0.2.2"), two = ip("192.0.2.3");
  std::vector<int> seen(65536);
  int same_as_two = 0, same_as_udp = 0, same_as_others = 0;
  for (int i = 0; i < 65536; ++i) {
    const uint16_t id = ids.next(here, one, 6);
    ++seen[id];
    same_as_two += id == ids.next(here, two, 6);
    same_as_udp += id == ids.next(here, one, 17);
    same_as_others += id == others.next(here, one, 6);
  }
  CHECK(std::count(seen.begin(), seen.end(), 1) == 65536);
  CHECK(same_as_two < 20);  // chance makes one
  CHECK(same_as_udp < 20);
  CHECK(same_as_others < 20);
}

TEST_CASE("a frame is held from send() until the device is done with it") {
  World w(LinkType::kIp);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  Frame* f = w.port.make_frame(Bytes(20));
  CHECK(!w.ip.send(w.now, path, f, {.protocol = 6}));
  CHECK(f->tx_pending == 1);
  CHECK(f->refs == 2);
  CHECK(w.port.sent_count() == 0);
  CHECK(w.ip.tx_backlogged());
  w.ip.flush(w.now);
  CHECK(!w.ip.tx_backlogged());
  CHECK(w.port.sent_count() == 1);
  CHECK(w.port.flushes == 1);
  CHECK(f->tx_pending == 1);  // the port's
  CHECK(f->refs == 2);
  w.port.clear();
  CHECK(f->tx_pending == 0);
  CHECK(f->refs == 1);
  w.pool.release(f);
}

TEST_CASE("a refused frame is as it was before") {
  World w(LinkType::kIp);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  Frame* f = w.port.make_frame(Bytes(1481));
  const uint32_t offset = f->offset;
  CHECK(w.ip.send(w.now, path, f, {.protocol = 6}) == Error{EMSGSIZE});
  CHECK(f->offset == offset);
  CHECK(f->length == 1481);
  CHECK(f->refs == 1);
  CHECK(f->tx_pending == 0);
  w.pool.release(f);
}

TEST_CASE("64 packets go to the port together, without waiting for flush()") {
  World w(LinkType::kIp);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  for (uint32_t i = 0; i < 130; ++i) {
    CHECK(!w.send(path, be32(i)));
    CHECK(w.port.sent_count() == (i + 1) / 64 * 64);
  }
  CHECK(w.port.transmits == 2);
  w.ip.flush(w.now);
  CHECK(w.port.sent_count() == 130);
  for (uint32_t i = 0; i < 130; ++i) {
    const Bytes packet = w.port.take();
    CHECK(Bytes(packet.begin() + 20, packet.end()) == be32(i));
  }
}

TEST_CASE("a full port: packets are kept in order up to a bound, then refused and counted") {
  World w(LinkType::kIp);
  w.port.ring_frames = 10;
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  uint32_t accepted = 0, refused = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    const Error error = w.send(path, be32(i));
    if (error) {
      CHECK(error == Error{ENOBUFS});
      ++refused;
    } else {
      CHECK(refused == 0);
      ++accepted;
    }
  }
  CHECK(accepted == TransmitBatch::kFramesMax + 10);
  CHECK(w.ip.counters().ip_send_queue_full == refused);
  CHECK(w.pool.available() == w.pool.capacity() - accepted);
  uint32_t next = 0;
  while (w.port.sent_count() > 0) {
    const Bytes packet = w.port.take();
    CHECK(Bytes(packet.begin() + 20, packet.end()) == be32(next++));
    if (w.port.sent_count() == 0) w.ip.flush(w.now);
  }
  CHECK(next == accepted);
  CHECK(!w.ip.tx_backlogged());
}

TEST_CASE("close() gives back what was not sent") {
  World w(LinkType::kIp);
  Path path = *w.ip.resolve(IpAddress(), w.peer4);
  for (int i = 0; i < 10; ++i) CHECK(!w.send(path, Bytes(20)));
  CHECK(w.pool.available() == w.pool.capacity() - 10);
  w.ip.close();
  CHECK(w.pool.available() == w.pool.capacity());
}
