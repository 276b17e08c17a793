// SPDX-License-Identifier: MIT
// Receive slabs: plain ArrayBuffers that JavaScript supplies and the stack fills from front to
// back. A slab is filled once and then belongs to the program that got views of it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/assert.h"

namespace millrace {

class SlabQueue {
 public:
  static constexpr uint32_t kSlabsMax = 64;
  static constexpr uint32_t kAlign = 8;

  struct Place {
    std::span<uint8_t> bytes;  // empty: no slab left
    uint32_t slab = 0;
    uint32_t offset = 0;
  };

  void add(uint8_t* memory, uint32_t bytes, uint32_t id) {
    MR_ASSERT(count_ < kSlabsMax && bytes % kAlign == 0);
    slabs_[(head_ + count_++) % kSlabsMax] = {memory, bytes, id};
  }
  // Room for `wanted` bytes in one piece, or less when a whole slab is smaller than that. `joined`:
  // right behind the bytes that were kept last, if there is room.
  Place reserve(uint32_t wanted, bool joined = false) {
    if (!joined) used_ = (used_ + kAlign - 1) & ~(kAlign - 1);
    if (count_ == 0) return {};
    if (slabs_[head_].bytes - used_ < wanted && used_ > 0) drop_front();
    if (count_ == 0) return {};
    const Slab& slab = slabs_[head_];
    const uint32_t length = wanted < slab.bytes - used_ ? wanted : slab.bytes - used_;
    return {{slab.memory + used_, length}, slab.id, used_};
  }
  // Keeps the first `bytes` of what reserve() returned last.
  void commit(uint32_t bytes) {
    used_ += bytes;
    if (used_ >= slabs_[head_].bytes) drop_front();
  }
  uint32_t count() const { return count_; }

 private:
  struct Slab {
    uint8_t* memory = nullptr;
    uint32_t bytes = 0;
    uint32_t id = 0;
  };
  void drop_front() {
    head_ = (head_ + 1) % kSlabsMax;
    --count_;
    used_ = 0;
  }
  std::array<Slab, kSlabsMax> slabs_;
  uint32_t head_ = 0, count_ = 0, used_ = 0;
};

}  // namespace millrace
