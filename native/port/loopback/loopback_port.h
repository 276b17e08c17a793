// SPDX-License-Identifier: MIT
// The port that leads back into the same stack: what is sent is received, in order, without a
// device, a descriptor or a system call. Every frame is copied, because the sender keeps its own
// for retransmission while the receiver consumes the copy. The bytes never leave the process, so
// the copy is marked as verified and nobody sums it again. It knows nothing of what the frames
// carry.
#pragma once

#include <memory>

#include "port/port.h"

namespace millrace {

class LoopbackPort : public Port {
 public:
  // `mtu_bytes`: at most the pool's frame size. `ring_frames`: how many may wait to be received.
  LoopbackPort(FramePool& pool, uint32_t mtu_bytes, uint32_t ring_frames);
  ~LoopbackPort() override;

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override { return stats_; }
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  // Refuses the rest when the ring is full or the pool empty (`tx_full`): the sender keeps it and
  // tries again once receive() has made room.
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override;
  void flush(Instant now) override {}
  bool rx_ready() const override { return head_ != tail_; }
  void close() override;

 private:
  FramePool& pool_;
  PortInfo info_;
  PortStats stats_;
  uint32_t mask_;
  uint32_t head_ = 0;  // next to receive; both count on and wrap
  uint32_t tail_ = 0;  // next free place
  std::unique_ptr<Frame*[]> ring_;
};

}  // namespace millrace
