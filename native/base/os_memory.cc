// SPDX-License-Identifier: MIT
#include "base/os_memory.h"

#include <sys/mman.h>

#include <utility>

namespace millrace {

namespace {
constexpr size_t kHugePage = size_t(2) << 20;
}

OsMemory::OsMemory(size_t bytes, Pages pages) {
  const bool huge = pages == Pages::kHugeLater && bytes > kHugePage;
  const size_t reserved = huge ? bytes + kHugePage : bytes;
  void* p = mmap(nullptr, reserved, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return;
  reserved_ = data_ = static_cast<uint8_t*>(p);
  reserved_bytes_ = reserved;
  size_ = bytes;
  if (!huge) return;
  data_ += -reinterpret_cast<uintptr_t>(p) & (kHugePage - 1);
  // A kernel without them refuses, and nothing is lost.
  (void)madvise(data_ + kHugePage, bytes - kHugePage, MADV_HUGEPAGE);
}

OsMemory::~OsMemory() {
  if (reserved_) munmap(reserved_, reserved_bytes_);
}

OsMemory::OsMemory(OsMemory&& other) noexcept {
  *this = std::move(other);
}

OsMemory& OsMemory::operator=(OsMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(reserved_, other.reserved_);
  std::swap(reserved_bytes_, other.reserved_bytes_);
  return *this;
}

}  // namespace millrace
