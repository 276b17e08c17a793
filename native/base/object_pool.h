// SPDX-License-Identifier: MIT
// A fixed number of objects of one type in memory reserved at the start. Slots are handed out last
// freed first, so a quiet program touches few pages. create() past the capacity returns null.
#pragma once

#include <new>
#include <utility>

#include "base/assert.h"
#include "base/os_memory.h"

namespace millrace {

template <typename T>
class ObjectPool {
 public:
  explicit ObjectPool(uint32_t capacity)
      : capacity_(capacity), memory_(size_t(capacity) * sizeof(Slot), OsMemory::Pages::kHugeLater) {
    MR_ASSERT(capacity == 0 || memory_.data());
  }
  ~ObjectPool() { MR_ASSERT(live_ == 0); }
  ObjectPool(const ObjectPool&) = delete;
  ObjectPool& operator=(const ObjectPool&) = delete;

  template <typename... Args>
  T* create(Args&&... args) {
    uint32_t index = free_head_;
    if (index != kNone) {
      free_head_ = slot(index)->next_free;
    } else if (fresh_ < capacity_) {
      index = fresh_++;
    } else {
      return nullptr;
    }
    ++live_;
    return new (slot(index)->storage) T(std::forward<Args>(args)...);
  }
  void destroy(T* object) {
    const uint32_t index = index_of(object);
    object->~T();
    slot(index)->next_free = free_head_;
    free_head_ = index;
    --live_;
  }
  uint32_t index_of(const T* object) const {
    const size_t offset = reinterpret_cast<const uint8_t*>(object) - memory_.data();
    MR_DASSERT(offset % sizeof(Slot) == 0 && offset < memory_.size());
    return uint32_t(offset / sizeof(Slot));
  }
  // The live object with this index.
  T* at(uint32_t index) { return reinterpret_cast<T*>(slot(index)->storage); }
  uint32_t live() const { return live_; }
  uint32_t capacity() const { return capacity_; }
  bool full() const { return live_ == capacity_; }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  union Slot {
    uint32_t next_free;
    alignas(T) unsigned char storage[sizeof(T)];
  };
  Slot* slot(uint32_t index) { return reinterpret_cast<Slot*>(memory_.data()) + index; }

  uint32_t capacity_;
  uint32_t fresh_ = 0;
  uint32_t free_head_ = kNone;
  uint32_t live_ = 0;
  OsMemory memory_;
};

}  // namespace millrace
