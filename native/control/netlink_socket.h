// SPDX-License-Identifier: MIT
// A netlink socket (netlink(7)) in the network namespace in which it was opened, and the little of
// the wire format that its users share: building a request, walking messages and attributes.
// Nothing here knows what the messages mean.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "base/assert.h"
#include "base/result.h"

namespace millrace::control {

// How often a table is read that changes under its reader.
inline constexpr int kDumpAttempts = 4;

// A request of at most 512 bytes: header, a fixed part, attributes.
class NetlinkRequest {
 public:
  NetlinkRequest(uint16_t type, uint16_t flags) {
    header().nlmsg_len = NLMSG_HDRLEN;
    header().nlmsg_type = type;
    header().nlmsg_flags = uint16_t(flags | NLM_F_REQUEST);
  }
  template <typename T>
  NetlinkRequest& body(const T& value) {
    std::memcpy(reserve(sizeof(T)), &value, sizeof(T));
    return *this;
  }
  NetlinkRequest& attribute(uint16_t type, std::span<const uint8_t> value) {
    const nlattr head{uint16_t(NLA_HDRLEN + value.size()), type};
    uint8_t* at = reserve(NLA_HDRLEN + value.size());
    std::memcpy(at, &head, sizeof(head));
    std::memcpy(at + NLA_HDRLEN, value.data(), value.size());
    return *this;
  }
  nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(bytes_); }

 private:
  uint8_t* reserve(size_t n) {
    const size_t at = header().nlmsg_len;
    MR_ASSERT(at + NLMSG_ALIGN(n) <= sizeof(bytes_));
    header().nlmsg_len += uint32_t(NLMSG_ALIGN(n));
    return bytes_ + at;
  }
  alignas(8) uint8_t bytes_[512] = {};
};

// A received message's fixed part of type T, or null when the message is too short for it.
template <typename T>
const T* message_body(const nlmsghdr& message) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(T))) return nullptr;
  return reinterpret_cast<const T*>(reinterpret_cast<const uint8_t*>(&message) + NLMSG_HDRLEN);
}

// Calls visit(type, value) for each attribute in `bytes`; stops at anything malformed.
template <typename Visit>
void for_each_attribute(std::span<const uint8_t> bytes, Visit&& visit) {
  while (bytes.size() >= NLA_HDRLEN) {
    nlattr head;
    std::memcpy(&head, bytes.data(), sizeof(head));
    if (head.nla_len < NLA_HDRLEN || head.nla_len > bytes.size()) return;
    visit(uint16_t(head.nla_type & NLA_TYPE_MASK),
          bytes.subspan(NLA_HDRLEN, head.nla_len - NLA_HDRLEN));
    const size_t step = NLA_ALIGN(head.nla_len);
    if (step >= bytes.size()) return;
    bytes = bytes.subspan(step);
  }
}

// The attributes behind a fixed part of `body_bytes`.
inline std::span<const uint8_t> message_attributes(const nlmsghdr& message, size_t body_bytes) {
  const size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(body_bytes);
  if (message.nlmsg_len <= at) return {};
  return {reinterpret_cast<const uint8_t*>(&message) + at, message.nlmsg_len - at};
}

// The value of an attribute that should be a T; `otherwise` when it is too short.
template <typename T>
T attribute_as(std::span<const uint8_t> value, T otherwise = T{}) {
  if (value.size() < sizeof(T)) return otherwise;
  T out;
  std::memcpy(&out, value.data(), sizeof(T));
  return out;
}

class NetlinkSocket {
 public:
  NetlinkSocket() = default;
  ~NetlinkSocket() { close(); }
  NetlinkSocket(const NetlinkSocket&) = delete;
  NetlinkSocket& operator=(const NetlinkSocket&) = delete;

  // `protocol`: NETLINK_ROUTE, NETLINK_SOCK_DIAG. `groups`: a mask of multicast groups to follow.
  Error open(int protocol, uint32_t groups);
  void close();
  int fd() const { return fd_; }

  Error send(NetlinkRequest& request);
  // Reads what is there, at most `datagrams_max` datagrams, and calls visit(message) for each
  // message in them. EAGAIN: nothing is left to read; ENOBUFS: messages were lost.
  template <typename Visit>
  Error receive(uint32_t datagrams_max, Visit&& visit) {
    for (uint32_t i = 0; i < datagrams_max; ++i) {
      Result<std::span<const uint8_t>> datagram = read(kDontWait);
      if (!datagram) return datagram.error();
      walk(*datagram, visit);
    }
    return kOk;
  }
  // Sends a dump request and calls visit(message) for each answer, waiting for all of them. EINTR:
  // the tables changed meanwhile and the answers may not agree with each other: ask again.
  template <typename Visit>
  Error dump(NetlinkRequest& request, Visit&& visit) {
    return converse(request, false, visit);
  }
  // The same for a request that one message answers.
  template <typename Visit>
  Error ask(NetlinkRequest& request, Visit&& visit) {
    return converse(request, true, visit);
  }

 private:
  static constexpr int kDontWait = 0x40;  // MSG_DONTWAIT

  template <typename Visit>
  Error converse(NetlinkRequest& request, bool one_answer, Visit&& visit) {
    if (Error error = send(request)) return error;
    const uint32_t sequence = sequence_;
    bool interrupted = false;
    bool done = false;
    Error failure = kOk;
    while (!done) {
      Result<std::span<const uint8_t>> datagram = read(0);
      if (!datagram) return datagram.error();
      walk(*datagram, [&](const nlmsghdr& message) {
        if (message.nlmsg_seq != sequence || done) return;
        interrupted |= (message.nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (message.nlmsg_type == NLMSG_DONE || message.nlmsg_type == NLMSG_ERROR) {
          const int32_t* code = message_body<int32_t>(message);
          if (code && *code < 0) failure = {-*code};
          done = true;
        } else {
          visit(message);
          done = one_answer;
        }
      });
    }
    if (failure) return failure;
    return interrupted ? Error{EINTR} : kOk;
  }

  // One datagram, valid until the next call. EAGAIN, ENOBUFS, ETIMEDOUT.
  Result<std::span<const uint8_t>> read(int flags);

  template <typename Visit>
  static void walk(std::span<const uint8_t> bytes, Visit&& visit) {
    while (bytes.size() >= NLMSG_HDRLEN) {
      const auto& message = *reinterpret_cast<const nlmsghdr*>(bytes.data());
      if (message.nlmsg_len < NLMSG_HDRLEN || message.nlmsg_len > bytes.size()) return;
      visit(message);
      const size_t step = NLMSG_ALIGN(message.nlmsg_len);
      if (step >= bytes.size()) return;
      bytes = bytes.subspan(step);
    }
  }

  int fd_ = -1;
  uint32_t sequence_ = 0;
  std::vector<uint8_t> buffer_;
};

}  // namespace millrace::control
