// SPDX-License-Identifier: MIT
// A small seeded generator (SplitMix64) for the test helpers: the same seed gives the same run of
// decisions. Must not be used for anything that has to be unpredictable.
#pragma once

#include <cstdint>

namespace tools {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  /** Uniform in [0, bound). The bias of the multiplication is below 2^-32 for the bounds used here.
   */
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(((next() >> 32) * bound) >> 32); }

  /** True with the given probability in per cent. */
  bool percent(double chance) {
    return chance > 0 && static_cast<double>(next() >> 11) * 0x1p-53 * 100.0 < chance;
  }

 private:
  uint64_t state_;
};

}  // namespace tools
