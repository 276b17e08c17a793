// SPDX-License-Identifier: MIT
// Builds the packets that the steering and port tests send, from a description. Plain and slow.
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "wire/byte_order.h"
#include "wire/ip_address.h"

namespace millrace::test {

using Bytes = std::vector<uint8_t>;
using Mac = std::array<uint8_t, 6>;

inline wire::IpAddress ip(const char* text) {
  uint8_t raw[16];
  if (inet_pton(AF_INET, text, raw) == 1) return wire::IpAddress::v4_bytes(raw);
  if (inet_pton(AF_INET6, text, raw) == 1) return wire::IpAddress::v6_bytes(raw);
  return {};
}

inline wire::Endpoint at(const char* address, uint16_t port) {
  return {ip(address), port};
}

inline void append(Bytes& to, const Bytes& what) {
  to.insert(to.end(), what.begin(), what.end());
}

inline uint32_t sum(const uint8_t* p, size_t n) {
  uint32_t s = 0;
  for (size_t i = 0; i + 1 < n; i += 2) s += wire::load16(p + i);
  if (n & 1) s += uint32_t(p[n - 1]) << 8;
  return s;
}

inline uint16_t fold(uint32_t s) {
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return uint16_t(~s);
}

inline Bytes udp(uint16_t from, uint16_t to, const std::string& payload) {
  Bytes b(8);
  wire::store16(&b[0], from);
  wire::store16(&b[2], to);
  wire::store16(&b[4], uint16_t(8 + payload.size()));
  b.insert(b.end(), payload.begin(), payload.end());
  return b;
}

inline constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

inline Bytes tcp(uint16_t from, uint16_t to, uint8_t flags, uint32_t seq = 1000, uint32_t ack = 0) {
  Bytes b(20);
  wire::store16(&b[0], from);
  wire::store16(&b[2], to);
  wire::store32(&b[4], seq);
  wire::store32(&b[8], ack);
  b[12] = 5 << 4;
  b[13] = flags;
  wire::store16(&b[14], 65535);
  return b;
}

// Fills in the transport checksum (at `field`) for the pseudo-header of the addresses.
inline Bytes with_checksum(Bytes b, uint8_t protocol, const wire::IpAddress& from,
                           const wire::IpAddress& to) {
  const size_t field = protocol == 6 ? 16 : protocol == 17 ? 6 : 2;
  uint32_t s = protocol == 1 ? 0 : uint32_t(protocol + b.size());
  if (protocol != 1) {
    s += from.is_v4() ? sum(from.v4_data(), 4) + sum(to.v4_data(), 4)
                      : sum(from.data(), 16) + sum(to.data(), 16);
  }
  wire::store16(&b[field], 0);
  uint16_t c = fold(s + sum(b.data(), b.size()));
  if (c == 0 && protocol == 17) c = 0xffff;
  wire::store16(&b[field], c);
  return b;
}

struct IpFields {
  uint16_t fragment = 0;  // flags and offset as in the header
  Bytes options = {};     // IPv4, a multiple of 4
};

// An IP packet around a transport packet, whose checksum it fills in (not for fragments).
inline Bytes packet(const char* from_text, const char* to_text, uint8_t protocol, Bytes body,
                    const IpFields& f = {}) {
  const wire::IpAddress from = ip(from_text), to = ip(to_text);
  if (f.fragment == 0) body = with_checksum(std::move(body), protocol, from, to);
  Bytes b;
  if (from.is_v4()) {
    b.resize(20);
    b[0] = uint8_t(0x45 + f.options.size() / 4);
    wire::store16(&b[2], uint16_t(20 + f.options.size() + body.size()));
    wire::store16(&b[6], f.fragment);
    b[8] = 64;
    b[9] = protocol;
    std::copy_n(from.v4_data(), 4, &b[12]);
    std::copy_n(to.v4_data(), 4, &b[16]);
    append(b, f.options);
    wire::store16(&b[10], fold(sum(b.data(), b.size())));
  } else {
    b.resize(40);
    b[0] = 0x60;
    wire::store16(&b[4], uint16_t(body.size()));
    b[6] = protocol;
    b[7] = 64;
    std::copy_n(from.data(), 16, &b[8]);
    std::copy_n(to.data(), 16, &b[24]);
  }
  append(b, body);
  return b;
}

// An ICMP error (type, code, second word) that quotes a packet, whole.
inline Bytes icmp(uint8_t type, uint8_t code, uint32_t word, const Bytes& quoted) {
  Bytes b(8);
  b[0] = type;
  b[1] = code;
  wire::store32(&b[4], word);
  append(b, quoted);
  return b;
}

inline Bytes ethernet(const Mac& to, const Mac& from, const Bytes& ip_packet, int vlan = -1) {
  Bytes b(to.begin(), to.end());
  b.insert(b.end(), from.begin(), from.end());
  if (vlan >= 0) append(b, {0x81, 0x00, uint8_t(vlan >> 8), uint8_t(vlan)});
  if (ip_packet[0] >> 4 == 6) {
    append(b, {0x86, 0xdd});
  } else {
    append(b, {0x08, 0x00});
  }
  append(b, ip_packet);
  return b;
}

}  // namespace millrace::test
