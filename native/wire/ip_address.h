// SPDX-License-Identifier: MIT
// One address type for both families: 16 bytes, IPv4 as IPv4-mapped IPv6 (RFC 4291 2.5.5.2). The
// unspecified addresses of the families are distinct values, ::ffff:0.0.0.0 and ::.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>

#include "wire/byte_order.h"

namespace millrace::wire {

class IpAddress {
 public:
  constexpr IpAddress() = default;  // ::
  static IpAddress v4(uint32_t host_order) {
    // Both halves at once: a copy that follows must not wait for narrower stores to be joined.
    uint8_t network_order[4];
    uint32_t low;
    store32(network_order, host_order);
    std::memcpy(&low, network_order, 4);
    const uint64_t halves[2] = {0, std::endian::native == std::endian::little
                                       ? uint64_t(low) << 32 | kMappedMarker
                                       : uint64_t(kMappedMarker) << 32 | low};
    IpAddress a;
    std::memcpy(a.bytes_.data(), halves, 16);
    return a;
  }
  static IpAddress v4_bytes(const uint8_t* p) { return v4(load32(p)); }
  static IpAddress v6_bytes(const uint8_t* p) {
    IpAddress a;
    std::memcpy(a.bytes_.data(), p, 16);
    return a;
  }
  bool is_v4() const {
    uint64_t high;
    uint32_t low;
    std::memcpy(&high, bytes_.data(), 8);
    std::memcpy(&low, bytes_.data() + 8, 4);
    return high == 0 && low == kMappedMarker;
  }
  uint32_t as_v4() const { return load32(bytes_.data() + 12); }  // host order
  const uint8_t* v4_data() const { return bytes_.data() + 12; }  // 4 bytes, network order
  const uint8_t* data() const { return bytes_.data(); }          // 16 bytes
  bool is_unspecified() const { return is_v4() ? as_v4() == 0 : *this == IpAddress(); }
  bool is_loopback() const {
    if (is_v4()) return as_v4() >> 24 == 127;
    static constexpr uint8_t kOne[16] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    return std::memcmp(bytes_.data(), kOne, 16) == 0;
  }
  bool is_multicast() const { return is_v4() ? as_v4() >> 28 == 0xe : bytes_[0] == 0xff; }
  bool is_limited_broadcast() const { return is_v4() && as_v4() == 0xffffffff; }
  bool is_link_local() const {
    return is_v4() ? as_v4() >> 16 == 0xa9fe : (bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80);
  }
  // By hand: the comparison of byte arrays is a call of memcmp, for every table lookup of every
  // packet.
  bool operator==(const IpAddress& o) const {
    uint64_t a[2], b[2];
    std::memcpy(a, bytes_.data(), 16);
    std::memcpy(b, o.bytes_.data(), 16);
    return ((a[0] ^ b[0]) | (a[1] ^ b[1])) == 0;
  }
  auto operator<=>(const IpAddress&) const = default;

 private:
  static constexpr uint32_t kMappedMarker =
      std::endian::native == std::endian::little ? 0xffff0000u : 0x0000ffffu;
  std::array<uint8_t, 16> bytes_{};
};

struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};

// A flow as its local end sees it.
struct FlowKey {
  Endpoint local;
  Endpoint remote;
  auto operator<=>(const FlowKey&) const = default;
};

}  // namespace millrace::wire
