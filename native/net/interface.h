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
    ++frame->refs;
    ++frame->tx_pending;
    frames_[count_++] = frame;
    return count_ % kBurst == 0;
  }
  // Hands over what the port takes; the rest stays in order.
  void transmit(Instant now, Port& port, FramePool& pool);
  void release_all(FramePool& pool);

 private:
  void let_go(uint32_t count, FramePool& pool);
  uint32_t count_ = 0;
  std::array<Frame*, kFramesMax> frames_;
};

struct Interface {
  Port* port = nullptr;
  LinkConfig link;
  bool ethernet = false;
  bool local_everywhere = false;
  TransmitBatch batch;
};

}  // namespace millrace::net
