// SPDX-License-Identifier: MIT
// Values of socket options as getsockopt() and setsockopt() pass them.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace millrace::testing {

template <typename T>
int give(const T& source, void* value, socklen_t* length) {
  if (!value || !length) return -EFAULT;
  const socklen_t n = std::min<socklen_t>(*length, sizeof source);
  std::memcpy(value, &source, n);
  *length = n;
  return 0;
}

template <typename T>
int take(T& target, const void* value, socklen_t length) {
  if (!value) return -EFAULT;
  if (length < sizeof target) return -EINVAL;
  std::memcpy(&target, value, sizeof target);
  return 0;
}

}  // namespace millrace::testing
