// SPDX-License-Identifier: MIT
// The port of a stack under test: a link without link-layer addresses, like a TUN device. What the
// stack transmits is copied with its time and waits, in order, until the test takes it; what the
// test puts in goes straight to the Internet layer. It knows nothing of what the packets carry.
#pragma once

#include <deque>
#include <vector>

#include "port/port.h"

namespace millrace::testing {

struct SentPacket {
  std::vector<uint8_t> bytes;
  Instant at;
};

class WirePort final : public Port {
 public:
  explicit WirePort(uint32_t mtu_bytes) {
    info_.name = "testing";
    info_.link = LinkType::kIp;
    info_.mtu_bytes = mtu_bytes;
    info_.mode = "in process";
  }

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override { return stats_; }
  uint32_t receive(Instant, std::span<Frame*>) override { return 0; }
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override {
    for (const Frame* f : frames) {
      ++stats_.tx_frames;
      stats_.tx_bytes += f->length;
      sent_.push_back({{f->data(), f->data() + f->length}, now});
    }
    return uint32_t(frames.size());
  }
  void flush(Instant) override {}
  bool rx_ready() const override { return false; }
  void close() override { sent_.clear(); }

  size_t waiting() const { return sent_.size(); }
  const SentPacket& front() const { return sent_.front(); }
  void pop() { sent_.pop_front(); }

 private:
  PortInfo info_;
  PortStats stats_;
  std::deque<SentPacket> sent_;
};

}  // namespace millrace::testing
