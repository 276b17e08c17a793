// SPDX-License-Identifier: MIT
#include "steer/frame_exchange.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/close_fd.h"
#include "steer/member_name.h"

namespace millrace::steer {
namespace {

// As much as a receive ring of AF_XDP holds. The kernel counts a frame of 1,514 bytes as 2.3 KB and
// doubles what is asked for; beyond its limit (net.core.wmem_max) takes CAP_NET_ADMIN.
constexpr int kSendBufferBytes = 4 << 20;
// Two senders per member, and some that are on their way out.
constexpr size_t kSendersMax = 4 * MR_MEMBERS_MAX;
constexpr uint32_t kBurst = 64;
constexpr int kBacklog = 128;

constexpr size_t kHeaderBytes = 14, kOriginByte = 6, kHopsByte = 7, kNotesEnd = 12;
constexpr uint8_t kHopsMax = MR_MEMBERS_MAX + 8;

int open_socket() {
  return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

bool watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

// --- receiving

FrameInbox::FrameInbox(int listener, int epoll) : listener_(listener), epoll_(epoll) {
  senders_.reserve(kSendersMax);
}

std::unique_ptr<FrameInbox> FrameInbox::open(uint32_t ifindex, uint8_t member) {
  int listener = open_socket();
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  const MemberName name = frames_name(ifindex, member);
  if (listener >= 0 && epoll >= 0 && bind(listener, name.get(), name.bytes) == 0 &&
      listen(listener, kBacklog) == 0 && watch(epoll, listener)) {
    auto* inbox = new (std::nothrow) FrameInbox(listener, epoll);
    if (inbox) return std::unique_ptr<FrameInbox>(inbox);
    errno = ENOMEM;
  }
  const int code = errno;
  close_fd(listener);
  close_fd(epoll);
  errno = code;
  return nullptr;
}

FrameInbox::~FrameInbox() {
  for (int fd : senders_) ::close(fd);
  close_fd(listener_);
  close_fd(epoll_);
}

void FrameInbox::take_sender() {
  int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  ucred sender{};
  socklen_t bytes = sizeof(sender);
  const bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &sender, &bytes) == 0;
  if (known && is_trusted(sender.uid) && senders_.size() < kSendersMax && watch(epoll_, fd)) {
    senders_.push_back(fd);
  } else {
    ::close(fd);
  }
}

void FrameInbox::drop_sender(int fd) {
  std::erase(senders_, fd);
  ::close(fd);
}

// The kernel goes round those who have something.
bool FrameInbox::next_sender() {
  for (size_t i = 0; i < kSendersMax; ++i) {
    epoll_event event;
    if (epoll_wait(epoll_, &event, 1, 0) != 1) return false;
    if (event.data.fd != listener_) {
      current_ = event.data.fd;
      burst_ = 0;
      return true;
    }
    take_sender();
  }
  return false;
}

uint32_t FrameInbox::receive(std::span<uint8_t> out, bool& passed_on) {
  for (;;) {
    if (current_ < 0 && !next_sender()) return 0;
    const ssize_t n = recv(current_, out.data(), out.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
      current_ = -1;
      continue;
    }
    if (n < ssize_t(kHeaderBytes) || n > ssize_t(out.size())) {  // gone, or no stack of ours
      drop_sender(current_);
      current_ = -1;
      continue;
    }
    if (++burst_ == kBurst) current_ = -1;
    passed_on = hop_origin(out.first(size_t(n))) != 0;
    return uint32_t(n);
  }
}

// --- sending

FrameOutbox::~FrameOutbox() {
  for (int& fd : to_) close_fd(fd);
  close_fd(spare_);
}

Error FrameOutbox::connect(uint8_t member) {
  if (spare_ < 0) {
    spare_ = open_socket();
    if (spare_ < 0) return {errno};
    const int bytes = kSendBufferBytes;
    if (setsockopt(spare_, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) != 0) {
      static_cast<void>(setsockopt(spare_, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)));
    }
  }
  const MemberName name = frames_name(ifindex_, member);
  if (::connect(spare_, name.get(), name.bytes) != 0) return {errno};
  to_[member] = spare_;
  spare_ = -1;
  return kOk;
}

Error FrameOutbox::send(uint8_t member, std::span<const uint8_t> frame) {
  if (member == 0 || member > MR_MEMBERS_MAX) return {ECONNREFUSED};
  // Whom we knew may have gone, and another one have its number.
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (to_[member] < 0) {
      if (const Error error = connect(member)) return error;
    }
    if (::send(to_[member], frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
      return kOk;
    }
    if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM || errno == EMSGSIZE) {
      return {EAGAIN};
    }
    close_fd(to_[member]);
  }
  return {ECONNREFUSED};
}

// --- notes

bool note_hop(std::span<uint8_t> frame, uint8_t member) {
  if (frame.size() < kHeaderBytes || frame[kHopsByte] >= kHopsMax) return false;
  if (frame[kOriginByte] == 0) frame[kOriginByte] = member;
  ++frame[kHopsByte];
  return true;
}

uint8_t hop_origin(std::span<const uint8_t> frame) {
  return frame.size() < kHeaderBytes ? 0 : frame[kOriginByte];
}

void clear_hops(std::span<uint8_t> frame) {
  if (frame.size() < kHeaderBytes) return;
  std::fill(frame.begin() + kOriginByte, frame.begin() + kNotesEnd, uint8_t(0));
}

}  // namespace millrace::steer
