// SPDX-License-Identifier: MIT
#include "port/wrap/side_port.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace millrace {
namespace {
// A look at the side is a system call: when the port had nothing, and now and then when it always
// has.
constexpr uint32_t kSkip = 8;
constexpr size_t kBurst = 32;
}  // namespace

std::unique_ptr<SidePort> SidePort::open(std::unique_ptr<Port> inner, FramePool& pool, int fd,
                                         void* side, Read read, SetupError& error) {
  std::unique_ptr<SidePort> port(new (std::nothrow) SidePort(std::move(inner), pool, side, read));
  if (!port) {
    error.set(ENOMEM, "out of memory");
    return nullptr;
  }
  port->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  bool ready = port->epoll_ >= 0;
  for (const int one : {port->inner_->poll_fd(), fd}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (one >= 0 && ready) ready = epoll_ctl(port->epoll_, EPOLL_CTL_ADD, one, &event) == 0;
  }
  if (ready) return port;
  error.set(errno, "cannot make an epoll descriptor: %s", std::strerror(errno));
  return nullptr;
}

PortStats SidePort::stats() const {
  PortStats out = inner_->stats();
  out.rx_frames += frames_;
  out.rx_bytes += bytes_;
  return out;
}

uint32_t SidePort::receive(Instant now, std::span<Frame*> out) {
  if (epoll_ < 0) return 0;
  uint32_t received = inner_->receive(now, out);
  if (received > 0 && ++skipped_ < kSkip) return received;
  skipped_ = 0;
  const auto room = out.subspan(received);
  for (size_t i = 0; i < std::min(room.size(), kBurst); ++i) {
    Frame* frame = pool_.alloc();
    if (!frame) break;
    bool passed_on = false;
    frame->length = read_(side_, {frame->data(), frame->tailroom()}, passed_on);
    if (frame->length == 0) {
      pool_.release(frame);
      break;
    }
    // What a virtual device left undone, whoever got it first has not done either.
    frame->flags |= Frame::kChecksumMayBePartial;
    if (passed_on) frame->flags |= Frame::kPassedOn;
    bytes_ += frame->length;
    ++frames_;
    out[received++] = frame;
  }
  return received;
}

void SidePort::close() {
  if (epoll_ < 0) return;
  ::close(epoll_);
  epoll_ = -1;
  inner_->close();
}

}  // namespace millrace
