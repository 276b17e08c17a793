// SPDX-License-Identifier: MIT
// The UDP header (RFC 768): parsing with its checksum rules, building. No state.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "wire/byte_order.h"
#include "wire/checksum.h"
#include "wire/ip_address.h"
#include "wire/ipv4.h"

namespace millrace::wire {

inline constexpr uint32_t kUdpHeaderBytes = 8;

struct UdpView {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  uint16_t length_bytes = 0;  // header included; what lies beyond is no part of the datagram
};

// False when the lengths contradict each other.
inline bool parse_udp(std::span<const uint8_t> datagram, UdpView& out) {
  if (datagram.size() < kUdpHeaderBytes) return false;
  const uint8_t* p = datagram.data();
  out = {load16(p), load16(p + 2), load16(p + 4)};
  return out.length_bytes >= kUdpHeaderBytes && out.length_bytes <= datagram.size();
}

// `datagram` is trimmed to its length. RFC 768: over IPv4 a zero field means that there is no
// checksum; RFC 8200 8.1: over IPv6 that is an error. `may_be_partial`: a field that holds just the
// pseudo header's sum is right too.
inline bool udp_checksum_ok(std::span<const uint8_t> datagram, const IpAddress& source,
                            const IpAddress& destination, bool may_be_partial) {
  uint16_t field;
  std::memcpy(&field, datagram.data() + 6, 2);
  if (field == 0) return source.is_v4();
  const uint64_t pseudo =
      checksum_pseudo(source, destination, kProtocolUdp, uint32_t(datagram.size()));
  if (checksum_fold(checksum_partial(datagram, pseudo)) == 0xffff) return true;
  return may_be_partial && field == checksum_fold(pseudo);
}

// Writes the 8 bytes in front of a payload, without a checksum. `datagram` is header and payload.
inline void build_udp_header(std::span<uint8_t> datagram, uint16_t source_port,
                             uint16_t destination_port) {
  uint8_t* p = datagram.data();
  store16(p, source_port);
  store16(p + 2, destination_port);
  store16(p + 4, uint16_t(datagram.size()));
  store16(p + 6, 0);
}

// The same with the checksum over header and payload.
inline void build_udp(std::span<uint8_t> datagram, uint16_t source_port, uint16_t destination_port,
                      const IpAddress& source, const IpAddress& destination) {
  uint8_t* p = datagram.data();
  build_udp_header(datagram, source_port, destination_port);
  const uint64_t pseudo =
      checksum_pseudo(source, destination, kProtocolUdp, uint32_t(datagram.size()));
  uint16_t sum = checksum_finish(checksum_partial(datagram, pseudo));
  if (sum == 0) sum = 0xffff;  // RFC 768: 0 would mean "no checksum"
  std::memcpy(p + 6, &sum, 2);
}

}  // namespace millrace::wire
