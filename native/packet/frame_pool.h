// SPDX-License-Identifier: MIT
// All packet memory of one stack, reserved at the start: `frames` chunks of `frame_bytes`. Ports
// register it with the card, JavaScript maps it, nothing else allocates packet memory.
#pragma once

#include <cstdint>

#include "base/os_memory.h"
#include "packet/frame.h"

namespace millrace {

class FramePool {
 public:
  // Room in front of a transport payload for every header below it: Ethernet with a VLAN tag (18),
  // IPv6 (40), TCP with all options (60), rounded up to two cache lines.
  static constexpr uint32_t kTxHeadroom = 128;

  // `frame_bytes`: a power of two, 2,048 to 65,536.
  FramePool(uint32_t frames, uint32_t frame_bytes);
  ~FramePool();
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  // A frame with one reference, empty, at offset `headroom`; null when the pool is exhausted. The
  // chunk holds what was there before: whoever sends bytes must have written them all.
  Frame* alloc(uint32_t headroom = kTxHeadroom);
  // A copy with its own memory, same offset and length; scratch is not copied. Null when exhausted.
  Frame* clone(const Frame& frame);
  void retain(Frame* frame) { ++frame->refs; }
  void release(Frame* frame);
  void release_all(FrameQueue& queue);

  Frame* at(uint32_t index) { return &frames_[index]; }
  uint8_t* memory() const { return memory_.data(); }
  size_t memory_bytes() const { return memory_.size(); }
  uint32_t frame_bytes() const { return frame_bytes_; }
  uint32_t capacity() const { return count_; }
  uint32_t available() const { return free_count_; }

 private:
  uint32_t count_;
  uint32_t frame_bytes_;
  uint32_t free_count_;
  Frame* free_ = nullptr;
  uint32_t fresh_ = 0;  // frames from here on were never used: their pages are not backed yet
  OsMemory memory_;
  OsMemory descriptors_;
  Frame* frames_;
};

}  // namespace millrace
