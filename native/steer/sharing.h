// SPDX-License-Identifier: MIT
// Several stacks on one interface: worker threads, the processes of a cluster, programs that know
// nothing of each other. An interface takes one XDP program, so whoever comes first attaches it and
// every other one gets the descriptors of the link and the maps, by which the program lives until
// the last of them has gone. Nothing is pinned and nobody is in charge: each member answers for as
// long as it lives.
//
// A member is a number from 1, claimed by binding a datagram socket to a name (member_name.h).
// Through that socket, from a thread of its own (a program may be busy for seconds), it hands out
// the descriptors; by frame_exchange.h, which the port reads, it gets packets that came by another
// member's queue. Only processes of the same user, and root's, are listened to: the kernel tells
// whose each datagram is.
//
// While others are there the thread looks after them once a second: what one has left that was
// killed is swept away by whoever notices first, under the dead one's number.
#pragma once

#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <thread>

#include "base/result.h"
#include "base/setup_error.h"
#include "base/time.h"
#include "steer/frame_exchange.h"
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

  // Told from the thread of the sharing.
  class Observer {
   public:
    virtual ~Observer() = default;
    // Somebody begins to share the interface, and wants so many queues; 0: all.
    virtual void newcomer(uint32_t wanted) = 0;
    // A second after the last newcomer, and every second while there are others.
    virtual void look_round() = 0;
  };

  // Null, and `error` says why: EBUSY when all numbers are taken. `queues_wanted` is what others
  // are told; 0: all.
  static std::unique_ptr<Sharing> claim(uint32_t ifindex, uint32_t queues_wanted,
                                        SetupError& error);
  ~Sharing() { close(); }
  Sharing(const Sharing&) = delete;
  Sharing& operator=(const Sharing&) = delete;

  uint8_t member() const { return member_; }
  // Asks the others. Of several that begin at the same time the one with the lowest number is told
  // to attach, and the rest wait for it, at most `patience`.
  Found find(Handout& out, Duration patience, SetupError& error);
  // From now on others get this. The descriptors must stay open until close(). `observer` is told
  // from now on until close().
  void serve(const Handout& handout, Observer& observer);
  // Tells the others that a newcomer still wants queues.
  void ask_for_queues() const;
  // look_round() will be called, in a second, though nobody else is there.
  void look_round_soon();
  bool anyone_else() const;
  // Is there a member of this number at this moment?
  bool is_alive(uint8_t member) const;
  // Of those alive it has the lowest number.
  bool is_first() const;
  // Calls `sweep` while the number of one that has gone is taken, so that nobody begins with it
  // meanwhile. False: it is not to be had.
  template <typename Sweep>
  bool bury(uint8_t member, Sweep&& sweep) const {
    const int name = take_name(member);
    if (name < 0) return false;
    sweep();
    give_name(name);
    return true;
  }
  // The inbox lives on: a port may look into it until this is destroyed.
  void close();

  uint32_t ifindex() const { return ifindex_; }
  // Packets from members.
  FrameInbox& inbox() { return *inbox_; }
  // Sends an Ethernet frame to a member. ECONNREFUSED: there is no such member any more; EAGAIN: it
  // has too many waiting. For one thread.
  Error send(uint8_t member, std::span<const uint8_t> frame) { return outbox_.send(member, frame); }

 private:
  enum class Kind : uint32_t { kHello = 1, kHandout, kStarting, kRefused };
  struct Message;
  struct Received;

  Sharing(uint32_t ifindex, uint32_t queues_wanted, uint8_t member, int control,
          std::unique_ptr<FrameInbox> inbox)
      : ifindex_(ifindex),
        queues_wanted_(queues_wanted),
        member_(member),
        control_(control),
        inbox_(std::move(inbox)),
        outbox_(ifindex) {}
  Error say(uint8_t member, Kind kind) const;
  bool receive(Received& out, int flags) const;
  static void take_descriptors(const cmsghdr& message, Received& out);
  void answer(const Received& question) const;
  int take_name(uint8_t member) const;
  void give_name(int name) const;
  void take_in(Received& got);
  void run();

  uint32_t ifindex_;
  uint32_t queues_wanted_;
  uint8_t member_;
  int control_;
  std::unique_ptr<FrameInbox> inbox_;
  FrameOutbox outbox_;
  bool serving_ = false;
  Handout handout_{};
  Observer* observer_ = nullptr;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> look_round_soon_{false};
  Instant next_look_ = Instant::never();  // the thread's
  std::thread thread_;
};

}  // namespace millrace::steer
