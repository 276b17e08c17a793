// SPDX-License-Identifier: MIT
// One attached port with its link facts and the batch of frames on their way to it.
//
// The batch holds a reference and a count in tx_pending for every frame, so that nobody touches its
// bytes; the port takes over with its own before the batch lets go.
#pragma once

#include <array>
#include <cstdint>

#include "net/tables.h"
#include "packet/frame_pool.h"
#include "port/port.h"

namespace millrace::net {

class TransmitBatch {
 public:
  static constexpr uint32_t kBurst = 64;       // handed over without waiting for flush()
  static constexpr uint32_t kFramesMax = 512;  // kept when the port takes none

  bool full() const { return count_ == kFramesMax; }
  uint32_t size() const { return count_; }
  // Not when full(). True when it is time to hand over.
  bool push(Frame* frame) {
    put(frame);
    open_ = frame;
    open_frames_ = 1;
    open_bytes_ = frame->length;
    return count_ % kBurst == 0;
  }
  // What was pushed last, while it is still here: more may be put behind it. `bytes`: of the whole
  // packet, headers included.
  bool takes_more(const Frame* head, uint32_t bytes, const SendOffloads& offloads,
                  uint32_t link_header_bytes) const {
    return head == open_ && !full() && open_frames_ < offloads.packet_frames_max &&
           open_bytes_ + bytes <= offloads.packet_bytes_max + link_header_bytes;
  }
  // Puts payload behind it; its length afterwards.
  uint32_t append(Frame* frame) {
    frame->flags = Frame::kContinues;
    put(frame);
    ++open_frames_;
    return open_bytes_ += frame->length;
  }
  // Hands over what the port takes; the rest stays in order.
  void transmit(Instant now, Port& port, FramePool& pool);
  void release_all(FramePool& pool);

 private:
  void put(Frame* frame) {
    ++frame->refs;
    ++frame->tx_pending;
    frames_[count_++] = frame;
  }
  void let_go(uint32_t count, FramePool& pool);
  uint32_t count_ = 0;
  const Frame* open_ = nullptr;  // the packet that was pushed last, unless transmit() came since
  uint32_t open_frames_ = 0;
  uint32_t open_bytes_ = 0;
  std::array<Frame*, kFramesMax> frames_;
};

struct Interface {
  Port* port = nullptr;
  LinkConfig link;
  bool ethernet = false;
  bool local_everywhere = false;
  const SendOffloads* offloads = nullptr;  // the port's; it may take them back
  TransmitBatch batch;
};

}  // namespace millrace::net
