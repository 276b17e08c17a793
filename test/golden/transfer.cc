// SPDX-License-Identifier: MIT
#include "golden/transfer.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "net/ip_layer.h"
#include "port/sim/sim_network.h"
#include "tcp/tcp.h"

namespace millrace::golden {

namespace {

constexpr uint16_t kPort = 80;
constexpr uint32_t kMtu = 1500;
constexpr double kPayloadPerPacket = 1448.0 / 1500.0;

struct Host final : tcp::Handler {
  Host(SimNetwork& network, const Path& path, uint32_t number, const SimConditions& line)
      : address(wire::IpAddress::v4(0x0a000001u + number)),
        random(Random::from_seed(path.seed * 2 + number)),
        pool(16384, 2048),
        wheel(Instant{}),
        ip(pool, wheel, random, net::Limits{}),
        port(network.add_port(pool, {.link = LinkType::kIp, .mtu_bytes = kMtu})) {
    network.set_conditions(number, line);
    ip.attach(*port, {.ifindex = 1, .mtu_bytes = kMtu}, false);
    ip.address_changed(1, address, 24, true);
    net::Route route;
    route.destination = wire::IpAddress::v4(0x0a000000);
    route.prefix_length = 24;
    route.ifindex = 1;
    MR_ASSERT(!ip.route_changed(route, true));
    tcp::StackOptions options;
    options.connections_max = 4;
    options.ecn = path.ecn;
    options.defaults.congestion = path.congestion;
    tcp = std::make_unique<tcp::Tcp>(pool, ip, wheel, random, *this, options);
    ip.set_handler(6, tcp.get());
  }
  ~Host() override {
    tcp.reset();
    port->close();
    ip.close();
  }
  void on_connected(tcp::Connection& c) override { connection = &c; }
  void on_acceptable(tcp::Listener& l) override { connection = tcp->accept(l, 1); }
  void on_readable(tcp::Connection&) override {}
  void on_acked(tcp::Connection&) override {}
  void on_error(tcp::Connection&, Error) override { connection = nullptr; }

  void receive(Instant now) {
    Frame* frames[64];
    while (const uint32_t n = port->receive(now, frames)) {
      ip.input(now, 0, {frames, n});
    }
    wheel.advance(now);
  }
  // Keeps the send buffer full.
  void write(Instant now) {
    const uint64_t limit = tcp->acked_bytes(*connection) + tcp->send_buffer_bytes(*connection);
    const uint32_t segment = tcp->payload_mss_bytes(*connection);
    for (; written + segment <= limit; written += segment) {
      Frame* f = pool.alloc();
      if (!f) break;
      f->length = segment;
      std::memset(f->data(), 0x2a, segment);
      tcp->write(*connection, f);
    }
    tcp->push(now, *connection);
  }
  uint32_t read(Instant now) {
    uint32_t total = 0;
    while (const uint32_t n = tcp->read(now, *connection, buffer)) total += n;
    return total;
  }
  Instant next_event() const { return std::min(wheel.next_deadline(), port->next_event()); }

  wire::IpAddress address;
  Random random;
  FramePool pool;
  TimerWheel wheel;
  net::IpLayer ip;
  std::unique_ptr<SimPort> port;
  std::unique_ptr<tcp::Tcp> tcp;
  tcp::Connection* connection = nullptr;
  uint64_t written = 0;
  std::vector<uint8_t> buffer = std::vector<uint8_t>(65536);
};

SimConditions forward(const Path& path) {
  SimConditions line;
  line.loss = path.loss;
  line.duplicate = path.duplicate;
  line.reorder = path.reorder;
  line.reorder_by = path.reorder_by;
  line.early = path.early;
  line.delay = path.round_trip * 1 / 2;
  line.rate_bits_per_s = path.rate_bits_per_s;
  line.queue_bytes = path.queue_bytes;
  line.mark_from_bytes = path.mark_from_bytes;
  return line;
}

}  // namespace

Figures transfer(const Path& path) {
  SimNetwork network(path.seed, 65536);
  SimConditions back;
  back.delay = path.round_trip * 1 / 2;
  back.loss = path.loss_of_acks;
  back.reorder = path.reorder_of_acks;
  back.reorder_by = path.reorder_by;
  back.early = path.early;
  Host sender(network, path, 0, forward(path)), receiver(network, path, 1, back);
  MR_ASSERT(receiver.tcp->listen({receiver.address, kPort}, false, 4, {}, 0).ok());
  tcp::ConnectionOptions options = sender.tcp->defaults();
  auto opened =
      sender.tcp->connect({}, {sender.address, 40000}, {receiver.address, kPort}, options, 1);
  MR_ASSERT(opened.ok());
  Figures f;
  Instant now{}, last_data{};
  double queue_sum = 0, queue_samples = 0;
  while (now < Instant{} + path.time) {
    sender.receive(now);
    receiver.receive(now);
    if (sender.connection) sender.write(now);
    const uint32_t got = receiver.connection ? receiver.read(now) : 0;
    if (got > 0) {
      if (f.bytes > 0) f.longest_pause = std::max(f.longest_pause, now - last_data);
      last_data = now;
      f.bytes += got;
      const int64_t srtt_us = int64_t(sender.tcp->info(*sender.connection).srtt_us);
      queue_sum += double(std::max<int64_t>(0, srtt_us - path.round_trip.micros())) / 1000;
      queue_samples += 1;
    }
    sender.ip.flush(now);
    receiver.ip.flush(now);
    now = std::max(now, std::min(sender.next_event(), receiver.next_event()));
  }
  const double seconds = double(path.time.ns) / 1e9;
  f.share = double(f.bytes) * 8 / seconds / (double(path.rate_bits_per_s) * kPayloadPerPacket);
  const tcp::Info info = sender.tcp->info(**opened);
  f.resent = f.bytes ? double(info.bytes_retransmitted) / double(f.bytes) : 0;
  f.queue_ms = queue_samples ? queue_sum / queue_samples : 0;
  f.counters = sender.tcp->counters();
  return f;
}

}  // namespace millrace::golden
