// SPDX-License-Identifier: MIT
// Around any port of which other stacks have a part: frames that came to one of them and are ours
// arrive by a descriptor beside the port's own (see steer/sharing.h, which this does not know).
#pragma once

#include <memory>

#include "base/setup_error.h"
#include "port/port.h"

namespace millrace {

class SidePort final : public Port {
 public:
  // One frame from `side` into the memory; its bytes, 0: nothing is there. `passed_on`: another
  // stack has seen it already.
  using Read = uint32_t (*)(void* side, std::span<uint8_t> out, bool& passed_on);

  // `fd` is readable when `side` has something; both stay the caller's. Null: `error` says why.
  static std::unique_ptr<SidePort> open(std::unique_ptr<Port> inner, FramePool& pool, int fd,
                                        void* side, Read read, SetupError& error);
  ~SidePort() override { close(); }

  const PortInfo& info() const override { return inner_->info(); }
  PortStats stats() const override;
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override {
    return inner_->transmit(now, frames);
  }
  void flush(Instant now) override { inner_->flush(now); }
  int poll_fd() const override { return epoll_; }
  Instant next_event() const override { return inner_->next_event(); }
  bool rx_ready() const override { return inner_->rx_ready(); }
  void close() override;

 private:
  SidePort(std::unique_ptr<Port> inner, FramePool& pool, void* side, Read read)
      : inner_(std::move(inner)), pool_(pool), side_(side), read_(read) {}

  std::unique_ptr<Port> inner_;
  FramePool& pool_;
  void* side_;
  Read read_;
  int epoll_ = -1;
  uint32_t skipped_ = 0;  // looks in a row that left the side out
  uint64_t frames_ = 0, bytes_ = 0;
};

}  // namespace millrace
