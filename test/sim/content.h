// SPDX-License-Identifier: MIT
// What streams carry: a function of stream and offset, so that any byte can be checked on its own,
// wherever it turns up.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace millrace::sim {

inline uint64_t mix(uint64_t z) {  // SplitMix64's finisher
  z += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

inline uint64_t stream_key(uint64_t seed, uint32_t connection, bool from_client) {
  return mix(mix(seed) + connection * 2 + (from_client ? 1 : 0));
}

inline uint64_t content_word(uint64_t key, uint64_t index) {
  return mix(key ^ (index << 8));
}

inline uint8_t content_byte(uint64_t key, uint64_t offset) {
  return uint8_t(content_word(key, offset / 8) >> (offset % 8 * 8));
}

inline void fill_content(uint64_t key, uint64_t offset, std::span<uint8_t> out) {
  size_t i = 0;
  for (; i < out.size() && (offset + i) % 8; ++i) out[i] = content_byte(key, offset + i);
  for (; i + 8 <= out.size(); i += 8) {
    const uint64_t word = content_word(key, (offset + i) / 8);
    std::memcpy(out.data() + i, &word, 8);
  }
  for (; i < out.size(); ++i) out[i] = content_byte(key, offset + i);
}

// The first byte that differs, or data.size().
inline size_t check_content(uint64_t key, uint64_t offset, std::span<const uint8_t> data) {
  size_t i = 0;
  while (i < data.size()) {
    if ((offset + i) % 8 == 0 && i + 8 <= data.size()) {
      const uint64_t word = content_word(key, (offset + i) / 8);
      if (std::memcmp(data.data() + i, &word, 8) == 0) {
        i += 8;
        continue;
      }
    }
    if (data[i] != content_byte(key, offset + i)) return i;
    ++i;
  }
  return i;
}

}  // namespace millrace::sim
