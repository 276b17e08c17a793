// SPDX-License-Identifier: MIT
// Randomness behind one type: from the kernel's generator in production (RFC 6528, 6056: numbers
// that an attacker must not guess), from a seed in the simulator (a run reproduces to the byte).
#pragma once

#include <array>
#include <cstdint>

#include "base/siphash.h"

namespace millrace {

class Random {
 public:
  // Unpredictable: draws from getrandom(2), a block at a time.
  static Random from_kernel();
  // Reproducible: xoshiro256** from the seed. Tests and the simulator only.
  static Random from_seed(uint64_t seed);

  uint64_t next_u64();
  uint32_t next_u32() { return uint32_t(next_u64() >> 32); }
  // Uniform in [0, bound); bound > 0.
  uint32_t below(uint32_t bound) { return uint32_t((uint64_t(next_u32()) * bound) >> 32); }
  // True with a probability of `millionths` / 1,000,000.
  bool chance(uint32_t millionths) { return below(1'000'000) < millionths; }
  SipKey sip_key() { return {next_u64(), next_u64()}; }

 private:
  Random() = default;
  void refill();
  bool seeded_ = false;
  std::array<uint64_t, 4> state_{};
  std::array<uint64_t, 32> block_{};
  uint32_t left_ = 0;
};

}  // namespace millrace
