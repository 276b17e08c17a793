// SPDX-License-Identifier: MIT
// SipHash-2-4 (Aumasson and Bernstein 2012): a keyed hash short inputs cannot be steered through.
// For initial sequence numbers (RFC 6528), ephemeral ports (RFC 6056) and hash tables fed from the
// wire.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace millrace {

struct SipKey {
  uint64_t k0 = 0, k1 = 0;
};

class SipHash {
 public:
  static uint64_t hash(const SipKey& key, std::span<const uint8_t> data) {
    uint64_t v0 = key.k0 ^ 0x736f6d6570736575, v1 = key.k1 ^ 0x646f72616e646f6d;
    uint64_t v2 = key.k0 ^ 0x6c7967656e657261, v3 = key.k1 ^ 0x7465646279746573;
    size_t i = 0;
    for (; i + 8 <= data.size(); i += 8) {
      uint64_t word;
      std::memcpy(&word, data.data() + i, 8);
      absorb(word, v0, v1, v2, v3);
    }
    uint64_t last = uint64_t(data.size()) << 56;
    std::memcpy(&last, data.data() + i, data.size() - i);
    last |= uint64_t(data.size()) << 56;
    absorb(last, v0, v1, v2, v3);
    v2 ^= 0xff;
    for (int r = 0; r < 4; ++r) round(v0, v1, v2, v3);
    return v0 ^ v1 ^ v2 ^ v3;
  }

 private:
  static void absorb(uint64_t word, uint64_t& v0, uint64_t& v1, uint64_t& v2, uint64_t& v3) {
    v3 ^= word;
    round(v0, v1, v2, v3);
    round(v0, v1, v2, v3);
    v0 ^= word;
  }
  static void round(uint64_t& v0, uint64_t& v1, uint64_t& v2, uint64_t& v3) {
    v0 += v1, v1 = std::rotl(v1, 13), v1 ^= v0, v0 = std::rotl(v0, 32);
    v2 += v3, v3 = std::rotl(v3, 16), v3 ^= v2;
    v0 += v3, v3 = std::rotl(v3, 21), v3 ^= v0;
    v2 += v1, v1 = std::rotl(v1, 17), v1 ^= v2, v2 = std::rotl(v2, 32);
  }
};

}  // namespace millrace
