// SPDX-License-Identifier: MIT
// Slots: what JavaScript's socket numbers stand for. A slot is used again after it is closed, with
// a new generation, so that a late command or event for its former owner is recognised and dropped.
#pragma once

#include <cstdint>
#include <vector>

#include "base/list.h"
#include "base/object_pool.h"
#include "tcp/tcp.h"
#include "udp/udp.h"

namespace millrace {

struct ReadyTag;
struct WrittenTag;

enum class SlotKind : uint8_t { kConnection, kListener, kDatagram };

struct Slot : ListNode<ReadyTag>, ListNode<WrittenTag> {
  Slot(SlotKind kind, uint32_t generation) : kind(kind), generation(generation) {}

  // What is still to be told to JavaScript.
  static constexpr uint8_t kConnected = 1;
  static constexpr uint8_t kReadable = 2;
  static constexpr uint8_t kFailed = 4;
  static constexpr uint8_t kWritable = 8;

  SlotKind kind;
  uint8_t pending = 0;
  bool end_told = false;
  bool connecting = true;  // until its outcome is told
  bool dual_stack = false;
  bool tell_error = false;  // the program wrote to a dead connection: it must hear, reading or not
  int error = 0;
  uint32_t written = 0;  // bytes taken from JavaScript, modulo 2^32
  uint32_t bulks = 0;    // kBulk events that JavaScript has not answered yet
  uint32_t index = 0;
  uint32_t generation;
  wire::Endpoint local;  // listeners and datagram sockets: what they are bound to
  union {
    tcp::Connection* connection = nullptr;
    tcp::Listener* listener;
    udp::Socket* datagram;
  };

  ListNode<ReadyTag>& ready_node() { return *this; }
  ListNode<WrittenTag>& written_node() { return *this; }
};

using SlotList = List<Slot, ReadyTag>;

class SlotTable {
 public:
  explicit SlotTable(uint32_t capacity) : pool_(capacity), live_(capacity) {}
  Slot* open(SlotKind kind) {
    Slot* slot = pool_.create(kind, ++generations_);
    if (!slot) return nullptr;
    slot->index = pool_.index_of(slot);
    live_[slot->index] = slot;
    return slot;
  }
  // Null for a slot that is not in use.
  Slot* at(uint32_t index) const { return index < live_.size() ? live_[index] : nullptr; }
  void close(Slot* slot) {
    slot->ready_node().unlink();
    slot->written_node().unlink();
    live_[slot->index] = nullptr;
    pool_.destroy(slot);
  }
  void close_all() {
    for (Slot* slot : live_) {
      if (slot) close(slot);
    }
  }
  uint32_t live() const { return pool_.live(); }

 private:
  ObjectPool<Slot> pool_;
  std::vector<Slot*> live_;
  uint32_t generations_ = 0;
};

}  // namespace millrace
