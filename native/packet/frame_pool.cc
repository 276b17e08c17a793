// SPDX-License-Identifier: MIT
#include "packet/frame_pool.h"

#include <bit>
#include <cstring>
#include <new>

namespace millrace {

FramePool::FramePool(uint32_t frames, uint32_t frame_bytes)
    : count_(frames),
      frame_bytes_(frame_bytes),
      free_count_(frames),
      memory_(size_t(frames) * frame_bytes),
      descriptors_(size_t(frames) * sizeof(Frame)),
      frames_(reinterpret_cast<Frame*>(descriptors_.data())) {
  MR_ASSERT(std::has_single_bit(frame_bytes) && frame_bytes >= 2048 && frame_bytes <= 65536);
  MR_ASSERT(memory_.data() && descriptors_.data());
}

FramePool::~FramePool() = default;

Frame* FramePool::alloc(uint32_t headroom) {
  Frame* f = free_;
  if (f) {
    free_ = f->next;
  } else if (fresh_ < count_) {
    f = new (&frames_[fresh_]) Frame();
    f->index = fresh_;
    f->chunk = memory_.data() + size_t(fresh_) * frame_bytes_;
    f->capacity = frame_bytes_;
    ++fresh_;
  } else {
    return nullptr;
  }
  --free_count_;
  f->next = nullptr;
  f->offset = headroom;
  f->length = 0;
  f->refs = 1;
  f->flags = 0;
  f->segment_bytes = 0;
  return f;
}

Frame* FramePool::clone(const Frame& frame) {
  Frame* copy = alloc(frame.offset);
  if (!copy) return nullptr;
  copy->length = frame.length;
  copy->flags = frame.flags;
  copy->received = frame.received;
  std::memcpy(copy->data(), frame.data(), frame.length);
  return copy;
}

void FramePool::release(Frame* frame) {
  MR_ASSERT(frame->refs > 0);
  if (--frame->refs > 0) return;
  MR_DASSERT(frame->tx_pending == 0);
  frame->next = free_;
  free_ = frame;
  ++free_count_;
}

void FramePool::release_all(FrameQueue& queue) {
  while (Frame* f = queue.pop_front()) release(f);
}

}  // namespace millrace
