// SPDX-License-Identifier: MIT
// A stack with a number of open connections whose peers are hand-made packets, under a clock of its
// own. Nothing is sent anywhere.
#pragma once

#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "meter.h"
#include "net/ip_layer.h"
#include "port/port.h"
#include "tcp/tcp.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp_header.h"

namespace millrace::scale {

using wire::IpAddress;
using wire::Seq;

inline constexpr uint32_t kBurst = 64;  // what a port gives at once
inline constexpr uint32_t kMss = 1448;
inline const IpAddress kHere = IpAddress::v4(0x0a000001);

// Takes everything at once, as a card whose ring is never full.
class Sink final : public Port {
 public:
  Sink() {
    info_.link = LinkType::kIp;
    info_.mtu_bytes = 1500;
  }
  const PortInfo& info() const override { return info_; }
  PortStats stats() const override { return {}; }
  uint32_t receive(Instant, std::span<Frame*>) override { return 0; }
  uint32_t transmit(Instant, std::span<Frame* const> frames) override {
    return uint32_t(frames.size());
  }
  void flush(Instant) override {}
  bool rx_ready() const override { return false; }
  void close() override {}

 private:
  PortInfo info_;
};

struct Peer {
  tcp::Connection* connection = nullptr;
  uint32_t next = 1, acked = 1;  // our number, and the host's
};

class World final : public tcp::Handler {
 public:
  World(uint32_t connections, uint32_t frames)
      : pool(frames, 2048),
        wheel(now, 2 * connections + 8192),
        ip(pool, wheel, random_, net::Limits{}),
        tcp(std::make_unique<tcp::Tcp>(pool, ip, wheel, random_, *this, options(connections))) {
    ip.attach(port_, {.ifindex = 1, .mtu_bytes = 1500, .up = true}, true);
    ip.address_changed(1, kHere, 24, true);
    net::Route route;
    route.destination = IpAddress::v4(0);
    route.ifindex = 1;
    MR_ASSERT(!ip.route_changed(route, true));
    ip.set_handler(6, tcp.get());
    auto l = tcp->listen({kHere, 80}, false, 1024, {}, 0);
    MR_ASSERT(l.ok());
    listener_ = *l;
    peers.resize(connections);
    for (uint32_t i = 0; i < connections; ++i) peers[i].connection = open(i);
  }
  ~World() override {
    tcp->close_all(now, false);
    ip.set_handler(6, nullptr);
    tcp.reset();
    ip.close();
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // A segment of the peer of connection `i`.
  Frame* segment(uint32_t i, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t length,
                 wire::TcpOptions o = {}) {
    Frame* f = pool.alloc(64);
    MR_ASSERT(f);
    o.has_timestamps = true;
    o.ts_value = uint32_t(now.ns / 1'000'000), o.ts_echo = o.ts_value;
    const uint32_t header = 20 + wire::tcp_options_bytes(o);
    f->length = 20 + header + length;
    const IpAddress from = IpAddress::v4(0x0b000000 + i / 50'000);
    wire::build_tcp_header(f->data() + 20,
                           {.source_port = uint16_t(10'000 + i % 50'000),
                            .destination_port = 80,
                            .seq = Seq(seq),
                            .ack = Seq(ack),
                            .window = 65535,
                            .header_bytes = uint8_t(header),
                            .flags = flags},
                           o);
    std::memset(f->data() + 20 + header, 'x', length);
    const std::span<uint8_t> bytes(f->data() + 20, header + length);
    const uint64_t pseudo = wire::checksum_pseudo(from, kHere, 6, header + length);
    const uint16_t sum = wire::checksum_finish(wire::checksum_partial(bytes, pseudo));
    std::memcpy(f->data() + 20 + wire::kTcpChecksumOffset, &sum, 2);
    wire::build_ipv4(f->data(), {.total_bytes = uint16_t(f->length), .ttl = 64, .protocol = 6},
                     from, kHere);
    return f;
  }
  void input(std::span<Frame* const> burst) { ip.input(now, 0, burst); }
  // Another connection instead, to the same ports.
  void reopen(uint32_t i) {
    tcp->abort(now, peers[i].connection);
    ip.flush(now);
    peers[i] = Peer{open(i)};
  }

  void on_connected(tcp::Connection&) override {}
  void on_acceptable(tcp::Listener&) override {}
  void on_readable(tcp::Connection&) override {}
  void on_acked(tcp::Connection&) override {}
  void on_error(tcp::Connection&, Error) override {}

  Instant now{1'000'000'000};
  FramePool pool;
  TimerWheel wheel;

 private:
  Random random_ = Random::from_seed(5);
  Sink port_;

 public:
  net::IpLayer ip;
  std::unique_ptr<tcp::Tcp> tcp;
  std::vector<Peer> peers;

 private:
  static tcp::StackOptions options(uint32_t connections) {
    tcp::StackOptions o;
    o.connections_max = connections + 16;
    o.fixed_isn = true;
    o.hold_acks = true;  // as in the addon
    o.send_buffer_max_bytes = o.send_buffer_bytes = 16 << 20;
    return o;
  }
  tcp::Connection* open(uint32_t i) {
    wire::TcpOptions syn;
    syn.has_mss = syn.sack_permitted = syn.has_window_scale = true;
    syn.mss_bytes = 1460, syn.window_scale = 10;
    ip.input(now, 0, segment(i, wire::kTcpSyn, 0, 0, 0, syn));
    ip.flush(now);
    ip.input(now, 0, segment(i, wire::kTcpAck, 1, 1, 0));
    tcp::Connection* connection = tcp->accept(*listener_, i);
    MR_ASSERT(connection);
    ip.flush(now);
    return connection;
  }

  tcp::Listener* listener_ = nullptr;
};

}  // namespace millrace::scale
