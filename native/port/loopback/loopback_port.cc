// SPDX-License-Identifier: MIT
#include "port/loopback/loopback_port.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace millrace {

LoopbackPort::LoopbackPort(FramePool& pool, uint32_t mtu_bytes, uint32_t ring_frames)
    : pool_(pool),
      mask_(std::bit_ceil(std::max(ring_frames, 2u)) - 1),
      ring_(new Frame*[size_t(mask_) + 1]) {
  MR_ASSERT(mtu_bytes >= 576 && mtu_bytes <= pool.frame_bytes());
  info_.name = "loopback";
  info_.link = LinkType::kIp;
  info_.mtu_bytes = mtu_bytes;
  info_.mode = "in process";
  // What never leaves the process needs none.
  info_.offloads.checksums = true;
}

LoopbackPort::~LoopbackPort() {
  MR_ASSERT(head_ == tail_);
}

uint32_t LoopbackPort::receive(Instant now, std::span<Frame*> out) {
  const uint32_t count = std::min(uint32_t(out.size()), tail_ - head_);
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < count; ++i) {
    Frame* frame = ring_[(head_ + i) & mask_];
    bytes += frame->length;
    out[i] = frame;
  }
  head_ += count;
  stats_.rx_frames += count;
  stats_.rx_bytes += bytes;
  return count;
}

uint32_t LoopbackPort::transmit(Instant now, std::span<Frame* const> frames) {
  uint32_t taken = 0;
  for (const Frame* frame : frames) {
    if (frame->length > info_.mtu_bytes) {  // no room is guaranteed for it on the other side
      ++stats_.tx_dropped;
      ++taken;
      continue;
    }
    Frame* copy = tail_ - head_ <= mask_ ? pool_.alloc(0) : nullptr;
    if (!copy) {
      ++stats_.tx_full;
      break;
    }
    copy->length = frame->length;
    // A frame damaged on purpose (the fault wrapper) has to meet a checksum that is looked at.
    copy->flags = frame->flags & Frame::kTampered ? 0 : Frame::kChecksumVerified;
    std::memcpy(copy->chunk, frame->data(), frame->length);
    ring_[tail_++ & mask_] = copy;
    ++stats_.tx_frames;
    stats_.tx_bytes += frame->length;
    ++taken;
  }
  return taken;
}

void LoopbackPort::close() {
  while (head_ != tail_) pool_.release(ring_[head_++ & mask_]);
}

}  // namespace millrace
