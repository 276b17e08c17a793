// SPDX-License-Identifier: MIT
// Two hosts with a whole stack each below TCP, joined by a wire in virtual time that a test can
// look into and break: every packet passes a hook that may drop, change, delay or repeat it.
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/ip_layer.h"
#include "support/wire_port.h"
#include "tcp/connection.h"
#include "tcp/invariants.h"
#include "tcp/tcp.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp_header.h"

namespace millrace::test {

using tcp::Connection;
using tcp::Listener;
using wire::Endpoint;
using wire::IpAddress;
using wire::Seq;

inline const IpAddress kAddressA = IpAddress::v4(0x0a000001);
inline const IpAddress kAddressB = IpAddress::v4(0x0a000002);

// A packet on the wire, taken apart.
struct Packet {
  std::vector<uint8_t> bytes;  // from the IP header on
  IpAddress source, destination;
  wire::TcpHeader tcp;
  wire::TcpOptions options;
  uint32_t payload_offset = 0;
  uint32_t length = 0;  // payload
  Instant at{};
  bool has(uint8_t flag) const { return (tcp.flags & flag) != 0; }
  std::string payload() const { return std::string(bytes.begin() + payload_offset, bytes.end()); }
};

inline Packet parse_packet(std::vector<uint8_t> bytes, Instant at) {
  Packet p;
  p.at = at;
  p.bytes = std::move(bytes);
  const bool v4 = p.bytes[0] >> 4 == 4;
  const uint32_t ip = v4 ? 20 : 40;
  if (v4) {
    p.source = IpAddress::v4_bytes(p.bytes.data() + 12);
    p.destination = IpAddress::v4_bytes(p.bytes.data() + 16);
  } else {
    p.source = IpAddress::v6_bytes(p.bytes.data() + 8);
    p.destination = IpAddress::v6_bytes(p.bytes.data() + 24);
  }
  std::span<const uint8_t> segment(p.bytes.data() + ip, p.bytes.size() - ip);
  REQUIRE(wire::parse_tcp_header(segment, p.tcp));
  wire::parse_tcp_options(segment.subspan(20, p.tcp.header_bytes - 20u), p.has(wire::kTcpSyn),
                          p.options);
  p.payload_offset = ip + p.tcp.header_bytes;
  p.length = uint32_t(p.bytes.size()) - p.payload_offset;
  uint64_t sum = wire::checksum_pseudo(p.source, p.destination, 6, uint32_t(segment.size()));
  CHECK(wire::checksum_fold(wire::checksum_partial(segment, sum)) == 0xffff);  // always sent right
  return p;
}

// Writes the TCP checksum of a changed packet anew.
inline void fix_checksum(std::vector<uint8_t>& bytes) {
  const uint32_t ip = bytes[0] >> 4 == 4 ? 20 : 40;
  const IpAddress from =
      ip == 20 ? IpAddress::v4_bytes(&bytes[12]) : IpAddress::v6_bytes(&bytes[8]);
  const IpAddress to = ip == 20 ? IpAddress::v4_bytes(&bytes[16]) : IpAddress::v6_bytes(&bytes[24]);
  std::span<uint8_t> segment(bytes.data() + ip, bytes.size() - ip);
  segment[16] = segment[17] = 0;
  const uint64_t pseudo = wire::checksum_pseudo(from, to, 6, uint32_t(segment.size()));
  const uint16_t sum = wire::checksum_finish(wire::checksum_partial(segment, pseudo));
  std::memcpy(&segment[16], &sum, 2);
}

// Takes an option kind out of a SYN as a middlebox would.
inline void strip_option(Packet& p, uint8_t kind) {
  uint8_t* o = p.bytes.data() + p.payload_offset - p.tcp.header_bytes + 20;
  uint8_t* end = p.bytes.data() + p.payload_offset;
  while (o < end && *o != 0) {
    const uint8_t length = *o == 1 ? 1 : o[1];
    if (*o == kind) std::memset(o, 1, length);
    o += length;
  }
  fix_checksum(p.bytes);
}

struct Host : tcp::Handler {
  Host(Instant start, const IpAddress& address, uint64_t seed, const tcp::StackOptions& options,
       uint32_t mtu = 1500, uint32_t frames = 16384)
      : pool(frames, 2048),
        wheel(start),
        random(Random::from_seed(seed)),
        ip(pool, wheel, random, net::Limits{}),
        port(pool, LinkType::kIp, mtu),
        tcp(std::make_unique<tcp::Tcp>(pool, ip, wheel, random, *this, options)) {
    ip.attach(port, {.ifindex = 1, .mtu_bytes = mtu}, false);
    ip.address_changed(1, address, address.is_v4() ? 24 : 64, true);
    net::Route route;
    route.destination = address.is_v4() ? IpAddress::v4(0) : IpAddress();
    route.ifindex = 1;
    REQUIRE(!ip.route_changed(route, true));
    ip.set_handler(6, tcp.get());
  }
  ~Host() override {
    tcp.reset();
    port.close();
    ip.close();
    CHECK(wheel.armed_count() == 0);
    CHECK(pool.available() == pool.capacity());
  }
  void on_connected(Connection& c) override { ++connected[tcp->user(c)]; }
  void on_acceptable(Listener&) override { ++acceptable; }
  void on_readable(Connection& c) override { ++readable[tcp->user(c)]; }
  void on_acked(Connection& c) override { ++acked[tcp->user(c)]; }
  void on_error(Connection& c, Error e) override { errors[tcp->user(c)] = e.code; }
  void on_freed(const wire::FlowKey&) override { ++freed; }

  // The next packet that this host put on the wire, in tests without a peer.
  std::optional<Packet> next(Instant now) {
    ip.flush(now);
    std::vector<uint8_t> bytes = port.take();
    if (bytes.empty()) return std::nullopt;
    return parse_packet(std::move(bytes), now);
  }
  void deliver(Instant now, std::span<const uint8_t> bytes, uint8_t flags = 0) {
    Frame* f = port.arrive(now, bytes);
    if (!f) return;  // as a card without buffers drops
    f->flags |= flags;
    ip.input(now, 0, f);
  }
  uint32_t write(Connection& c, std::string_view data) {
    uint32_t done = 0;
    while (done < data.size()) {
      const uint32_t n =
          std::min<uint32_t>(uint32_t(data.size()) - done, tcp->payload_mss_bytes(c));
      Frame* f = pool.alloc();
      if (!f) break;
      f->length = n;
      std::memcpy(f->data(), data.data() + done, n);
      tcp->write(c, f);
      done += n;
    }
    return done;
  }
  std::string read(Instant now, Connection& c, uint32_t most = UINT32_MAX) {
    std::string out(std::min(tcp->readable_bytes(c), most), '\0');
    const uint32_t n = tcp->read(now, c, {reinterpret_cast<uint8_t*>(out.data()), out.size()});
    CHECK(n == out.size());
    return out;
  }

  FramePool pool;
  TimerWheel wheel;
  Random random;
  net::IpLayer ip;
  WirePort port;
  std::unique_ptr<tcp::Tcp> tcp;
  std::map<uint32_t, int> connected, readable, acked, errors;
  int acceptable = 0;
  int freed = 0;
};

// What becomes of a packet: delays after which copies of it arrive. Empty: lost.
using Fate = std::vector<Duration>;

struct World {
  explicit World(tcp::StackOptions options_a = {}, tcp::StackOptions options_b = {},
                 uint32_t mtu = 1500, const IpAddress& address_a = kAddressA,
                 const IpAddress& address_b = kAddressB)
      : a(now, address_a, 1, options_a, mtu),
        b(now, address_b, 2, options_b, mtu),
        address_a(address_a),
        address_b(address_b) {}

  Instant now{1'000'000'000};
  Host a, b;
  IpAddress address_a, address_b;
  Duration delay = Duration::millis(10);  // one way
  std::function<Fate(Packet&, bool from_a)> hook;
  std::vector<Packet> log;  // everything that was sent
  bool keep_log = true;
  struct Flying {
    std::vector<uint8_t> bytes;
    bool to_b;
  };
  std::multimap<std::pair<int64_t, uint64_t>, Flying> flying;
  uint64_t serial = 0;

  void collect(Host& from, bool from_a) {
    from.ip.flush(now);
    for (;;) {
      std::vector<uint8_t> bytes = from.port.take();
      if (bytes.empty()) break;
      Packet p = parse_packet(std::move(bytes), now);
      Fate fate{delay};
      if (hook) fate = hook(p, from_a);
      for (Duration d : fate) {
        flying.emplace(std::pair{(now + d).ns, serial++}, Flying{p.bytes, from_a});
      }
      if (keep_log) log.push_back(std::move(p));
    }
  }
  // One event later: the next arrival or timer. False when nothing will ever happen before `until`.
  bool step(Instant until) {
    collect(a, true);
    collect(b, false);
    Instant next = std::min(a.wheel.next_deadline(), b.wheel.next_deadline());
    if (!flying.empty()) next = std::min(next, Instant{flying.begin()->first.first});
    if (next > until) {
      now = std::max(now, until);
      return false;
    }
    now = std::max(now, next);
    while (!flying.empty() && flying.begin()->first.first <= now.ns) {
      Flying f = std::move(flying.begin()->second);
      flying.erase(flying.begin());
      (f.to_b ? b : a).deliver(now, f.bytes);
    }
    a.wheel.advance(now);
    b.wheel.advance(now);
    collect(a, true);
    collect(b, false);
    return true;
  }
  void run(Duration time) {
    const Instant until = now + time;
    while (step(until)) {
    }
  }
  // Until `done` holds; false when `time` ran out first.
  bool run_until(const std::function<bool()>& done, Duration time = Duration::seconds(300)) {
    const Instant until = now + time;
    while (!done()) {
      if (!step(until)) return done();
    }
    return true;
  }

  Listener* listener = nullptr;
  Connection* ca = nullptr;  // the client's end
  Connection* cb = nullptr;  // the server's
  void listen(tcp::ConnectionOptions options = {}, uint32_t backlog = 16) {
    auto l = b.tcp->listen({address_b, 80}, false, backlog, options, 7);
    REQUIRE(l.ok());
    listener = *l;
  }
  void connect(tcp::ConnectionOptions options = {}, uint16_t port = 40000) {
    auto c = a.tcp->connect(now, {address_a, port}, {address_b, 80}, options, 1);
    REQUIRE(c.ok());
    ca = *c;
  }
  // A connection between the two, accepted.
  void establish(tcp::ConnectionOptions options_a = {}, tcp::ConnectionOptions options_b = {}) {
    listen(options_b);
    connect(options_a);
    REQUIRE(run_until([&] { return b.acceptable > 0; }, Duration::seconds(200)));
    cb = b.tcp->accept(*listener, 2);
    REQUIRE(cb);
    run(delay * 2);
    REQUIRE(a.tcp->established(*ca));
  }
  // Sends `bytes` pseudo-random bytes from A to B as fast as the stack takes them; checks every
  // one. Returns the virtual time it took.
  Duration transfer(uint64_t bytes, Duration limit = Duration::seconds(600)) {
    const Instant start = now;
    uint64_t written = 0, got = 0;
    auto byte_at = [](uint64_t i) { return char((i * 2654435761u) >> 13); };
    auto pump = [&] {
      while (written < bytes &&
             written - a.tcp->acked_bytes(*ca) + base < a.tcp->send_buffer_bytes(*ca)) {
        const uint64_t n = std::min<uint64_t>(bytes - written, a.tcp->payload_mss_bytes(*ca));
        std::string chunk(n, '\0');
        for (uint64_t i = 0; i < n; ++i) chunk[i] = byte_at(written + i);
        if (a.write(*ca, chunk) != n) break;
        written += n;
      }
      a.tcp->push(now, *ca);
      const std::string in = b.read(now, *cb);
      bool same = true;
      for (size_t i = 0; i < in.size(); ++i) same = same && in[i] == byte_at(got + i);
      CHECK(same);
      got += in.size();
      check_connection(*ca);
      check_connection(*cb);
      return got == bytes;
    };
    base = a.tcp->acked_bytes(*ca);
    const bool done = run_until(pump, limit);
    CHECK_MESSAGE(done, "got ", got, " of ", bytes);
    return now - start;
  }
  uint64_t base = 0;
};

}  // namespace millrace::test
