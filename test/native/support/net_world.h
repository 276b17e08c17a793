// SPDX-License-Identifier: MIT
// An Internet layer over a WirePort for tests: one interface with one address of each family, a
// kernel that notes what it is asked, a transport that notes what it is told. Leaks of frames and
// timers fail the test.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "net/ip_layer.h"
#include "support/packets.h"
#include "support/wire_port.h"

namespace millrace::test {

using namespace millrace::net;

// A name of its own in binaries that have the world of two hosts too (tcp/harness.h).
inline namespace one_host {

struct Recorder : TransportHandler {
  explicit Recorder(FramePool& pool) : pool(pool) {}
  void receive(Instant, std::span<const Received> burst) override {
    for (const Received& r : burst) {
      payload.assign(r.frame->data(), r.frame->data() + r.frame->length);
      last = r.meta;
      ++received;
      pool.release(r.frame);
    }
  }
  void icmp_error(Instant, const IcmpError& error) override {
    errors.push_back(error);
    quoted.emplace_back(error.quoted_transport.begin(), error.quoted_transport.end());
    if (on_error) on_error();
  }
  FramePool& pool;
  Bytes payload;
  IpMeta last;
  int received = 0;
  std::vector<IcmpError> errors;
  std::vector<Bytes> quoted;
  std::function<void()> on_error;
};

struct Asked : NeighborResolver {
  void resolve(uint32_t ifindex, const IpAddress& address) override {
    requests.push_back({ifindex, address});
    if (on_ask) on_ask(address);
  }
  std::vector<std::pair<uint32_t, IpAddress>> requests;
  std::function<void(const IpAddress&)> on_ask;
};

// 192.0.2.10/24 and 2001:db8::10/64 on interface 2; default routes by way of .1 and ::1.
struct World {
  static constexpr uint32_t kIfindex = 2;
  static constexpr MacAddress kMac = {2, 0, 0, 0, 0, 0x10};
  static constexpr MacAddress kPeerMac = {2, 0, 0, 0, 0, 0x20};

  FramePool pool{2048, 2048};
  TimerWheel timers{Instant{0}};
  Random random = Random::from_seed(1);
  WirePort port;
  IpLayer ip;
  Recorder tcp{pool}, datagrams{pool};
  Asked kernel;
  Instant now = Instant{} + Duration::seconds(100);
  uint8_t index = 0;
  IpAddress us4 = test::ip("192.0.2.10"), us6 = test::ip("2001:db8::10");
  IpAddress peer4 = test::ip("192.0.2.20"), peer6 = test::ip("2001:db8::20");

  explicit World(LinkType link = LinkType::kEthernet, const Limits& limits = {},
                 uint32_t mtu_bytes = 1500)
      : port(pool, link, mtu_bytes), ip(pool, timers, random, limits) {
    timers.advance(now);
    index = ip.attach(port, {kIfindex, kMac, mtu_bytes, true}, false);
    ip.set_handler(6, &tcp);
    ip.set_handler(17, &datagrams);
    ip.set_resolver(&kernel);
    ip.address_changed(kIfindex, us4, 24, true);
    ip.address_changed(kIfindex, us6, 64, true);
    CHECK(!add_route("192.0.2.0", 24));
    CHECK(!add_route("0.0.0.0", 0, "192.0.2.1"));
    CHECK(!add_route("2001:db8:0:0:0:0:0:0", 64));
    CHECK(!add_route("::", 0, "2001:db8::1"));
  }
  ~World() {
    ip.close();
    port.close();
    CHECK(pool.available() == pool.capacity());
    CHECK(timers.armed_count() == 0);
  }
  Error add_route(const char* prefix, uint8_t bits, const char* gateway = nullptr,
                  uint32_t ifindex = kIfindex, uint32_t metric = 0, bool present = true) {
    Route route;
    route.destination = test::ip(prefix);
    route.prefix_length = bits;
    if (gateway) route.gateway = test::ip(gateway);
    route.ifindex = ifindex;
    route.metric = metric;
    return ip.route_changed(route, present);
  }
  void neighbor(const IpAddress& address, NeighborState state, const MacAddress& mac = kPeerMac) {
    ip.neighbor_changed(now, kIfindex, address, mac, state);
  }
  void wait(Duration d) {
    const Instant end = now + d;
    while (timers.next_deadline() <= end) {
      now = std::max(now, timers.next_deadline());
      timers.advance(now);
    }
    now = end;
    timers.advance(now);
  }
  void input(const Bytes& packet, uint8_t flags = 0) {
    Frame* f = port.arrive(now, packet);
    if (!f) return;  // longer than the device takes
    f->flags |= flags;
    ip.input(now, index, f);
  }
  // Wrapped in Ethernet when the port is.
  void input_ip(const Bytes& packet, uint8_t flags = 0) {
    if (port.info().link == LinkType::kIp) return input(packet, flags);
    const uint16_t type = packet.empty() || packet[0] >> 4 == 4 ? 0x0800 : 0x86dd;
    input(ethernet(Bytes(kMac.begin(), kMac.end()), Bytes(kPeerMac.begin(), kPeerMac.end()), type,
                   packet),
          flags);
  }
  Error send(Path& path, const Bytes& transport, const SendOptions& options = {.protocol = 17}) {
    Frame* f = port.make_frame(transport);
    const Error error = ip.send(now, path, f, options);
    pool.release(f);
    return error;
  }
  Error send_to(const IpAddress& remote, const Bytes& transport) {
    Result<Path> path = ip.resolve(IpAddress(), remote);
    return path.ok() ? send(*path, transport) : path.error();
  }
  // The oldest transmitted packet without its Ethernet header.
  Bytes take_ip() {
    ip.flush(now);
    Bytes frame = port.take();
    if (!frame.empty() && port.info().link == LinkType::kEthernet) {
      frame.erase(frame.begin(), frame.begin() + 14);
    }
    return frame;
  }
};

}  // namespace one_host
}  // namespace millrace::test
