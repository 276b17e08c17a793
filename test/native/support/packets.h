// SPDX-License-Identifier: MIT
// Packets for tests, built byte by byte and independently of native/wire: a mistake in the builders
// there must not hide in the tests' own.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "wire/ip_address.h"

namespace millrace::test {

using Bytes = std::vector<uint8_t>;
using wire::Endpoint;
using wire::IpAddress;

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
inline Bytes be16(uint32_t v) {
  return {uint8_t(v >> 8), uint8_t(v)};
}
inline Bytes be32(uint32_t v) {
  return be16(v >> 16) + be16(v);
}
inline void put16(Bytes& b, size_t at, uint32_t v) {
  b.at(at) = uint8_t(v >> 8);
  b.at(at + 1) = uint8_t(v);
}
inline Bytes address_bytes(const IpAddress& a) {
  return a.is_v4() ? Bytes(a.data() + 12, a.data() + 16) : Bytes(a.data(), a.data() + 16);
}
// The Internet checksum the slow way, as a number.
inline uint16_t naive_checksum(const Bytes& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); i += 2) {
    sum += uint32_t(bytes[i]) << 8 | (i + 1 < bytes.size() ? bytes[i + 1] : 0);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return uint16_t(~sum);
}
inline Bytes pseudo_header(const IpAddress& from, const IpAddress& to, uint8_t protocol,
                           uint32_t length) {
  return address_bytes(from) + address_bytes(to) + be32(length) + be32(protocol);
}

// "10.0.0.1" or eight groups of hexadecimal digits; "::" stands for zeros once.
inline IpAddress ip(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    uint32_t value = 0, part = 0;
    for (char c : text) {
      if (c == '.') {
        value = value << 8 | part;
        part = 0;
      } else {
        part = part * 10 + uint32_t(c - '0');
      }
    }
    return IpAddress::v4(value << 8 | part);
  }
  const auto groups = [](std::string_view s) {
    Bytes out;
    uint32_t part = 0;
    bool any = false;
    for (char c : s) {
      if (c == ':') {
        out = out + be16(part);
        part = 0;
        any = false;
      } else {
        part = part * 16 + uint32_t(c <= '9' ? c - '0' : c - 'a' + 10);
        any = true;
      }
    }
    return any ? out + be16(part) : out;
  };
  const size_t gap = text.find("::");
  if (gap == std::string_view::npos) return IpAddress::v6_bytes(groups(text).data());
  const Bytes head = groups(text.substr(0, gap)), tail = groups(text.substr(gap + 2));
  Bytes all = head + Bytes(16 - head.size() - tail.size(), 0) + tail;
  return IpAddress::v6_bytes(all.data());
}

struct Ipv4Spec {
  uint8_t protocol = 17;
  uint8_t ttl = 64;
  uint8_t traffic_class = 0;
  uint16_t fragment = 0x4000;  // flags and offset
  Bytes options = {};          // a multiple of four bytes
};
inline void fix_ipv4(Bytes& packet) {
  put16(packet, 10, 0);
  const size_t header = std::min<size_t>(size_t(packet[0] & 15) * 4, packet.size());
  put16(packet, 10, naive_checksum(Bytes(packet.begin(), packet.begin() + long(header))));
}
inline Bytes ipv4(const IpAddress& from, const IpAddress& to, const Bytes& payload,
                  const Ipv4Spec& spec = {}) {
  const size_t header = 20 + spec.options.size();
  Bytes p = Bytes{uint8_t(0x40 | header / 4), spec.traffic_class} +
            be16(uint32_t(header + payload.size())) + be16(0x1234) + be16(spec.fragment) +
            Bytes{spec.ttl, spec.protocol, 0, 0} + address_bytes(from) + address_bytes(to) +
            spec.options + payload;
  fix_ipv4(p);
  return p;
}
inline Bytes ipv6(const IpAddress& from, const IpAddress& to, uint8_t next, const Bytes& payload,
                  uint8_t hops = 64) {
  return be32(0x60000000) + be16(uint32_t(payload.size())) + Bytes{next, hops} +
         address_bytes(from) + address_bytes(to) + payload;
}
inline Bytes ip_packet(const IpAddress& from, const IpAddress& to, uint8_t protocol,
                       const Bytes& payload) {
  return from.is_v4() ? ipv4(from, to, payload, {.protocol = protocol})
                      : ipv6(from, to, protocol, payload);
}
inline Bytes udp(const Endpoint& from, const Endpoint& to, const Bytes& payload) {
  const uint32_t length = uint32_t(8 + payload.size());
  Bytes d = be16(from.port) + be16(to.port) + be16(length) + be16(0) + payload;
  uint16_t sum = naive_checksum(pseudo_header(from.address, to.address, 17, length) + d);
  put16(d, 6, sum == 0 ? 0xffff : sum);
  return d;
}
inline Bytes udp_packet(const Endpoint& from, const Endpoint& to, const Bytes& payload) {
  return ip_packet(from.address, to.address, 17, udp(from, to, payload));
}
// An ICMP or ICMPv6 packet; `rest` is the header's second word.
inline Bytes icmp_packet(const IpAddress& from, const IpAddress& to, uint8_t type, uint8_t code,
                         uint32_t rest, const Bytes& body) {
  Bytes m = Bytes{type, code, 0, 0} + be32(rest) + body;
  const bool v4 = from.is_v4();
  put16(m, 2, naive_checksum((v4 ? Bytes{} : pseudo_header(from, to, 58, uint32_t(m.size()))) + m));
  return ip_packet(from, to, v4 ? 1 : 58, m);
}
inline Bytes ethernet(const Bytes& to, const Bytes& from, uint16_t type, const Bytes& payload) {
  return to + from + be16(type) + payload;
}

}  // namespace millrace::test
