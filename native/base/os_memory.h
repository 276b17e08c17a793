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
  // kHugeLater: huge pages, where the kernel has them to give, behind the first 2 MiB. For what is
  // filled from the front: a program with little in it stays small.
  enum class Pages : uint8_t { kSmall, kHugeLater };

  // Page-aligned (with kHugeLater to 2 MiB) and zeroed. data() is null if the kernel refuses.
  explicit OsMemory(size_t bytes, Pages pages = Pages::kSmall);
  ~OsMemory();
  OsMemory(OsMemory&& other) noexcept;
  OsMemory& operator=(OsMemory&& other) noexcept;
  uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
  uint8_t* reserved_ = nullptr;  // what was asked of the kernel: more than is used, to be aligned
  size_t reserved_bytes_ = 0;
};

}  // namespace millrace
