// SPDX-License-Identifier: MIT
// Intrusive chained hash table with a bucket array fixed at the start. Lookup is O(1) as long as
// the caller's hash is keyed (SipHash) where keys come from the wire.
#pragma once

#include <bit>
#include <cstdint>

#include "base/assert.h"
#include "base/os_memory.h"

namespace millrace {

// An element derives from HashNode<Tag>; `hash` is kept so that removal needs no key.
template <typename Tag>
struct HashNode {
  HashNode* hash_next = nullptr;
  uint64_t hash = 0;
};

template <typename T, typename Tag>
class HashTable {
  using Node = HashNode<Tag>;

 public:
  // `capacity`: expected maximum of elements; more are allowed and only make chains longer.
  explicit HashTable(uint32_t capacity)
      : mask_(std::bit_ceil(capacity < 16 ? 16u : capacity) - 1),
        memory_((size_t(mask_) + 1) * sizeof(Node*)) {
    MR_ASSERT(memory_.data());
  }
  template <typename Match>
  T* find(uint64_t hash, Match&& matches) const {
    for (Node* n = buckets()[hash & mask_]; n; n = n->hash_next) {
      if (n->hash == hash && matches(*static_cast<T*>(n))) return static_cast<T*>(n);
    }
    return nullptr;
  }
  void insert(T* item, uint64_t hash) {
    Node* n = item;
    n->hash = hash;
    n->hash_next = buckets()[hash & mask_];
    buckets()[hash & mask_] = n;
    ++size_;
  }
  void remove(T* item) {
    Node* n = item;
    Node** link = &buckets()[n->hash & mask_];
    while (*link && *link != n) link = &(*link)->hash_next;
    MR_ASSERT(*link == n);
    *link = n->hash_next;
    n->hash_next = nullptr;
    --size_;
  }
  uint32_t size() const { return size_; }

 private:
  Node** buckets() const { return reinterpret_cast<Node**>(memory_.data()); }
  uint32_t mask_;
  uint32_t size_ = 0;
  OsMemory memory_;
};

}  // namespace millrace
