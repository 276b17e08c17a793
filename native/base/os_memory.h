// SPDX-License-Identifier: MIT
// Anonymous memory from the kernel. Reserved at the start at its full size, which is what makes
// every limit fixed; the kernel backs a page when it is first written, so unused capacity costs
// nothing.
#pragma once

#include <cstddef>
#include <cstdint>

namespace millrace {

class OsMemory {
 public:
  OsMemory() = default;
  // Page-aligned and zeroed. data() is null if the kernel refuses.
  explicit OsMemory(size_t bytes);
  ~OsMemory();
  OsMemory(OsMemory&& other) noexcept;
  OsMemory& operator=(OsMemory&& other) noexcept;
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace millrace
