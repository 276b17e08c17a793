// SPDX-License-Identifier: MIT
#include "net/interface.h"

#include <algorithm>

namespace millrace::net {

void TransmitBatch::let_go(uint32_t count, FramePool& pool) {
  for (uint32_t i = 0; i < count; ++i) {
    --frames_[i]->tx_pending;
    pool.release(frames_[i]);
  }
}

void TransmitBatch::transmit(Instant now, Port& port, FramePool& pool) {
  open_ = nullptr;
  if (count_ == 0) return;
  const uint32_t taken = port.transmit(now, {frames_.data(), count_});
  MR_ASSERT(taken <= count_);
  let_go(taken, pool);
  std::copy(frames_.begin() + taken, frames_.begin() + count_, frames_.begin());
  count_ -= taken;
}

void TransmitBatch::release_all(FramePool& pool) {
  open_ = nullptr;
  let_go(count_, pool);
  count_ = 0;
}

}  // namespace millrace::net
