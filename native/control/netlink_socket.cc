// SPDX-License-Identifier: MIT
#include "control/netlink_socket.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/close_fd.h"

namespace millrace::control {
namespace {

constexpr size_t kDatagramBytes = 64 * 1024;  // the kernel fills at most 32 KiB
constexpr int kReceiveBufferBytes = 2 << 20;  // room for bursts of events
constexpr timeval kAnswerTimeout = {5, 0};    // the kernel answers at once; this is against hanging

}  // namespace

Error NetlinkSocket::open(int protocol, uint32_t groups) {
  close();
  fd_ = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd_ < 0) return {errno};
  // Past its limit only with CAP_NET_ADMIN; without, the smaller buffer does.
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBufferBytes, sizeof(int)) != 0) {
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes, sizeof(int));
  }
  setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &kAnswerTimeout, sizeof(kAnswerTimeout));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = groups;
  if (bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    const int code = errno;
    close();
    return {code};
  }
  buffer_.resize(kDatagramBytes);
  return kOk;
}

void NetlinkSocket::close() {
  close_fd(fd_);
}

Error NetlinkSocket::send(NetlinkRequest& request) {
  request.header().nlmsg_seq = ++sequence_;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const nlmsghdr& message = request.header();
  const ssize_t n = sendto(fd_, &message, message.nlmsg_len, MSG_DONTWAIT,
                           reinterpret_cast<sockaddr*>(&kernel), sizeof(kernel));
  return n < 0 ? Error{errno} : kOk;
}

Result<std::span<const uint8_t>> NetlinkSocket::read(int flags) {
  for (;;) {
    sockaddr_nl from{};
    socklen_t from_bytes = sizeof(from);
    const ssize_t n = recvfrom(fd_, buffer_.data(), buffer_.size(), flags,
                               reinterpret_cast<sockaddr*>(&from), &from_bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error{errno == EAGAIN && flags == 0 ? ETIMEDOUT : errno};
    if (from.nl_pid != 0) continue;  // anybody may send here; only the kernel is believed
    return std::span<const uint8_t>(buffer_.data(), size_t(n));
  }
}

}  // namespace millrace::control
