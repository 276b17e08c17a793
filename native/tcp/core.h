// SPDX-License-Identifier: MIT
// What every part of TCP shares: the layers below, the options, the pools and the tables. One per
// Tcp.
#pragma once

#include <array>

#include "base/object_pool.h"
#include "base/random.h"
#include "base/tag_table.h"
#include "net/ip_layer.h"
#include "tcp/connection.h"
#include "tcp/segment.h"
#include "tcp/syn_cookies.h"
#include "tcp/tcp.h"

namespace millrace::tcp {

// A segment of a burst, between the two passes of input_burst().
struct Arrival {
  Segment segment;
  wire::FlowKey key;
  uint64_t hash = 0;  // of `key`
};

struct Core {
  Core(FramePool& pool, net::IpLayer& ip, TimerWheel& wheel, Random& random, Handler& handler,
       const StackOptions& options);
  ~Core();

  FramePool& pool;
  net::IpLayer& ip;
  TimerWheel& wheel;
  Random& random;
  Handler& handler;
  StackOptions options;
  Counters counters;
  SipKey flow_key;   // hash table of flows: not to be steered from the wire
  SipKey isn_key;    // RFC 6528
  SipKey clock_key;  // offsets of the timestamp clocks
  SynCookies cookies;
  ObjectPool<Connection> connections;
  ObjectPool<Listener> listeners;
  ObjectPool<HalfOpen> half_opens;
  TagTable<FlowNode> flows;
  HashTable<Listener, PortTag> ports;
  List<FlowNode, AllTag> all;
  List<Listener, AllTag> all_listeners;
  List<Connection, QueueTag> time_waits;  // oldest first
  List<Connection, HeldTag> held_acks;    // see StackOptions::hold_acks
  std::array<Arrival, net::kBurstMax> arrivals;

  // What queues must leave of the pool: with no frame to receive an ACK in, nothing that is queued
  // would ever be freed.
  // The window scale to announce (RFC 7323 2.3): the smallest with which the field can say the
  // largest buffer that the options allow. A size that the user has fixed is the largest (Linux).
  uint8_t window_shift(const ConnectionOptions& o) const;
  bool memory_scarce() const { return pool.available() <= pool.capacity() / 16 + 2; }
  uint64_t flow_hash(const wire::FlowKey& key) const {
    return SipHash::hash(flow_key, {reinterpret_cast<const uint8_t*>(&key), sizeof key});
  }
  FlowNode* find(const wire::FlowKey& key, uint64_t hash) const {
    return flows.find(hash, [&](const FlowNode& n) { return n.key == key; });
  }
  // RFC 6528: a clock that no two incarnations of a 4-tuple share, plus a secret per 4-tuple.
  Seq initial_seq(Instant now, const wire::FlowKey& key) const {
    if (options.fixed_isn) [[unlikely]]
      return Seq(options.isn);
    const uint64_t hash =
        SipHash::hash(isn_key, {reinterpret_cast<const uint8_t*>(&key), sizeof key});
    return Seq(uint32_t(hash) + uint32_t(now.ns >> 6));
  }
  // RFC 7323 5.4: the same for every incarnation of a 4-tuple, so that its clock never runs back.
  uint32_t timestamp_offset(const wire::FlowKey& key) const {
    if (options.fixed_isn) [[unlikely]]
      return 0;
    return uint32_t(SipHash::hash(clock_key, {reinterpret_cast<const uint8_t*>(&key), sizeof key}));
  }
};
static_assert(sizeof(wire::FlowKey) == 36, "hashed as bytes: must have no padding");

// Timestamp clock: 1 ms (RFC 7323 5.4 allows 1 ms to 1 s).
inline uint32_t ts_now(Instant now, uint32_t offset) {
  return uint32_t(now.ns / 1'000'000) + offset;
}

}  // namespace millrace::tcp
