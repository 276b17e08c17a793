// SPDX-License-Identifier: MIT
// A value or an errno. Errors are Linux errno numbers, positive, because they travel unchanged to
// Node, where they become ECONNRESET, EADDRINUSE and the rest.
#pragma once

#include <cerrno>
#include <new>
#include <type_traits>
#include <utility>

#include "base/assert.h"

namespace millrace {

struct [[nodiscard]] Error {
  int code = 0;  // 0: no error
  constexpr explicit operator bool() const { return code != 0; }
  constexpr bool operator==(const Error&) const = default;
};
inline constexpr Error kOk{};

template <typename T>
class [[nodiscard]] Result {
  static_assert(std::is_trivially_destructible_v<T> || std::is_move_constructible_v<T>);

 public:
  Result(T value) : value_(std::move(value)) {}                       // NOLINT: implicit by design
  Result(Error error) : error_(error) { MR_ASSERT(error.code > 0); }  // NOLINT: implicit by design
  bool ok() const { return error_.code == 0; }
  explicit operator bool() const { return ok(); }
  Error error() const { return error_; }
  T& value() {
    MR_ASSERT(ok());
    return value_;
  }
  T& operator*() { return value(); }
  T* operator->() { return &value(); }
  const T& operator*() const { return const_cast<Result*>(this)->value(); }
  const T* operator->() const { return &const_cast<Result*>(this)->value(); }

 private:
  T value_{};
  Error error_{};
};

}  // namespace millrace
