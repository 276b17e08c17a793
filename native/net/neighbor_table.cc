// SPDX-License-Identifier: MIT
#include "net/neighbor_table.h"

#include <algorithm>
#include <cstring>

#include "net/ip_layer.h"

namespace millrace::net {

namespace {

constexpr uint32_t kNone = UINT32_MAX;
// Frames waiting for all neighbours together, as a multiple of what may wait for one: a scan of a
// subnet must not take the whole frame pool.
constexpr uint32_t kWaitingNeighbors = 16;
// One neighbour's share of what is left of them: however many do not answer, the next one finds
// room.
constexpr uint32_t kWaitingShare = 8;
constexpr int kEvictTries = 32;
constexpr Duration kInUse = Duration::seconds(1);

bool is_unicast(const MacAddress& mac) {
  return (mac[0] & 1) == 0 && mac != MacAddress{};
}

}  // namespace

NeighborTable::NeighborTable(FramePool& pool, TimerWheel& timers, Random& random,
                             Counters& counters, NeighborUser& user, uint32_t neighbors_max,
                             uint32_t waiting_frames_max)
    : pool_(pool),
      timers_(timers),
      counters_(counters),
      user_(user),
      key_(random.sip_key()),
      waiting_frames_max_(waiting_frames_max),
      entries_(neighbors_max),
      by_address_(neighbors_max),
      waiting_(waiting_frames_max * kWaitingNeighbors) {}

NeighborTable::~NeighborTable() {
  close();
}

uint64_t NeighborTable::hash_of(uint8_t interface, const IpAddress& address) const {
  uint8_t bytes[17];
  std::memcpy(bytes, address.data(), 16);
  bytes[16] = interface;
  return SipHash::hash(key_, bytes);
}

Neighbor* NeighborTable::find(uint8_t interface, const IpAddress& address) const {
  return by_address_.find(hash_of(interface, address), [&](const Neighbor& n) {
    return n.interface == interface && n.address == address;
  });
}

Neighbor* NeighborTable::find_or_create(Instant now, uint8_t interface, uint32_t ifindex,
                                        const IpAddress& address) {
  if (Neighbor* known = find(interface, address)) return known;
  if (entries_.full() && !evict(now)) {
    ++counters_.neighbor_table_full;
    return nullptr;
  }
  Neighbor* neighbor = entries_.create(*this, &NeighborTable::on_timer);
  neighbor->address = address;
  neighbor->interface = interface;
  neighbor->ifindex = ifindex;
  by_address_.insert(neighbor, hash_of(interface, address));
  by_age_.push_back(neighbor);
  return neighbor;
}

template <typename Each>
void NeighborTable::drain(Neighbor& neighbor, Each&& each) {
  uint32_t index = neighbor.waiting_head;
  neighbor.waiting_head = neighbor.waiting_tail = kNone;
  neighbor.waiting_count = 0;
  while (index != kNone) {
    Waiting* entry = waiting_.at(index);
    Frame* frame = entry->frame;
    index = entry->next;
    waiting_.destroy(entry);
    each(frame);
    --frame->tx_pending;
    pool_.release(frame);
  }
}

// Second chance: whoever was used lately or has packets waiting goes to the end of the line. If
// there is nobody else, packets for somebody who has not answered are given up: a storm of
// addresses that nobody has must not shut out the next peer.
bool NeighborTable::evict(Instant now) {
  Neighbor* unanswered = nullptr;
  for (int i = 0; i < kEvictTries; ++i) {
    Neighbor* oldest = by_age_.pop_front();
    if (!oldest) return false;
    by_age_.push_back(oldest);
    const bool in_use = oldest->usable() && now - oldest->last_used < kInUse;
    if (oldest->waiting_count > 0 && !unanswered) unanswered = oldest;
    if (in_use || oldest->waiting_count > 0) continue;
    forget(*oldest);
    return true;
  }
  if (!unanswered) return false;
  drain(*unanswered, [](Frame*) {});
  forget(*unanswered);
  return true;
}

void NeighborTable::forget(Neighbor& neighbor) {
  destroy(neighbor);
  ++counters_.neighbor_evicted;
  user_.neighbor_moved();
}

void NeighborTable::destroy(Neighbor& neighbor) {
  timers_.cancel(neighbor.timer);
  by_address_.remove(&neighbor);
  static_cast<ListNode<NeighborAgeTag>&>(neighbor).unlink();
  entries_.destroy(&neighbor);
}

Error NeighborTable::may_wait(Instant now, const Neighbor& neighbor) {
  if (neighbor.state == NeighborState::kFailed && now < neighbor.failed_until) {
    ++counters_.neighbor_unreachable;
    return Error{EHOSTUNREACH};
  }
  const uint32_t share = (waiting_.capacity() - waiting_.live()) / kWaitingShare;
  const uint32_t limit = std::min(waiting_frames_max_, std::max(1u, share));
  if (neighbor.waiting_count < limit && (!waiting_.full() || give_up_one())) return kOk;
  ++counters_.neighbor_queue_full;
  return Error{ENOBUFS};
}

// Makes room by giving up what waits for somebody who was asked long ago.
bool NeighborTable::give_up_one() {
  for (int i = 0; i < kEvictTries; ++i) {
    Neighbor* oldest = by_age_.pop_front();
    if (!oldest) return false;
    by_age_.push_back(oldest);
    if (oldest->waiting_count == 0) continue;
    counters_.neighbor_queue_full += oldest->waiting_count;
    drain(*oldest, [](Frame*) {});
    return true;
  }
  return false;
}

void NeighborTable::wait(Instant now, Neighbor& neighbor, Frame* frame) {
  Waiting* entry = waiting_.create(Waiting{frame, kNone});
  MR_ASSERT(entry);
  pool_.retain(frame);
  ++frame->tx_pending;
  ++counters_.neighbor_waiting;
  const uint32_t index = waiting_.index_of(entry);
  if (neighbor.waiting_tail == kNone) {
    neighbor.waiting_head = index;
  } else {
    waiting_.at(neighbor.waiting_tail)->next = index;
  }
  neighbor.waiting_tail = index;
  ++neighbor.waiting_count;
  if (neighbor.state == NeighborState::kIncomplete) return;
  neighbor.state = NeighborState::kIncomplete;
  neighbor.asked = 1;
  neighbor.asked_first = now;
  timers_.arm(neighbor.timer, now + kRetry);
  ask(neighbor);  // last: the answer may come from within
}

void NeighborTable::ask(Neighbor& neighbor) {
  ++counters_.neighbor_asked;
  if (resolver_) resolver_->resolve(neighbor.ifindex, neighbor.address);
}

void NeighborTable::ask_to_confirm(Instant now, Neighbor& neighbor) {
  neighbor.asked_last = now;
  neighbor.ask_after = now + kConfirmInterval;
  ask(neighbor);
}

void NeighborTable::confirm(Instant now, Neighbor& neighbor) {
  if (!neighbor.usable()) return;
  neighbor.state = NeighborState::kReachable;
  neighbor.ask_after = now + kReachable;
}

void NeighborTable::on_timer(Timer&, void* owner, Instant now) {
  Neighbor& neighbor = *static_cast<Neighbor*>(owner);
  NeighborTable& table = neighbor.table;
  if (neighbor.asked >= kRequestsMax) return table.fail(now, neighbor);
  ++neighbor.asked;
  table.timers_.arm(neighbor.timer, now + kRetry);
  table.ask(neighbor);
}

void NeighborTable::fail(Instant now, Neighbor& neighbor) {
  timers_.cancel(neighbor.timer);
  neighbor.state = NeighborState::kFailed;
  neighbor.failed_until = now + kFailedHold;
  ++counters_.neighbor_failed;
  // What the transports do about it may call send(), which meets the failed state and is refused.
  drain(neighbor, [&](Frame* frame) {
    ++counters_.neighbor_unreachable;
    user_.neighbor_failed(now, frame);
  });
}

void NeighborTable::learn(Instant now, Neighbor& neighbor, const MacAddress& mac,
                          NeighborState state) {
  timers_.cancel(neighbor.timer);
  neighbor.mac = mac;
  neighbor.state = state;
  neighbor.ask_after = state == NeighborState::kReachable
                           ? now + kReachable
                           : std::max(now, neighbor.asked_last + kConfirmInterval);
  drain(neighbor, [&](Frame* frame) { user_.neighbor_ready(now, neighbor, frame); });
}

void NeighborTable::update(Instant now, uint8_t interface, uint32_t ifindex,
                           const IpAddress& address, const MacAddress& mac, NeighborState state) {
  if (state == NeighborState::kReachable || state == NeighborState::kStale) {
    if (!is_unicast(mac)) return;
    if (Neighbor* neighbor = find_or_create(now, interface, ifindex, address)) {
      learn(now, *neighbor, mac, state);
    }
    return;
  }
  Neighbor* neighbor = find(interface, address);
  if (!neighbor) return;
  if (neighbor->state == NeighborState::kIncomplete) {
    // The kernel needs three seconds to give up. An earlier "failed" is the answer to an older
    // question than ours.
    if (state == NeighborState::kFailed && now - neighbor->asked_first >= kRetry) {
      fail(now, *neighbor);
    }
    return;
  }
  if (neighbor->usable()) neighbor->state = NeighborState::kNone;  // asked for with the next packet
}

void NeighborTable::close() {
  while (Neighbor* neighbor = by_age_.front()) {
    drain(*neighbor, [](Frame*) {});
    destroy(*neighbor);
  }
}

}  // namespace millrace::net
