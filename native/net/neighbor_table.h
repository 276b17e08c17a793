// SPDX-License-Identifier: MIT
// Link addresses of the hosts and routers on our links, as the kernel tells them, and the packets
// that wait for one (RFC 1122 2.3.2, RFC 4861 7). Nothing is learnt from the wire here: the kernel
// is the only source, so ARP and ND attacks meet its defences and not a second table with fewer.
//
// A neighbour that is not known is asked for at once and then every second; after three seconds
// everything that waits for it has failed. One that was not confirmed lately is used, and the
// kernel asked to confirm it.
#pragma once

#include <cstdint>

#include "base/hash_table.h"
#include "base/list.h"
#include "base/object_pool.h"
#include "base/random.h"
#include "base/result.h"
#include "base/timer_wheel.h"
#include "net/counters.h"
#include "net/tables.h"
#include "packet/frame_pool.h"

namespace millrace::net {

class NeighborResolver;
class NeighborTable;
struct NeighborHashTag;
struct NeighborAgeTag;

struct Neighbor : HashNode<NeighborHashTag>, ListNode<NeighborAgeTag> {
  Neighbor(NeighborTable& table, Timer::Callback callback) : table(table), timer(callback, this) {}
  bool usable() const {
    return state == NeighborState::kReachable || state == NeighborState::kStale;
  }
  NeighborTable& table;
  IpAddress address;
  MacAddress mac{};
  NeighborState state = NeighborState::kNone;
  uint8_t interface = 0;
  uint8_t asked = 0;  // requests since the resolution began
  uint32_t ifindex = 0;
  Instant ask_after{};  // usable: the kernel is asked to confirm with the first packet after this
  Instant asked_last{Duration::seconds(-3600).ns};  // for confirmation
  Instant asked_first{};                            // incomplete: when the resolution began
  Instant failed_until{};                           // failed: refused at once until then
  Instant last_used{};
  Timer timer;  // incomplete: the next request, or the end
  uint32_t waiting_head = UINT32_MAX;
  uint32_t waiting_tail = UINT32_MAX;
  uint32_t waiting_count = 0;
};

// What the table needs of its owner.
class NeighborUser {
 public:
  virtual ~NeighborUser() = default;
  // `frame` begins with its IP header and waited for `neighbor`, which now has a link address. The
  // callee takes a reference of its own if it keeps the frame.
  virtual void neighbor_ready(Instant now, Neighbor& neighbor, Frame* frame) = 0;
  // The frame's destination does not answer.
  virtual void neighbor_failed(Instant now, Frame* frame) = 0;
  // An entry was given to another address: indices kept in paths may be wrong.
  virtual void neighbor_moved() = 0;
};

class NeighborTable {
 public:
  static constexpr Duration kRetry = Duration::seconds(1);
  static constexpr int kRequestsMax = 3;
  static constexpr Duration kReachable = Duration::seconds(30);       // RFC 4861 10: REACHABLE_TIME
  static constexpr Duration kConfirmInterval = Duration::seconds(5);  // DELAY_FIRST_PROBE_TIME
  static constexpr Duration kFailedHold = Duration::seconds(1);

  NeighborTable(FramePool& pool, TimerWheel& timers, Random& random, Counters& counters,
                NeighborUser& user, uint32_t neighbors_max, uint32_t waiting_frames_max);
  ~NeighborTable();

  void set_resolver(NeighborResolver* resolver) { resolver_ = resolver; }
  // Null when the table is full of entries in use.
  Neighbor* find_or_create(Instant now, uint8_t interface, uint32_t ifindex,
                           const IpAddress& address);
  Neighbor& at(uint32_t index) { return *entries_.at(index); }
  uint32_t index_of(const Neighbor& neighbor) const { return entries_.index_of(&neighbor); }
  uint32_t size() const { return entries_.live(); }

  // Whether a packet may wait for a neighbour that is not usable: ENOBUFS, EHOSTUNREACH.
  Error may_wait(Instant now, const Neighbor& neighbor);
  // Queues the frame, after may_wait() said yes, and asks if nobody has yet.
  void wait(Instant now, Neighbor& neighbor, Frame* frame);
  // Asks the kernel to confirm a neighbour that is in use; not again before kConfirmInterval.
  void ask_to_confirm(Instant now, Neighbor& neighbor);
  void confirm(Instant now, Neighbor& neighbor);
  // What the kernel says.
  void update(Instant now, uint8_t interface, uint32_t ifindex, const IpAddress& address,
              const MacAddress& mac, NeighborState state);
  // Forgets everything; waiting frames are released without a word.
  void close();

 private:
  struct Waiting {
    Frame* frame;
    uint32_t next;
  };
  static void on_timer(Timer& timer, void* owner, Instant now);
  uint64_t hash_of(uint8_t interface, const IpAddress& address) const;
  Neighbor* find(uint8_t interface, const IpAddress& address) const;
  bool evict(Instant now);
  bool give_up_one();
  void forget(Neighbor& neighbor);
  void destroy(Neighbor& neighbor);
  void ask(Neighbor& neighbor);
  void learn(Instant now, Neighbor& neighbor, const MacAddress& mac, NeighborState state);
  void fail(Instant now, Neighbor& neighbor);
  // Empties the queue into `each(frame)`, which may queue again.
  template <typename Each>
  void drain(Neighbor& neighbor, Each&& each);

  FramePool& pool_;
  TimerWheel& timers_;
  Counters& counters_;
  NeighborUser& user_;
  NeighborResolver* resolver_ = nullptr;
  SipKey key_;
  uint32_t waiting_frames_max_;
  ObjectPool<Neighbor> entries_;
  HashTable<Neighbor, NeighborHashTag> by_address_;
  List<Neighbor, NeighborAgeTag> by_age_;
  ObjectPool<Waiting> waiting_;
};

}  // namespace millrace::net
