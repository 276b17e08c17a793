// SPDX-License-Identifier: MIT
// Several stacks on one interface: worker threads, the processes of a cluster, programs that know
// nothing of each other. An interface takes one XDP program, so whoever comes first attaches it and
// every other one gets the descriptors of the link and the maps, by which the program lives until
// the last of them has gone. Nothing is pinned and nobody is in charge: each member answers for as
// long as it lives.
//
// A member is a number from 1, claimed by binding a datagram socket to a name of the abstract Unix
// namespace, which is the network namespace's own and forgets a name when the process dies. Through
// that socket, from a thread of its own (a program may be busy for seconds), it hands out the
// descriptors; through a second one, which the port reads, it gets packets that came by another
// member's queue. Only processes of the same user, and root's, are listened to: the kernel tells
// whose each datagram is.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>

#include "base/result.h"
#include "base/setup_error.h"
#include "base/time.h"
#include "steer/xdp_program_code.h"

namespace millrace::steer {

class Sharing {
 public:
  // What makes a member: the maps in the order of XdpMap, and the link.
  struct Handout {
    std::array<int, kXdpMaps + 1> descriptors;
    bool native = false;
    int link() const { return descriptors[kXdpMaps]; }
  };
  enum class Found : uint8_t {
    kOthers,  // the handout is the caller's
    kNobody,  // it is the caller's turn to attach the program
    kFailed,  // and `error` says why
  };

  // Null, and `error` says why: EBUSY when all numbers are taken.
  static std::unique_ptr<Sharing> claim(uint32_t ifindex, SetupError& error);
  ~Sharing() { close(); }
  Sharing(const Sharing&) = delete;
  Sharing& operator=(const Sharing&) = delete;

  uint8_t member() const { return member_; }
  // Asks the others. Of several that begin at the same time the one with the lowest number is told
  // to attach, and the rest wait for it, at most `patience`.
  Found find(Handout& out, Duration patience, SetupError& error);
  // From now on others get this. The descriptors must stay open until close().
  void serve(const Handout& handout);
  bool anyone_else() const;
  void close();

  // Packets from members: a descriptor to poll, and what has come, an Ethernet frame. EAGAIN.
  int frames_fd() const { return frames_; }
  // Sends an Ethernet frame to a member. ECONNREFUSED: there is no such member any more; EAGAIN: it
  // has too many waiting.
  Error send(uint8_t member, std::span<const uint8_t> frame) const;

 private:
  enum class Kind : uint32_t { kHello = 1, kHandout, kStarting, kRefused };
  struct Message;
  struct Received;

  Sharing(uint32_t ifindex, uint8_t member, int control, int frames)
      : ifindex_(ifindex), member_(member), control_(control), frames_(frames) {}
  Error say(uint8_t member, Kind kind) const;
  bool receive(Received& out, int flags) const;
  void answer(const Received& question) const;
  void run();

  uint32_t ifindex_;
  uint8_t member_;
  int control_;
  int frames_;
  bool serving_ = false;
  Handout handout_{};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

// One frame from another member into `out`. The bytes received, or 0: nothing is there. What did
// not come from this user or from root is thrown away.
uint32_t receive_shared_frame(int frames_fd, std::span<uint8_t> out);

}  // namespace millrace::steer
