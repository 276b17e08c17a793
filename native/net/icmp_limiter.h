// SPDX-License-Identifier: MIT
// How many ICMP messages we may send (RFC 1812 4.3.2.8, RFC 4443 2.4 f): a bucket for all together
// and one for each target. The common bucket's budget is random, so that counting our answers says
// nothing about what else was answered (SAD DNS, CVE-2020-25705). Fixed memory whatever the number
// of targets.
#pragma once

#include <array>
#include <cstdint>

#include "base/random.h"
#include "base/time.h"
#include "wire/ip_address.h"

namespace millrace::net {

class IcmpLimiter {
 public:
  static constexpr uint32_t kPerSecond = 1000;
  static constexpr uint32_t kBurst = 50;
  static constexpr uint32_t kPerTargetBurst = 6;  // refilled one a second

  explicit IcmpLimiter(Random& random) : random_(random), key_(random.sip_key()) {}

  // An error message to `target`.
  bool allow_error(Instant now, const wire::IpAddress& target);
  // An echo reply: the common rate only, from a budget of its own.
  bool allow_echo(Instant now) { return take(now, echo_); }

 private:
  struct Bucket {
    Instant refilled{};
    uint32_t tokens = kBurst;
  };
  struct Target {
    Instant refilled{};
    uint32_t tokens = kPerTargetBurst;
  };
  bool take(Instant now, Bucket& bucket);

  Random& random_;
  SipKey key_;
  Bucket errors_;
  Bucket echo_;
  std::array<Target, 256> targets_{};  // by hash; targets that collide share a budget
};

}  // namespace millrace::net
