// SPDX-License-Identifier: MIT
// How packets get from one stack to another that shares its interface: a connected Unix socket from
// each sender to each receiver, one frame to a message. (A datagram socket would hold ten of them
// and lose the rest.) What does not fit into a sender's buffer is lost, as on a wire; a receiver
// that has gone is noticed by the next send.
//
// Notes travel in a frame's source address, which is of no use to the stacks: who began to pass it
// on, and how often it was passed on. All 0: it comes from the wire.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "steer/xdp_abi.h"

namespace millrace::steer {

class FrameInbox {
 public:
  // Claims the member's name for packets. Null, and errno says why.
  static std::unique_ptr<FrameInbox> open(uint32_t ifindex, uint8_t member);
  ~FrameInbox();
  FrameInbox(const FrameInbox&) = delete;
  FrameInbox& operator=(const FrameInbox&) = delete;

  // Readable when receive() has something to do.
  int poll_fd() const { return epoll_; }
  // One frame into `out`: its bytes, or 0: there is none. What is longer than `out`, and whoever is
  // neither this user nor root, is shut out. `passed_on`: another stack has seen it already.
  uint32_t receive(std::span<uint8_t> out, bool& passed_on);

 private:
  FrameInbox(int listener, int epoll);
  bool next_sender();
  void take_sender();
  void drop_sender(int fd);

  int listener_;
  int epoll_;
  int current_ = -1;    // whose frames are read
  uint32_t burst_ = 0;  // of them, one after another
  std::vector<int> senders_;
};

// For one thread.
class FrameOutbox {
 public:
  explicit FrameOutbox(uint32_t ifindex) : ifindex_(ifindex) { to_.fill(-1); }
  ~FrameOutbox();
  FrameOutbox(const FrameOutbox&) = delete;
  FrameOutbox& operator=(const FrameOutbox&) = delete;

  // ECONNREFUSED: there is no such member (any more); EAGAIN: too many wait there.
  Error send(uint8_t member, std::span<const uint8_t> frame);

 private:
  Error connect(uint8_t member);

  uint32_t ifindex_;
  int spare_ = -1;  // a socket for the next one to be connected to
  std::array<int, MR_MEMBERS_MAX + 1> to_;
};

// Notes in a frame that is passed on by `member`; false: it has been round often enough.
bool note_hop(std::span<uint8_t> frame, uint8_t member);
// Who began to pass it on; 0: nobody did.
uint8_t hop_origin(std::span<const uint8_t> frame);
// As if it came from the wire.
void clear_hops(std::span<uint8_t> frame);

}  // namespace millrace::steer
