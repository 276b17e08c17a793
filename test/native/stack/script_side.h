// SPDX-License-Identifier: MIT
// The other side of the rings, for tests: what lib/rings.ts does in JavaScript.
#pragma once

#include <atomic>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "stack/stack.h"

namespace millrace {

struct ScriptEvent {
  Event type{};
  uint32_t slot = 0, generation = 0;
  uint32_t args[13] = {};
  std::string bytes;  // kData, kMessage
};

class ScriptSide {
 public:
  static constexpr uint32_t kSlabBytes = 65536;

  explicit ScriptSide(Stack& stack) : stack_(stack), shared_(stack.shared()) { supply(16); }

  void supply(int slabs) {
    for (int i = 0; i < slabs; ++i) {
      slabs_.push_back(std::make_unique<uint8_t[]>(kSlabBytes));
      stack_.add_slab(slabs_.back().get(), kSlabBytes, uint32_t(slabs_.size() - 1));
    }
  }
  // Slabs are being used up: supply() some, with the baton held.
  bool needs_slabs() const { return slabs_.size() - used_ < 8; }
  uint32_t* begin(Command op, uint32_t slot) {
    const uint32_t tail = shared_.load(header::kCommandTail);
    uint32_t* record = shared_.command(tail);
    record[0] = uint32_t(op);
    record[1] = slot;
    record[2] = word(slot, socket_word::kGeneration).load();
    return record + 3;
  }
  void publish() { shared_.store(header::kCommandTail, shared_.load(header::kCommandTail) + 1); }
  void command(Command op, uint32_t slot) {
    begin(op, slot);
    publish();
  }
  void read_on(uint32_t slot, Reading reading = Reading::kOn) {
    word(slot, socket_word::kReading).store(uint32_t(reading));
    command(Command::kResume, slot);
  }
  // What tcpTake() of the addon does for a kBulk event.
  std::string take(Instant now, const ScriptEvent& event) {
    std::string bytes(stack_.answer_bulk(event.slot, event.generation), '\0');
    if (bytes.empty()) return bytes;
    stack_.take_bulk(now, event.slot, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    return bytes;
  }
  // What tcpWrite() does.
  size_t write_bulk(Instant now, uint32_t slot, std::string_view text) {
    return stack_.write_bulk(now, slot, word(slot, socket_word::kGeneration).load(),
                             {reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  // UINT32_MAX when the stack offers none.
  uint32_t take_frame() {
    const uint32_t head = shared_.load(header::kFramesHead);
    if (head == shared_.load(header::kFramesTail)) return UINT32_MAX;
    const uint32_t frame = shared_.free_frame(head);
    shared_.store(header::kFramesHead, head + 1);
    return frame;
  }
  // Returns how much was taken.
  size_t write(uint32_t slot, std::string_view text) {
    const uint32_t mss = word(slot, socket_word::kPayloadMss).load();
    size_t done = 0;
    while (done < text.size()) {
      const uint32_t frame = take_frame();
      if (frame == UINT32_MAX) break;
      const size_t n = std::min<size_t>(mss, text.size() - done);
      std::memcpy(payload(frame), text.data() + done, n);
      uint32_t* args = begin(Command::kWrite, slot);
      args[0] = frame;
      args[1] = uint32_t(n);
      publish();
      done += n;
    }
    return done;
  }
  void send(uint32_t slot, std::string_view text, const wire::Endpoint& to) {
    const uint32_t frame = take_frame();
    MR_ASSERT(frame != UINT32_MAX);
    std::memcpy(payload(frame), text.data(), text.size());
    uint32_t* args = begin(Command::kSend, slot);
    args[0] = frame;
    args[1] = uint32_t(text.size());
    args[2] = to.port;
    put_address(args + 3, to.address);
    publish();
  }
  std::vector<ScriptEvent> events() {
    std::vector<ScriptEvent> list;
    uint32_t head = shared_.load(header::kEventHead);
    for (; head != shared_.load(header::kEventTail); ++head) {
      const uint32_t* record = shared_.event(head);
      ScriptEvent event{Event(record[0]), record[1], record[2], {}, {}};
      std::memcpy(event.args, record + 3, sizeof(event.args));
      if (event.type == Event::kData || event.type == Event::kMessage) {
        const auto* slab = reinterpret_cast<const char*>(slabs_[event.args[0]].get());
        event.bytes.assign(slab + event.args[1], event.args[2]);
        used_ = event.args[0];
      }
      list.push_back(std::move(event));
    }
    shared_.store(header::kEventHead, head);
    return list;
  }

 private:
  // The guardian's turns write these words too.
  std::atomic_ref<uint32_t> word(uint32_t slot, uint32_t which) {
    return std::atomic_ref(shared_.socket(slot)[which]);
  }
  uint8_t* payload(uint32_t frame) {
    FramePool& pool = stack_.pool();
    return pool.memory() + size_t(frame) * pool.frame_bytes() + FramePool::kTxHeadroom;
  }
  Stack& stack_;
  const SharedArea& shared_;
  std::vector<std::unique_ptr<uint8_t[]>> slabs_;
  size_t used_ = 0;
};

}  // namespace millrace
