// SPDX-License-Identifier: MIT
// UDP workloads: echo with a number of datagrams under way, and sending only.
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "load.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

namespace load {
namespace {

constexpr uint32_t kBatch = 64;
constexpr uint32_t kHeadBytes = 16;  // slot and serial number, in front of the pattern
constexpr uint64_t kLostAfterNs =
    250000000;  // an echo that late counts as lost; its slot sends anew

int open_udp(const Settings& settings) {
  const Address peer = resolve(settings.host, settings.port, SOCK_DGRAM);
  const int fd = socket(peer.storage.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int bytes = 8 << 20;
  if (fd < 0) fail("socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes);
  if (connect(fd, peer.raw(), peer.length) != 0) fail("connect");
  return fd;
}

struct Slot {
  uint64_t serial = 0;
  uint64_t sent_ns = 0;
  std::vector<uint8_t> message;
};

/** The closed loop of udp_echo. */
class EchoLoop {
 public:
  EchoLoop(const Settings& settings, int fd)
      : fd_(fd), size_(std::max(settings.size_bytes, kHeadBytes)), slots_(settings.in_flight) {
    for (uint32_t i = 0; i < slots_.size(); ++i) {
      slots_[i].message.resize(size_);
      fill(slots_[i].message.data(), size_, i + 1);
      due_.push_back(i);
    }
    room_.resize(static_cast<size_t>(kBatch) * (size_ + 1));
  }

  void run(uint64_t begin, uint64_t end) {
    uint64_t now = now_ns();
    uint64_t next_check = now + kLostAfterNs;
    while (now < end) {
      send_due(now);
      receive(begin, end);
      now = now_ns();
      if (now >= next_check) {
        find_lost(now, now >= begin);
        next_check = now + kLostAfterNs / 4;
      }
    }
  }

  Histogram latency;
  uint64_t messages = 0;
  uint64_t lost = 0;
  uint64_t wrong = 0;
  uint64_t stale = 0;  // an echo of a datagram that counted as lost, or a duplicate

 private:
  void send_due(uint64_t now) {
    mmsghdr headers[kBatch];
    iovec parts[kBatch];
    while (!due_.empty()) {
      const auto count = static_cast<uint32_t>(std::min<size_t>(due_.size(), kBatch));
      for (uint32_t i = 0; i < count; ++i) {
        const uint32_t index = due_[due_.size() - 1 - i];
        Slot& slot = slots_[index];
        slot.serial = ++serial_;
        slot.sent_ns = now;
        const uint64_t head[2] = {index, slot.serial};
        memcpy(slot.message.data(), head, kHeadBytes);
        parts[i] = {slot.message.data(), size_};
        headers[i] = {};
        headers[i].msg_hdr.msg_iov = &parts[i];
        headers[i].msg_hdr.msg_iovlen = 1;
      }
      const int sent = sendmmsg(fd_, headers, count, 0);
      if (sent < 0 && errno != ECONNREFUSED && errno != EINTR && errno != ENOBUFS) fail("sendmmsg");
      if (sent <= 0) return;
      due_.resize(due_.size() - static_cast<size_t>(sent));
    }
  }

  void receive(uint64_t begin, uint64_t end) {
    mmsghdr headers[kBatch];
    iovec parts[kBatch];
    for (uint32_t i = 0; i < kBatch; ++i) {
      parts[i] = {room_.data() + static_cast<size_t>(i) * (size_ + 1), size_ + 1};
      headers[i] = {};
      headers[i].msg_hdr.msg_iov = &parts[i];
      headers[i].msg_hdr.msg_iovlen = 1;
    }
    int count = recvmmsg(fd_, headers, kBatch, MSG_DONTWAIT, nullptr);
    if (count < 0) {
      pollfd wait{fd_, POLLIN, 0};
      poll(&wait, 1, 20);
      return;
    }
    const uint64_t now = now_ns();
    for (int i = 0; i < count; ++i)
      take(static_cast<const uint8_t*>(parts[i].iov_base), headers[i].msg_len, now, begin, end);
  }

  void take(const uint8_t* bytes, uint32_t length, uint64_t now, uint64_t begin, uint64_t end) {
    uint64_t head[2] = {};
    if (length == size_) memcpy(head, bytes, kHeadBytes);
    if (length != size_ || head[0] >= slots_.size()) {
      ++wrong;
      return;
    }
    Slot& slot = slots_[head[0]];
    if (head[1] != slot.serial || slot.sent_ns == 0) {
      ++stale;
      return;
    }
    if (memcmp(bytes, slot.message.data(), size_) != 0) ++wrong;
    if (now >= begin && now < end) {
      ++messages;
      latency.add(now - slot.sent_ns);
    }
    slot.sent_ns = 0;
    due_.push_back(static_cast<uint32_t>(head[0]));
  }

  void find_lost(uint64_t now, bool counted) {
    for (uint32_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].sent_ns == 0 || now - slots_[i].sent_ns < kLostAfterNs) continue;
      if (counted) ++lost;
      slots_[i].sent_ns = 0;
      due_.push_back(i);
    }
  }

  int fd_;
  uint32_t size_;
  uint64_t serial_ = 0;
  std::vector<Slot> slots_;
  std::vector<uint32_t> due_;
  std::vector<uint8_t> room_;
};

}  // namespace

int udp_echo(const Settings& settings) {
  const int fd = open_udp(settings);
  EchoLoop loop(settings, fd);
  const uint64_t begin = now_ns() + static_cast<uint64_t>(settings.warmup_seconds * 1e9);
  loop.run(begin, begin + static_cast<uint64_t>(settings.seconds * 1e9));
  print_result(loop.latency, loop.messages, settings.seconds,
               ",\"lost\":" + std::to_string(loop.lost) + ",\"stale\":" +
                   std::to_string(loop.stale) + ",\"wrong\":" + std::to_string(loop.wrong));
  return loop.wrong == 0 && loop.messages > 0 ? 0 : 1;
}

int udp_send(const Settings& settings) {
  const int fd = open_udp(settings);
  // One system call for many datagrams of the same size where the kernel can segment (UDP_SEGMENT).
  const int segment = static_cast<int>(settings.size_bytes);
  const uint32_t together = std::min<uint32_t>(60, 60000 / settings.size_bytes);
  std::vector<uint8_t> block(static_cast<size_t>(settings.size_bytes) * together);
  fill(block.data(), static_cast<uint32_t>(block.size()), 1);
  bool segmenting = setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) == 0;
  const uint64_t start = now_ns();
  const uint64_t end =
      start + static_cast<uint64_t>((settings.warmup_seconds + settings.seconds) * 1e9);
  uint64_t sent = 0;
  while (now_ns() < end) {
    const size_t length = segmenting ? block.size() : settings.size_bytes;
    if (send(fd, block.data(), length, 0) == static_cast<ssize_t>(length)) {
      sent += segmenting ? together : 1;
    } else if (segmenting && errno == EIO) {
      const int off = 0;
      setsockopt(fd, SOL_UDP, UDP_SEGMENT, &off, sizeof off);
      segmenting = false;
    }
  }
  const double seconds = static_cast<double>(now_ns() - start) / 1e9;
  printf("{\"messages\":%lu,\"seconds\":%.3f,\"rate\":%.0f,\"segmenting\":%s}\n", sent, seconds,
         static_cast<double>(sent) / seconds, segmenting ? "true" : "false");
  return 0;
}

}  // namespace load
