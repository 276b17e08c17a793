// SPDX-License-Identifier: MIT
// The port of a stack under test: a link without link-layer addresses, like a TUN device, or
// Ethernet, whose headers stay inside. What the stack transmits is copied with its time and waits,
// in order, until the test takes it; what the test puts in goes straight to the Internet layer. It
// knows nothing of what the packets carry.
#pragma once

#include <algorithm>
#include <deque>
#include <vector>

#include "port/port.h"
#include "wire/byte_order.h"

namespace millrace::testing {

struct SentPacket {
  std::vector<uint8_t> bytes;
  Instant at;
};

class WirePort final : public Port {
 public:
  static constexpr uint32_t kEthernetHeaderBytes = 14;

  WirePort(uint32_t mtu_bytes, bool ethernet) : header_bytes_(ethernet ? kEthernetHeaderBytes : 0) {
    info_.name = "testing";
    info_.link = ethernet ? LinkType::kEthernet : LinkType::kIp;
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
      const uint8_t* packet = f->data() + header_bytes_;
      sent_.push_back({{packet, packet + packet_bytes({packet, f->length - header_bytes_})}, now});
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
  // The padding of a short frame is no part of the packet.
  uint32_t packet_bytes(std::span<const uint8_t> frame) const {
    const auto length = uint32_t(frame.size());
    if (header_bytes_ == 0 || length < 20 || frame[0] >> 4 != 4) return length;
    return std::min<uint32_t>(length, wire::load16(frame.data() + 2));
  }

  uint32_t header_bytes_;
  PortInfo info_;
  PortStats stats_;
  std::deque<SentPacket> sent_;
};

}  // namespace millrace::testing
