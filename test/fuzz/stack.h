// SPDX-License-Identifier: MIT
// A stack for one execution of a fuzz target. The packet memory lives on from one to the next: to
// map it anew would be most of the work.
#pragma once

#include <memory>
#include <vector>

#include "fuzz/check.h"
#include "net/ip_layer.h"
#include "support/memory_port.h"
#include "tcp/tcp.h"
#include "udp/udp.h"
#include "wire/checksum.h"

namespace millrace::fuzz {

inline const wire::IpAddress kHere4 = wire::IpAddress::v4(0x0a000001);
inline const wire::IpAddress kThere4 = wire::IpAddress::v4(0x0a000002);

struct Memory {
  FramePool pool{2048, 2048};
};

struct Stack final : tcp::Handler {
  explicit Stack(Memory& m, LinkType link = LinkType::kIp, const tcp::StackOptions& o = options())
      : memory(m),
        wheel(now),
        ip(m.pool, wheel, random, {.routes_max = 8, .neighbors_max = 16, .addresses_max = 8}),
        port(m.pool, link, 1500),
        tcp(std::make_unique<tcp::Tcp>(m.pool, ip, wheel, random, *this, o)) {
    FUZZ_CHECK(m.pool.available() == m.pool.capacity());
    ip.attach(port, {.ifindex = 1, .mac = {2, 0, 0, 0, 0, 1}, .mtu_bytes = 1500, .up = true},
              false);
    ip.address_changed(1, kHere4, 24, true);
    uint8_t v6[16] = {0xfd};
    v6[15] = 1;
    ip.address_changed(1, wire::IpAddress::v6_bytes(v6), 64, true);
    net::Route route;
    route.destination = wire::IpAddress::v4(0);
    route.ifindex = 1;
    FUZZ_CHECK(!ip.route_changed(route, true));
    route.destination = wire::IpAddress();
    FUZZ_CHECK(!ip.route_changed(route, true));
    ip.set_handler(6, tcp.get());
  }
  static tcp::StackOptions options() {
    tcp::StackOptions o;
    o.connections_max = 64;
    o.listeners_max = 4;
    o.half_open_max = 32;
    return o;
  }
  FramePool& pool() { return memory.pool; }
  void advance(Duration by) {
    const Instant until = now + by;
    while (wheel.next_deadline() <= until) {
      now = std::max(now, wheel.next_deadline());
      wheel.advance(now);
      ip.flush(now);
    }
    now = until;
    wheel.advance(now);
    ip.flush(now);
  }
  // Takes everything down; every frame must be back and no timer armed.
  void finish() {
    tcp->close_all(now, false);
    ip.set_handler(6, nullptr);
    tcp.reset();
    port.close();
    ip.close();
    FUZZ_CHECK(wheel.armed_count() == 0);
    FUZZ_CHECK(pool().available() == pool().capacity());
  }

  void on_connected(tcp::Connection&) override {}
  void on_acceptable(tcp::Listener&) override {}
  void on_readable(tcp::Connection&) override {}
  void on_acked(tcp::Connection&) override {}
  void on_error(tcp::Connection&, Error) override {}

  Memory& memory;
  Instant now{5'000'000'000};
  Random random = Random::from_seed(3);
  TimerWheel wheel;
  net::IpLayer ip;
  test::MemoryPort port;
  std::unique_ptr<tcp::Tcp> tcp;
};

}  // namespace millrace::fuzz
