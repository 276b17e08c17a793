// SPDX-License-Identifier: MIT
// Draws the parts of a scenario from a seed.
#pragma once

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "base/random.h"
#include "base/time.h"

namespace millrace::sim {

class Draw {
 public:
  explicit Draw(uint64_t seed) : random_(Random::from_seed(seed)) {}
  uint32_t range(uint32_t low, uint32_t high) { return low + random_.below(high - low + 1); }
  bool chance(uint32_t percent) { return random_.below(100) < percent; }
  // Every order of magnitude is as likely as any other.
  uint64_t log_range(uint64_t low, uint64_t high) {
    const double a = std::log(double(std::max<uint64_t>(low, 1)));
    const double b = std::log(double(std::max<uint64_t>(high, 1)) + 1);
    const double x = std::exp(a + (b - a) * (random_.next_u32() / 4294967296.0));
    return std::clamp(uint64_t(x), low, high);
  }
  Duration log_micros(uint64_t low, uint64_t high) {
    return Duration::micros(int64_t(log_range(low, high)));
  }
  template <typename T>
  T pick(std::initializer_list<T> values) {
    return *(values.begin() + random_.below(uint32_t(values.size())));
  }

 private:
  Random random_;
};

}  // namespace millrace::sim
