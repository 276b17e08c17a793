// SPDX-License-Identifier: MIT
// Asking for memory before it is needed. A hint: any address will do, nothing is read. A program
// with 100,000 busy connections waits for memory most of the time, unless it asks for several
// connections' at once.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace {

inline constexpr size_t kCacheLineBytes = 64;

// Always inline, here and in whatever calls it without doing anything else: GCC takes a function
// that only prefetches for one without effects, and leaves its calls out.
[[gnu::always_inline]] inline void prefetch(const void* at) {
  __builtin_prefetch(at);
}
[[gnu::always_inline]] inline void prefetch(const void* from, size_t bytes) {
  const auto* line = static_cast<const uint8_t*>(from);
  for (size_t i = 0; i < bytes; i += kCacheLineBytes) __builtin_prefetch(line + i);
}

}  // namespace millrace
