// SPDX-License-Identifier: MIT
// The IPv6 header and its extension headers (RFC 8200): parsing, the bounded walk to the transport
// header, building. No state; fragments are recognised, not joined.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "wire/byte_order.h"
#include "wire/ip_address.h"
#include "wire/ipv4.h"

namespace millrace::wire {

inline constexpr uint32_t kIpv6HeaderBytes = 40;
inline constexpr uint32_t kIpv6FragmentBytes = 8;
inline constexpr uint8_t kProtocolIpv6Fragment = 44;
inline constexpr uint32_t kIpv6MtuMinBytes = 1280;
inline constexpr int kIpv6ExtensionsMax = 8;
inline constexpr uint8_t kNoNextHeader = 59;

struct Ipv6View {
  IpAddress source;
  IpAddress destination;
  uint32_t total_bytes = 0;  // header included; what lies beyond is link padding
  uint8_t next_header = 0;
  uint8_t hop_limit = 0;
  uint8_t traffic_class = 0;
};

// The fixed header. `quoted`: an excerpt inside an ICMPv6 error, which may end before total_bytes.
IpProblem parse_ipv6(std::span<const uint8_t> packet, Ipv6View& out, bool quoted = false);

enum class Ipv6Walk : uint8_t {
  kTransport,  // `protocol` and `offset` say where the upper-layer header is
  kFragment,   // a fragment header: not a whole datagram
  kDrop,       // malformed, too many headers, "no next header", or an option that asks for silence
  kProblem,    // to be dropped and answered with a parameter problem: `code` and `pointer`
};

struct Ipv6Chain {
  Ipv6Walk result = Ipv6Walk::kDrop;
  uint8_t protocol =
      kNoNextHeader;     // of the upper layer; with kProblem: if it could still be found
  uint8_t code = 0;      // RFC 4443 3.4: 0 erroneous field, 1 unknown next header, 2 unknown option
  uint32_t offset = 0;   // of the upper-layer header from the packet's first byte
  uint32_t pointer = 0;  // the offending byte, from the packet's first byte
};

// Walks hop-by-hop options, routing headers and destination options of a packet that is trimmed to
// its total length. Whether the upper-layer protocol is known is the caller's question; `pointer`
// then is that of the field that named it.
Ipv6Chain walk_ipv6(std::span<const uint8_t> packet, uint8_t first_header);

// Writes 40 bytes. The flow label is left 0 (RFC 6437 3 permits it).
inline void build_ipv6(uint8_t* p, uint16_t payload_bytes, uint8_t next_header, uint8_t hop_limit,
                       uint8_t traffic_class, const IpAddress& source,
                       const IpAddress& destination) {
  store32(p, 0x60000000u | uint32_t(traffic_class) << 20);
  store16(p + 4, payload_bytes);
  p[6] = next_header;
  p[7] = hop_limit;
  std::memcpy(p + 8, source.data(), 16);
  std::memcpy(p + 24, destination.data(), 16);
}

// Writes the 8 bytes of a fragment header (RFC 8200 4.5). `at`: a multiple of 8.
inline void build_ipv6_fragment(uint8_t* p, uint8_t next_header, uint32_t at, bool more,
                                uint32_t identification) {
  p[0] = next_header;
  p[1] = 0;
  store16(p + 2, uint16_t(at | (more ? 1 : 0)));
  store32(p + 4, identification);
}

}  // namespace millrace::wire
