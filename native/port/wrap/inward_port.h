// SPDX-License-Identifier: MIT
// Around a device that leads back to the stack which sends by it (DPDK's net_ring): what crosses it
// are IP packets without a link header, as with the loopback port, since there is no neighbour and
// no link address to name.
#pragma once

#include <memory>
#include <utility>

#include "port/port.h"

namespace millrace {

class InwardPort final : public Port {
 public:
  explicit InwardPort(std::unique_ptr<Port> inner)
      : inner_(std::move(inner)), info_(inner_->info()) {
    info_.link = LinkType::kIp;
  }

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override { return inner_->stats(); }
  uint32_t receive(Instant now, std::span<Frame*> out) override {
    return inner_->receive(now, out);
  }
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override {
    return inner_->transmit(now, frames);
  }
  void flush(Instant now) override { inner_->flush(now); }
  int poll_fd() const override { return inner_->poll_fd(); }
  Instant next_event() const override { return inner_->next_event(); }
  bool rx_ready() const override { return inner_->rx_ready(); }
  bool gone() const override { return inner_->gone(); }
  void close() override { inner_->close(); }

 private:
  std::unique_ptr<Port> inner_;
  PortInfo info_;
};

}  // namespace millrace
