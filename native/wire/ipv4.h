// SPDX-License-Identifier: MIT
// The IPv4 header (RFC 791): parsing with every check that needs no tables, and building. No state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "wire/byte_order.h"
#include "wire/ip_address.h"

namespace millrace::wire {

inline constexpr uint8_t kProtocolIcmp = 1;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;
inline constexpr uint8_t kProtocolIcmpv6 = 58;

inline constexpr uint32_t kIpv4HeaderBytes = 20;

// Why a packet cannot be taken.
enum class IpProblem : uint8_t {
  kNone,
  kHeader,       // truncated, wrong version, impossible lengths
  kChecksum,     // IPv4 header checksum
  kOptions,      // malformed ones; the view is filled
  kSourceRoute,  // asks to be forwarded along a route
};

struct Ipv4View {
  IpAddress source;
  IpAddress destination;
  uint32_t header_bytes = 0;
  uint32_t total_bytes = 0;  // header included; what lies beyond is link padding
  uint8_t protocol = 0;
  uint8_t ttl = 0;
  uint8_t traffic_class = 0;
  bool fragment = false;   // not a whole datagram
  bool first = true;       // fragment offset 0
  uint8_t bad_option = 0;  // kOptions: the offset in the packet of what is wrong
};

// Fills `out` from a packet that begins with the IP header. With `quoted` the packet is an excerpt
// inside an ICMP error: it may end before total_bytes, and its checksum is not looked at (routers
// change it).
IpProblem parse_ipv4(std::span<const uint8_t> packet, Ipv4View& out, bool quoted = false);

struct Ipv4Fields {
  uint16_t total_bytes = 0;
  uint16_t identification = 0;
  bool dont_fragment = true;
  uint8_t ttl = 64;
  uint8_t traffic_class = 0;
  uint8_t protocol = 0;
};

// Writes 20 bytes, checksum included.
inline void build_ipv4(uint8_t* p, const Ipv4Fields& fields, const IpAddress& source,
                       const IpAddress& destination) {
  p[0] = 0x45;
  p[1] = fields.traffic_class;
  store16(p + 2, fields.total_bytes);
  store16(p + 4, fields.identification);
  store16(p + 6, fields.dont_fragment ? 0x4000 : 0);
  p[8] = fields.ttl;
  p[9] = fields.protocol;
  // The header's words are summed from the fields: reading them back would wait for the stores.
  const uint32_t s = source.as_v4(), d = destination.as_v4();
  uint32_t sum = 0x4500u + fields.traffic_class + fields.total_bytes + fields.identification +
                 (fields.dont_fragment ? 0x4000u : 0u) + (uint32_t(fields.ttl) << 8) +
                 fields.protocol + (s >> 16) + (s & 0xffff) + (d >> 16) + (d & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  store16(p + 10, uint16_t(~sum));
  store32(p + 12, s);
  store32(p + 16, d);
}

}  // namespace millrace::wire
