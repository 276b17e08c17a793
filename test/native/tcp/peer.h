// SPDX-License-Identifier: MIT
// One host against hand-made segments: a test plays the peer, number by number.
#pragma once

#include "tcp/harness.h"

namespace millrace::test {

struct Made {  // a segment to be sent to the host
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint8_t flags = wire::kTcpAck;
  uint16_t window = 65535;
  std::string payload = {};
  wire::TcpOptions options = {};
  uint16_t from_port = 5555;
  uint16_t to_port = 80;
  IpAddress from = kAddressB;
  IpAddress to = kAddressA;
};

inline std::vector<uint8_t> make_packet(const Made& m, std::span<const uint8_t> raw_options = {}) {
  const uint32_t options =
      raw_options.empty() ? wire::tcp_options_bytes(m.options) : uint32_t(raw_options.size());
  const bool v4 = m.to.is_v4();
  const uint32_t ip = v4 ? 20 : 40;
  std::vector<uint8_t> bytes(ip + 20 + options + m.payload.size());
  REQUIRE(v4);
  wire::build_ipv4(bytes.data(), {.total_bytes = uint16_t(bytes.size()), .ttl = 64, .protocol = 6},
                   m.from, m.to);
  wire::TcpHeader h{.source_port = m.from_port,
                    .destination_port = m.to_port,
                    .seq = Seq(m.seq),
                    .ack = Seq(m.ack),
                    .window = m.window,
                    .header_bytes = uint8_t(20 + options),
                    .flags = m.flags};
  if (raw_options.empty()) {
    wire::build_tcp_header(bytes.data() + ip, h, m.options);
  } else {
    h.header_bytes = 20;
    wire::build_tcp_header(bytes.data() + ip, h, {});
    bytes[ip + 12] = uint8_t((20 + options) / 4 << 4);
    std::copy(raw_options.begin(), raw_options.end(), bytes.begin() + ip + 20);
  }
  std::copy(m.payload.begin(), m.payload.end(), bytes.end() - long(m.payload.size()));
  fix_checksum(bytes);
  return bytes;
}

// A host with a listener on port 80 and, after open(), one accepted connection from kAddressB:5555.
struct Scene {
  explicit Scene(tcp::StackOptions options = {}) : host(now, kAddressA, 3, options) {}
  ~Scene() { host.port.close(); }
  Instant now{5'000'000'000};
  Host host;
  Listener* listener = nullptr;
  Connection* c = nullptr;
  uint32_t peer_seq = 1000;  // next number of ours
  uint32_t host_seq = 0;     // next number expected from the host
  bool timestamps = false;
  uint32_t ts = 500;
  uint32_t ts_echo = 0;

  void listen(tcp::ConnectionOptions options = {}, uint32_t backlog = 8) {
    auto l = host.tcp->listen({kAddressA, 80}, false, backlog, options, 7);
    REQUIRE(l.ok());
    listener = *l;
  }
  void send(Made m) {
    if (timestamps && !m.options.has_timestamps) {
      m.options.has_timestamps = true;
      m.options.ts_value = ts;
      m.options.ts_echo = ts_echo;
    }
    host.deliver(now, make_packet(m));
  }
  std::optional<Packet> next() {
    std::optional<Packet> p = host.next(now);
    if (p && p->options.has_timestamps) ts_echo = p->options.ts_value;
    return p;
  }
  Packet expect() {
    std::optional<Packet> p = next();
    REQUIRE(p);
    return *p;
  }
  bool silent() { return !next(); }
  void drain() {
    while (next()) {
    }
  }
  uint32_t count_sent() {
    uint32_t n = 0;
    while (next()) ++n;
    return n;
  }
  // Lets timers fire at their times; what is sent stays on the wire until asked for.
  void advance(Duration d) {
    const Instant until = now + d;
    while (host.wheel.next_deadline() <= until) {
      now = std::max(now, host.wheel.next_deadline());
      host.wheel.advance(now);
      host.ip.flush(now);
    }
    now = until;
    host.wheel.advance(now);
  }
  // Advances to the moment the host sends something by itself.
  std::optional<Packet> wait(Duration limit) {
    const Instant until = now + limit;
    for (;;) {
      if (auto p = next()) return p;
      if (host.wheel.next_deadline() > until) break;
      now = std::max(now, host.wheel.next_deadline());
      host.wheel.advance(now);
    }
    now = until;
    return std::nullopt;
  }
  void open(wire::TcpOptions syn = {.mss_bytes = 1460, .has_mss = true}, uint16_t window = 65535,
            tcp::ConnectionOptions options = {}) {
    if (!listener) listen(options);
    timestamps = syn.has_timestamps;
    send({.seq = peer_seq, .flags = wire::kTcpSyn, .window = window, .options = syn});
    ++peer_seq;
    const Packet p = expect();
    REQUIRE(p.tcp.flags == (wire::kTcpSyn | wire::kTcpAck));
    CHECK(p.tcp.ack.value() == peer_seq);
    host_seq = p.tcp.seq.value() + 1;
    now = now + Duration::millis(20);
    send({.seq = peer_seq, .ack = host_seq, .window = window});
    REQUIRE(host.acceptable == 1);
    c = host.tcp->accept(*listener, 9);
    REQUIRE(c);
    CHECK(silent());
  }
  void data(const std::string& payload, uint8_t more = 0) {
    send({.seq = peer_seq,
          .ack = host_seq,
          .flags = uint8_t(wire::kTcpAck | more),
          .payload = payload});
    peer_seq += uint32_t(payload.size()) + ((more & wire::kTcpFin) ? 1 : 0);
  }
  void ack(uint32_t number, uint16_t window = 65535) {
    send({.seq = peer_seq, .ack = number, .window = window});
  }
  void write(const std::string& bytes) {
    CHECK(host.write(*c, bytes) == bytes.size());
    host.tcp->push(now, *c);
  }
};

}  // namespace millrace::test
