// SPDX-License-Identifier: MIT
// What fuzz targets share: a check that stops the run, and a reader of the input's bytes.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

namespace millrace::fuzz {

[[noreturn]] inline void wrong(const char* what, const char* file, int line) {
  std::fprintf(stderr, "fuzz: %s:%d: %s\n", file, line, what);
  std::abort();
}

// Takes values from the front of an input; past its end they are 0.
class Reader {
 public:
  Reader(const uint8_t* data, size_t size) : left_(data, size) {}
  bool empty() const { return left_.empty(); }
  uint8_t byte() {
    if (left_.empty()) return 0;
    const uint8_t b = left_[0];
    left_ = left_.subspan(1);
    return b;
  }
  uint16_t word() {
    const uint16_t high = byte();
    return uint16_t(high << 8 | byte());
  }
  uint32_t number() {
    const uint32_t high = word();
    return high << 16 | word();
  }
  std::span<const uint8_t> take(size_t most) {
    const auto taken = left_.first(std::min(most, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }

 private:
  std::span<const uint8_t> left_;
};

}  // namespace millrace::fuzz

#define FUZZ_CHECK(condition) \
  ((condition) ? void(0) : ::millrace::fuzz::wrong(#condition, __FILE__, __LINE__))
