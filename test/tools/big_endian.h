// SPDX-License-Identifier: MIT
// Numbers as they stand in packets.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tools {

inline void put16(uint8_t* at, uint32_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

inline void put32(uint8_t* at, uint32_t value) {
  put16(at, value >> 16);
  put16(at + 2, value & 0xffff);
}

inline uint32_t get16(const uint8_t* at) {
  return static_cast<uint32_t>(at[0] << 8 | at[1]);
}

inline uint32_t get32(const uint8_t* at) {
  return get16(at) << 16 | get16(at + 2);
}

/** The Internet checksum's sum, not yet folded (RFC 1071). */
inline uint32_t sum16(const uint8_t* bytes, size_t length) {
  uint32_t sum = 0;
  for (size_t i = 0; i + 1 < length; i += 2) sum += get16(bytes + i);
  if (length % 2) sum += static_cast<uint32_t>(bytes[length - 1] << 8);
  return sum;
}

}  // namespace tools
