// SPDX-License-Identifier: MIT
#include "port/wrap/exception_port.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

namespace millrace {
namespace {
// Of the kernel's frames at one look: ours are waiting too.
constexpr uint32_t kFromKernel = 32;
// Looks that bring nothing but the kernel's frames, before the turn ends all the same.
constexpr uint32_t kInVain = 16;
}  // namespace

ExceptionPort::ExceptionPort(std::unique_ptr<Port> inner, FramePool& pool, Judge judge,
                             std::unique_ptr<TapDevice> tap, bool answers)
    : inner_(std::move(inner)),
      pool_(pool),
      judge_(std::move(judge)),
      tap_(std::move(tap)),
      answers_(answers),
      info_(inner_->info()) {
  mode_ = std::string(info_.mode) + ", the kernel's by tap " + tap_->name();
  info_.mode = mode_.c_str();
}

std::unique_ptr<ExceptionPort> ExceptionPort::open(std::unique_ptr<Port> inner, FramePool& pool,
                                                   Judge judge, std::unique_ptr<TapDevice> tap,
                                                   bool answers, SetupError& error) {
  std::unique_ptr<ExceptionPort> port(new (std::nothrow) ExceptionPort(
      std::move(inner), pool, std::move(judge), std::move(tap), answers));
  if (!port) {
    error.set(ENOMEM, "out of memory");
    return nullptr;
  }
  port->epoll_ = epoll_create1(EPOLL_CLOEXEC);
  bool ready = port->epoll_ >= 0;
  for (const int fd : {port->inner_->poll_fd(), port->tap_->fd()}) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (fd >= 0 && ready) ready = epoll_ctl(port->epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
  }
  if (ready) return port;
  error.set(errno, "cannot make an epoll descriptor: %s", std::strerror(errno));
  return nullptr;
}

PortStats ExceptionPort::stats() const {
  PortStats out = inner_->stats();
  out.rx_dropped += dropped_;
  return out;
}

uint32_t ExceptionPort::receive(Instant now, std::span<Frame*> out) {
  if (epoll_ < 0) return 0;
  take_from_kernel(now);
  const uint32_t n = inner_->receive(now, out);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < n; ++i) {
    Frame* frame = out[i];
    if (judge_(frame->bytes())) {
      out[kept++] = frame;
      continue;
    }
    if (!tap_->write(frame->bytes())) ++dropped_;
    pool_.release(frame);
  }
  // The kernel's interface goes with the device, as it does when the kernel drives a card itself:
  // its routes with it, so that nobody waits for answers.
  if (inner_->gone()) tap_->close();
  in_vain_ = n > 0 && kept == 0 ? in_vain_ + 1 : 0;
  if (in_vain_ >= kInVain) {
    in_vain_ = 0;
    pause_ = true;
  }
  return kept;
}

// A flood of the kernel's frames must not keep a turn from ending: it gets one "no" now and then.
bool ExceptionPort::rx_ready() const {
  if (!pause_) return inner_->rx_ready();
  pause_ = false;
  return false;
}

void ExceptionPort::take_from_kernel(Instant now) {
  for (uint32_t i = 0; i < kFromKernel; ++i) {
    Frame* frame = pool_.alloc();
    if (!frame) return;
    frame->length = uint32_t(tap_->read({frame->data(), frame->tailroom()}));
    const bool any = frame->length > 0;
    // What the device cannot take now is lost, as on any wire.
    if (any && answers_) inner_->transmit(now, {&frame, 1});
    pool_.release(frame);
    if (!any) return;
  }
}

void ExceptionPort::close() {
  if (epoll_ < 0) return;
  ::close(epoll_);
  epoll_ = -1;
  inner_->close();
  tap_->close();
}

}  // namespace millrace
