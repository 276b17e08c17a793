// SPDX-License-Identifier: MIT
// MemoryPort's doors around port dpdk over net_ring: the tests of TCP and UDP between two hosts run
// over it as they are. With MILLRACE_TEST_OFFLOADS=1 in the environment the device is taken for one
// that writes checksums and cuts segments; what it is asked to do then is done here, at the end of
// the ring (finish_packet.h). DPDK's headers stay out of the tests that only want a wire.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "port/port.h"

namespace millrace::test {

class RingDevice;

// What a device was asked to do to a packet.
struct Requested {
  bool checksum = false, ipv4_header = false, segments = false;
  uint32_t segment_bytes = 0, parts = 1;
};

// What the devices of ports that are made from now on are taken to do: RTE_ETH_TX_OFFLOAD_...
uint64_t& offloads_wanted();
// All that is known here.
uint64_t every_offload();

struct WithOffloads {
  explicit WithOffloads(uint64_t offloads = every_offload()) : before(offloads_wanted()) {
    offloads_wanted() = offloads;
  }
  ~WithOffloads() { offloads_wanted() = before; }
  uint64_t before;
};

class RingPort final : public Port {
 public:
  explicit RingPort(FramePool& pool, LinkType link = LinkType::kIp, uint32_t mtu_bytes = 1500);
  ~RingPort() override;

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override { return port_->stats(); }
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override;
  void flush(Instant now) override { port_->flush(now); }
  bool rx_ready() const override { return port_->rx_ready(); }
  void close() override;

  // --- for the test
  // What the device has and nobody took yet, by the first frame of each.
  const std::deque<Frame*>& queued() const { return in_ring_; }
  // Packets on the wire that nobody took yet; the device is done with them.
  uint32_t sent_count();
  // The oldest of them. Empty when there is none.
  std::vector<uint8_t> take();
  void clear();
  // A frame with these bytes, as the device brings it; null when there is no memory for it.
  Frame* arrive(Instant now, std::span<const uint8_t> bytes);
  // A frame to be sent, its reference the caller's.
  Frame* make_frame(std::span<const uint8_t> bytes);
  // What was asked of the device so far, packet by packet, as far as it is done with them.
  const std::vector<Requested>& requested() const { return requested_; }

 private:
  uint32_t link_bytes() const;
  bool finish_one();

  FramePool& pool_;
  std::unique_ptr<RingDevice> device_;
  std::unique_ptr<Port> port_;
  PortInfo info_;
  std::deque<Frame*> in_ring_;
  std::deque<std::vector<uint8_t>> finished_;
  std::vector<Requested> requested_;
};

using WirePort = RingPort;

}  // namespace millrace::test
