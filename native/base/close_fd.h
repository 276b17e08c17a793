// SPDX-License-Identifier: MIT
// Closing a descriptor that may not be open.
#pragma once

#include <unistd.h>

namespace millrace {

// Leaves -1: closing twice does nothing.
inline void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

}  // namespace millrace
