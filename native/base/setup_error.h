// SPDX-License-Identifier: MIT
// Why something could not be set up: an errno and a sentence for a person. For rare operations at
// the start (opening a device, loading a program); the data path returns Error alone.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>

namespace millrace {

struct SetupError {
  int code = 0;  // a Linux errno; 0: no error
  char text[320] = "";

  explicit operator bool() const { return code != 0; }

  [[gnu::format(printf, 3, 4)]] void set(int errno_code, const char* format, ...) {
    code = errno_code;
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
  }
};

}  // namespace millrace
