// SPDX-License-Identifier: MIT
#include "net/icmp_limiter.h"

#include <algorithm>

namespace millrace::net {

bool IcmpLimiter::take(Instant now, Bucket& bucket) {
  constexpr Duration kPerToken = Duration::nanos(1'000'000'000 / kPerSecond);
  const Duration gone = now - bucket.refilled;
  if (gone >= kPerToken) {
    const int64_t earned = gone.ns / kPerToken.ns;
    bucket.tokens = uint32_t(std::min<int64_t>(kBurst, bucket.tokens + earned));
    bucket.refilled = bucket.tokens == kBurst ? now : bucket.refilled + kPerToken * earned;
  }
  if (bucket.tokens == 0) return false;
  bucket.tokens -= std::min(bucket.tokens, random_.below(3));  // one on average
  return true;
}

bool IcmpLimiter::allow_error(Instant now, const wire::IpAddress& target) {
  constexpr Duration kPerToken = Duration::seconds(1);
  Target& slot = targets_[SipHash::hash(key_, {target.data(), 16}) % targets_.size()];
  const Duration gone = now - slot.refilled;
  if (gone >= kPerToken) {
    const int64_t earned = gone.ns / kPerToken.ns;
    slot.tokens = uint32_t(std::min<int64_t>(kPerTargetBurst, slot.tokens + earned));
    slot.refilled = slot.tokens == kPerTargetBurst ? now : slot.refilled + kPerToken * earned;
  }
  if (slot.tokens == 0 || !take(now, errors_)) return false;
  --slot.tokens;
  return true;
}

}  // namespace millrace::net
