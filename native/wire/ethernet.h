// SPDX-License-Identifier: MIT
// Ethernet II frames with at most one IEEE 802.1Q tag, as they lie in memory. No state; says
// nothing of whom a frame is for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "wire/byte_order.h"

namespace millrace::wire {

inline constexpr size_t kEthernetHeaderBytes = 14;
inline constexpr size_t kVlanTagBytes = 4;
inline constexpr size_t kEthernetFrameMinBytes = 60;  // without the check sequence
inline constexpr uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
inline constexpr uint16_t kEtherTypeVlan = 0x8100;

struct EthernetView {
  const uint8_t* destination = nullptr;  // 6 bytes
  const uint8_t* source = nullptr;       // 6 bytes
  uint16_t ether_type = 0;               // of the payload, behind the tag
  uint16_t vlan = 0;                     // VLAN identifier, 0 when untagged or only priority-tagged
  uint8_t header_bytes = 0;              // 14 or 18
};

// False when the frame ends before its payload could begin.
inline bool parse_ethernet(std::span<const uint8_t> frame, EthernetView& out) {
  if (frame.size() < kEthernetHeaderBytes) return false;
  const uint8_t* p = frame.data();
  out = {p, p + 6, load16(p + 12), 0, uint8_t(kEthernetHeaderBytes)};
  if (out.ether_type != kEtherTypeVlan) return true;
  if (frame.size() < kEthernetHeaderBytes + kVlanTagBytes) return false;
  out.vlan = load16(p + 14) & 0x0fff;
  out.ether_type = load16(p + 16);
  out.header_bytes = uint8_t(kEthernetHeaderBytes + kVlanTagBytes);
  return true;
}

inline void build_ethernet(uint8_t* p, const uint8_t* destination, const uint8_t* source,
                           uint16_t ether_type) {
  std::memcpy(p, destination, 6);
  std::memcpy(p + 6, source, 6);
  store16(p + 12, ether_type);
}

}  // namespace millrace::wire
