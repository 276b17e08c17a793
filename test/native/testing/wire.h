// SPDX-License-Identifier: MIT
// Hand-made IPv4 packets for the door's tests: built and taken apart here, byte by byte.
#pragma once

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp_header.h"
#include "wire/udp.h"

namespace millrace::test {

inline const wire::IpAddress kOurs = wire::IpAddress::v4(0xc0000201);   // 192.0.2.1
inline const wire::IpAddress kPeers = wire::IpAddress::v4(0xc0000202);  // 192.0.2.2

inline std::vector<uint8_t> ip_packet(uint8_t protocol, std::vector<uint8_t> transport,
                                      size_t checksum_at) {
  uint64_t sum = wire::checksum_pseudo(kPeers, kOurs, protocol, uint32_t(transport.size()));
  const uint16_t checksum = wire::checksum_finish(wire::checksum_partial(transport, sum));
  std::memcpy(transport.data() + checksum_at, &checksum, 2);
  std::vector<uint8_t> packet(20);
  wire::build_ipv4(packet.data(),
                   {.total_bytes = uint16_t(20 + transport.size()), .protocol = protocol}, kPeers,
                   kOurs);
  packet.insert(packet.end(), transport.begin(), transport.end());
  return packet;
}

struct Tcp {
  uint16_t from = 40000;
  uint16_t to = 80;
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint8_t flags = wire::kTcpAck;
  std::string_view data = {};
  uint16_t mss = 0;
  uint16_t window = 65535;
};

inline std::vector<uint8_t> tcp_packet(const Tcp& t) {
  wire::TcpOptions options;
  options.has_mss = t.mss != 0;
  options.mss_bytes = t.mss;
  wire::TcpHeader header;
  header.source_port = t.from;
  header.destination_port = t.to;
  header.seq = wire::Seq(t.seq);
  header.ack = wire::Seq(t.ack);
  header.window = t.window;
  header.flags = t.flags;
  header.header_bytes = uint8_t(20 + wire::tcp_options_bytes(options));
  std::vector<uint8_t> segment(header.header_bytes + t.data.size());
  wire::build_tcp_header(segment.data(), header, options);
  std::copy(t.data.begin(), t.data.end(), segment.begin() + header.header_bytes);
  return ip_packet(6, std::move(segment), wire::kTcpChecksumOffset);
}

inline std::vector<uint8_t> udp_packet(uint16_t from, uint16_t to, std::string_view data) {
  std::vector<uint8_t> datagram(8 + data.size());
  wire::store16(datagram.data(), from);
  wire::store16(datagram.data() + 2, to);
  wire::store16(datagram.data() + 4, uint16_t(datagram.size()));
  std::memcpy(datagram.data() + 8, data.data(), data.size());
  return ip_packet(17, std::move(datagram), 6);
}

struct Sent {
  bool any = false;
  int64_t at_ns = 0;
  uint8_t protocol = 0;
  wire::TcpHeader tcp;
  std::string data;  // of TCP or UDP
};

inline Sent take_apart(const std::vector<uint8_t>& bytes, int64_t at_ns) {
  Sent s;
  s.any = true;
  s.at_ns = at_ns;
  s.protocol = bytes.at(9);
  const std::span<const uint8_t> transport(bytes.data() + 20, bytes.size() - 20);
  size_t header = 8;
  if (s.protocol == 6) {
    (void)wire::parse_tcp_header(transport, s.tcp);
    header = s.tcp.header_bytes;
  }
  s.data.assign(transport.begin() + long(header), transport.end());
  return s;
}

}  // namespace millrace::test
