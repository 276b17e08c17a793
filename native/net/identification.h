// SPDX-License-Identifier: MIT
// The identification of IPv4 packets that may be cut up (RFC 6864 4.1): none comes twice for the
// same addresses and protocol before all 65,536 have been, and nobody who sees those of one
// destination knows another's, or how much is sent. A counter behind a permutation that is keyed by
// whom it is for.
#pragma once

#include <array>
#include <cstdint>

#include "base/random.h"
#include "base/siphash.h"
#include "wire/ip_address.h"

namespace millrace::net {

class Identifications {
 public:
  explicit Identifications(Random& random) : random_(random) {}

  uint16_t next(const wire::IpAddress& local, const wire::IpAddress& remote, uint8_t protocol) {
    if (!keyed_) key_ = random_.sip_key(), keyed_ = true;
    Block block{local, remote, protocol, 0, 0, {}};
    // Who shares a counter skips numbers, and repeats none.
    const uint64_t whose = hash(block);
    uint16_t& counter = counters_[whose % kCounters];
    uint16_t left = uint8_t(counter >> 8), right = uint8_t(counter);
    ++counter;
    for (block.round = 1; block.round <= kRounds; ++block.round) {  // Luby and Rackoff 1988
      block.half = uint8_t(right);
      const uint16_t mixed = left ^ uint8_t(hash(block));
      left = right;
      right = mixed;
    }
    return uint16_t(left << 8 | right);
  }

 private:
  static constexpr size_t kCounters = 256;
  static constexpr uint8_t kRounds = 4;
  struct Block {
    wire::IpAddress local, remote;
    uint8_t protocol, round, half;
    uint8_t padding[5];
  };
  static_assert(sizeof(Block) == 2 * sizeof(wire::IpAddress) + 8, "hashed as bytes");

  uint64_t hash(const Block& block) const {
    return SipHash::hash(key_, {reinterpret_cast<const uint8_t*>(&block), sizeof block});
  }

  Random& random_;
  bool keyed_ = false;
  SipKey key_;
  std::array<uint16_t, kCounters> counters_{};
};

}  // namespace millrace::net
