// SPDX-License-Identifier: MIT
// Assertions. A broken invariant inside the stack must stop the process at the line where it broke,
// in release builds too: going on would corrupt somebody's stream. Input from the wire or from
// people never reaches an assertion; it is checked and counted or refused before.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace millrace {

[[noreturn, gnu::cold]] inline void assert_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "millrace: assertion failed: %s (%s:%d)\n", what, file, line);
  std::abort();
}

}  // namespace millrace

#define MR_ASSERT(cond) \
  (__builtin_expect(!!(cond), 1) ? void(0) : ::millrace::assert_failed(#cond, __FILE__, __LINE__))

// Checks that cost too much for the hot path of a release build.
#ifdef NDEBUG
#define MR_DASSERT(cond) void(0)
#else
#define MR_DASSERT(cond) MR_ASSERT(cond)
#endif
