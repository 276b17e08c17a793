// SPDX-License-Identifier: MIT
// An array of trivially copyable elements with a capacity fixed at the start, for tables that are
// scanned or kept sorted. Past the capacity an insertion is refused, never grown.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "base/assert.h"
#include "base/os_memory.h"

namespace millrace {

template <typename T>
class FixedVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit FixedVector(uint32_t capacity)
      : capacity_(capacity), memory_(size_t(capacity) * sizeof(T)) {
    MR_ASSERT(capacity == 0 || memory_.data());
  }
  uint32_t size() const { return size_; }
  uint32_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ == capacity_; }
  T* begin() { return reinterpret_cast<T*>(memory_.data()); }
  T* end() { return begin() + size_; }
  const T* begin() const { return reinterpret_cast<const T*>(memory_.data()); }
  const T* end() const { return begin() + size_; }
  T& operator[](uint32_t i) {
    MR_DASSERT(i < size_);
    return begin()[i];
  }
  const T& operator[](uint32_t i) const {
    MR_DASSERT(i < size_);
    return begin()[i];
  }
  // False when full.
  [[nodiscard]] bool push_back(const T& item) { return insert(size_, item); }
  // Before element `at`, order kept. False when full.
  [[nodiscard]] bool insert(uint32_t at, const T& item) {
    MR_DASSERT(at <= size_);
    if (full()) return false;
    std::memmove(static_cast<void*>(begin() + at + 1), begin() + at, (size_ - at) * sizeof(T));
    std::memcpy(static_cast<void*>(begin() + at), &item, sizeof(T));
    ++size_;
    return true;
  }
  // Order kept.
  void erase(uint32_t at) {
    MR_DASSERT(at < size_);
    --size_;
    std::memmove(static_cast<void*>(begin() + at), begin() + at + 1, (size_ - at) * sizeof(T));
  }
  void clear() { size_ = 0; }

 private:
  uint32_t size_ = 0;
  uint32_t capacity_;
  OsMemory memory_;
};

}  // namespace millrace
