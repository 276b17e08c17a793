// SPDX-License-Identifier: MIT
// The exception path, around any port that receives more than is ours: what the judge does not take
// goes to the kernel by a tap interface, and, where that interface is the kernel's only way to the
// device, what the kernel sends by it goes out through the port.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "port/port.h"
#include "port/wrap/tap_device.h"

namespace millrace {

class ExceptionPort final : public Port {
 public:
  // True: the frame is ours.
  using Judge = std::function<bool(std::span<const uint8_t> frame)>;

  // `answers`: the tap is the kernel's interface on this device. Null: `error` says why.
  static std::unique_ptr<ExceptionPort> open(std::unique_ptr<Port> inner, FramePool& pool,
                                             Judge judge, std::unique_ptr<TapDevice> tap,
                                             bool answers, SetupError& error);
  ~ExceptionPort() override { close(); }

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override;
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override {
    return inner_->transmit(now, frames);
  }
  void flush(Instant now) override { inner_->flush(now); }
  int poll_fd() const override { return epoll_; }
  Instant next_event() const override { return inner_->next_event(); }
  bool rx_ready() const override;
  bool gone() const override { return inner_->gone(); }
  void close() override;

 private:
  ExceptionPort(std::unique_ptr<Port> inner, FramePool& pool, Judge judge,
                std::unique_ptr<TapDevice> tap, bool answers);
  void take_from_kernel(Instant now);

  std::unique_ptr<Port> inner_;
  FramePool& pool_;
  Judge judge_;
  std::unique_ptr<TapDevice> tap_;
  bool answers_;
  uint32_t in_vain_ = 0;        // looks in a row that brought only the kernel's frames
  mutable bool pause_ = false;  // others are to have their turn
  int epoll_ = -1;
  uint64_t dropped_ = 0;  // on the way to the kernel
  std::string mode_;
  PortInfo info_;
};

}  // namespace millrace
