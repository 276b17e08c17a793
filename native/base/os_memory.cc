// SPDX-License-Identifier: MIT
#include "base/os_memory.h"

#include <sys/mman.h>

#include <utility>

namespace millrace {

OsMemory::OsMemory(size_t bytes) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return;
  data_ = static_cast<uint8_t*>(p);
  size_ = bytes;
}

OsMemory::~OsMemory() {
  if (data_) munmap(data_, size_);
}

OsMemory::OsMemory(OsMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

OsMemory& OsMemory::operator=(OsMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace millrace
