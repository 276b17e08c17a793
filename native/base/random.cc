// SPDX-License-Identifier: MIT
#include "base/random.h"

#include <sys/random.h>

#include <cerrno>

#include <bit>

#include "base/assert.h"

namespace millrace {

Random Random::from_kernel() {
  return Random();
}

Random Random::from_seed(uint64_t seed) {
  Random random;
  random.seeded_ = true;
  for (uint64_t& word : random.state_) {  // SplitMix64 spreads the seed over the state
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    word = z ^ (z >> 31);
  }
  return random;
}

void Random::refill() {
  size_t filled = 0;
  auto* bytes = reinterpret_cast<uint8_t*>(block_.data());
  while (filled < sizeof(block_)) {
    const ssize_t n = getrandom(bytes + filled, sizeof(block_) - filled, 0);
    MR_ASSERT(n > 0 || errno == EINTR);
    if (n > 0) filled += size_t(n);
  }
  left_ = uint32_t(block_.size());
}

uint64_t Random::next_u64() {
  if (!seeded_) {
    if (left_ == 0) refill();
    const uint64_t value = block_[--left_];
    block_[left_] = 0;
    return value;
  }
  auto& s = state_;
  const uint64_t result = std::rotl(s[1] * 5, 7) * 9;
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
  s[2] ^= t;
  s[3] = std::rotl(s[3], 45);
  return result;
}

}  // namespace millrace
