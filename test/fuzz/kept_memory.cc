// SPDX-License-Identifier: MIT
// OsMemory for fuzz targets, in place of base/os_memory.cc: a stack lives for one execution, and to
// have the kernel map, clear and take back its pages was nine tenths of the time. Here they are
// kept for the next stack, zeroed as new ones are, and out of bounds in between.
#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/os_memory.h"

namespace millrace {

namespace {

constexpr size_t kPage = 4096;

size_t whole_pages(size_t bytes) {
  return (bytes + kPage - 1) / kPage * kPage;
}

// By size. Never destroyed: memory of static objects comes back after main().
std::map<size_t, std::vector<uint8_t*>>& kept() {
  static auto* blocks = new std::map<size_t, std::vector<uint8_t*>>;
  return *blocks;
}

}  // namespace

OsMemory::OsMemory(size_t bytes, Pages) {
  if (bytes == 0) return;  // as mmap()
  auto& blocks = kept()[whole_pages(bytes)];
  if (blocks.empty()) {
    void* p = mmap(nullptr, whole_pages(bytes), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return;
    data_ = static_cast<uint8_t*>(p);
  } else {
    data_ = blocks.back();
    blocks.pop_back();
    ASAN_UNPOISON_MEMORY_REGION(data_, whole_pages(bytes));
    std::memset(data_, 0, bytes);
  }
  size_ = bytes;
  ASAN_POISON_MEMORY_REGION(data_ + bytes, whole_pages(bytes) - bytes);
}

OsMemory::~OsMemory() {
  if (!data_) return;
  ASAN_POISON_MEMORY_REGION(data_, whole_pages(size_));
  kept()[whole_pages(size_)].push_back(data_);
}

OsMemory::OsMemory(OsMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

OsMemory& OsMemory::operator=(OsMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace millrace
