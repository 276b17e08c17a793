// SPDX-License-Identifier: MIT
// TCP sequence numbers (RFC 9293 3.4): 32 bits that wrap. Comparison is by signed distance, so it
// holds for numbers less than 2^31 apart, which the window rules guarantee.
#pragma once

#include <cstdint>

namespace millrace::wire {

class Seq {
 public:
  constexpr Seq() = default;
  constexpr explicit Seq(uint32_t value) : value_(value) {}
  constexpr uint32_t value() const { return value_; }
  constexpr Seq operator+(uint32_t n) const { return Seq(value_ + n); }
  constexpr Seq operator-(uint32_t n) const { return Seq(value_ - n); }
  constexpr Seq& operator+=(uint32_t n) {
    value_ += n;
    return *this;
  }
  // Signed distance from `o` to this.
  constexpr int32_t operator-(Seq o) const { return int32_t(value_ - o.value_); }
  constexpr bool operator==(const Seq&) const = default;
  constexpr bool operator<(Seq o) const { return *this - o < 0; }
  constexpr bool operator<=(Seq o) const { return *this - o <= 0; }
  constexpr bool operator>(Seq o) const { return *this - o > 0; }
  constexpr bool operator>=(Seq o) const { return *this - o >= 0; }

 private:
  uint32_t value_ = 0;
};

constexpr Seq seq_min(Seq a, Seq b) {
  return a < b ? a : b;
}
constexpr Seq seq_max(Seq a, Seq b) {
  return a > b ? a : b;
}

}  // namespace millrace::wire
