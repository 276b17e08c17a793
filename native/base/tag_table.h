// SPDX-License-Identifier: MIT
// Hash table for large numbers of elements that are looked up by what the wire says: a lookup reads
// one cache line of the table and, but for one in 40, one element. A bucket is a cache line: seven
// elements with a byte of their hashes each, so that elements of other hashes are not touched; what
// does not fit goes to the bucket behind, and the bucket remembers how many passed it.
// Fixed at the start; the caller's hash must be keyed (SipHash).
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "base/assert.h"
#include "base/os_memory.h"
#include "base/prefetch.h"

namespace millrace {

// T has a member `uint64_t hash`, which the table sets and nobody else changes.
template <typename T>
class TagTable {
 public:
  // `capacity`: at most so many elements; past it insert() is a bug of the caller.
  explicit TagTable(uint32_t capacity)
      : capacity_(capacity),
        mask_(std::bit_ceil(capacity / kMeanLoad + 2) - 1),
        memory_((size_t(mask_) + 1) * sizeof(Bucket)) {
    MR_ASSERT(memory_.data());
  }

  template <typename Match>
  T* find(uint64_t hash, Match&& matches) const {
    for (uint32_t n = 0; n <= mask_; ++n) {
      const Bucket& b = buckets()[(uint32_t(hash) + n) & mask_];
      for (uint64_t hits = candidates(b, hash); hits; hits &= hits - 1) {
        T* item = b.items[std::countr_zero(hits) / 8];
        if (item->hash == hash && matches(*item)) return item;
      }
      if (b.passed == 0) break;
    }
    return nullptr;
  }
  // For a lookup that is to come: asks for the bucket.
  [[gnu::always_inline]] void prefetch(uint64_t hash) const {
    millrace::prefetch(&buckets()[uint32_t(hash) & mask_]);
  }
  // The element that find() will most likely return, or null; reads nothing but the bucket.
  T* guess(uint64_t hash) const {
    const Bucket& b = buckets()[uint32_t(hash) & mask_];
    const uint64_t hits = candidates(b, hash);
    return hits ? b.items[std::countr_zero(hits) / 8] : nullptr;
  }

  void insert(T* item, uint64_t hash) {
    MR_ASSERT(size_ < capacity_);
    ++size_;
    item->hash = hash;
    for (uint32_t i = uint32_t(hash) & mask_;; i = (i + 1) & mask_) {
      Bucket& b = buckets()[i];
      for (uint32_t k = 0; k < kItems; ++k) {
        if (b.items[k]) continue;
        b.items[k] = item;
        b.tags[k] = tag_of(hash);
        return;
      }
      if (b.passed < UINT8_MAX) ++b.passed;
    }
  }
  void remove(T* item) {
    --size_;
    for (uint32_t i = uint32_t(item->hash) & mask_;; i = (i + 1) & mask_) {
      Bucket& b = buckets()[i];
      for (uint32_t k = 0; k < kItems; ++k) {
        if (b.items[k] != item) continue;
        b.items[k] = nullptr;
        b.tags[k] = 0;
        return;
      }
      MR_ASSERT(b.passed > 0);
      if (b.passed < UINT8_MAX) --b.passed;  // a full count stays: it is no longer exact
    }
  }
  uint32_t size() const { return size_; }

 private:
  static constexpr uint32_t kItems = 7;
  static constexpr uint32_t kMeanLoad = 5;  // elements in a bucket when the table is full, at most
  struct alignas(64) Bucket {
    uint8_t tags[kItems];  // 0: empty
    uint8_t passed;
    T* items[kItems];
  };
  static_assert(sizeof(Bucket) == 64 && std::endian::native == std::endian::little);

  static uint8_t tag_of(uint64_t hash) {
    const uint8_t tag = uint8_t(hash >> 56);
    return tag ? tag : 1;
  }
  // The top bit of every byte whose tag is that of `hash`.
  static uint64_t candidates(const Bucket& b, uint64_t hash) {
    constexpr uint64_t kOnes = 0x0101010101010101, kLow = 0x7f7f7f7f7f7f7f7f;
    uint64_t tags;
    std::memcpy(&tags, b.tags, 8);
    const uint64_t differs = (tags ^ tag_of(hash) * kOnes) | uint64_t(0xff) << 56;
    return ~(((differs & kLow) + kLow) | differs | kLow);
  }
  Bucket* buckets() const { return reinterpret_cast<Bucket*>(memory_.data()); }

  uint32_t capacity_;
  uint32_t mask_;
  uint32_t size_ = 0;
  OsMemory memory_;
};

}  // namespace millrace
