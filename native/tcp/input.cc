// SPDX-License-Identifier: MIT
#include "tcp/input.h"

#include <algorithm>
#include <cstring>

#include "base/prefetch.h"
#include "tcp/ecn.h"
#include "tcp/emit.h"
#include "tcp/lifecycle.h"
#include "wire/checksum.h"

namespace millrace::tcp {

namespace {

// C4: the checksum is verified always, unless the port has done it.
bool checksum_good(const Frame& f, const net::IpMeta& meta, bool& unfinished) {
  if (f.flags & Frame::kChecksumVerified) return true;
  const uint64_t pseudo =
      wire::checksum_pseudo(meta.source, meta.destination, wire::kTcpProtocol, f.length);
  if (wire::checksum_fold(wire::checksum_partial(f.bytes(), pseudo)) == 0xffff) return true;
  if (!(f.flags & Frame::kChecksumMayBePartial)) return false;
  // The sender left the rest to a device that never was: the field holds the pseudo header's sum.
  uint16_t field;
  std::memcpy(&field, f.data() + wire::kTcpChecksumOffset, 2);
  unfinished = field == wire::checksum_fold(pseudo);
  return unfinished;
}

// A sender that finishes checksums does so in all segments: when one seems unfinished, it is much
// more likely that it was damaged on the way, to which such a sum says nothing. Should the sender
// have changed its ways, it sends this one again.
bool believes_unfinished(Receiver& r) {
  if (r.checksums_whole && !r.checksums_unfinished) {
    r.checksums_unfinished = true;
    return false;
  }
  r.checksums_whole = false;
  return true;
}

// Port 0 is a port like any other (Linux): nobody listens there, but a peer may have it.
bool addresses_possible(const net::IpMeta& meta) {
  return !(meta.source.is_multicast() || meta.source.is_unspecified() ||
           meta.source.is_limited_broadcast() || meta.destination.is_multicast() ||
           meta.destination.is_limited_broadcast());
}

// True when `s` and `key` hold a segment worth looking at.
bool parse(Core& core, Frame* frame, const net::IpMeta& meta, Segment& s, wire::FlowKey& key) {
  wire::TcpHeader header;
  if (!wire::parse_tcp_header(frame->bytes(), header)) {
    ++core.counters.tcp_bad_header;
    return false;
  }
  if (!checksum_good(*frame, meta, s.unfinished)) {
    ++core.counters.tcp_bad_checksum;
    return false;
  }
  if (!addresses_possible(meta)) {
    ++core.counters.tcp_bad_address;
    return false;
  }
  key = {{meta.destination, header.destination_port}, {meta.source, header.source_port}};
  s.seq = header.seq;
  s.ack = header.ack;
  s.window = header.window;
  s.flags = header.flags;
  s.ecn = meta.traffic_class & kIpEcnMask;
  s.interface = meta.interface;
  if (header.header_bytes > wire::kTcpHeaderBytes) {
    wire::parse_tcp_options(
        frame->bytes().subspan(wire::kTcpHeaderBytes, header.header_bytes - wire::kTcpHeaderBytes),
        s.has(wire::kTcpSyn), s.options);
  }
  frame->pop_front(header.header_bytes);
  s.length = frame->length;
  return true;
}

void input_stray(Core& core, Instant now, const wire::FlowKey& key, uint64_t hash, Segment& s) {
  if (core.handler.is_kernels(key)) {
    ++core.counters.tcp_late_for_kernel;
    return;
  }
  if (Listener* l = match_listener(core, key.local)) {
    input_listen(core, now, *l, key, hash, s);
    return;
  }
  refuse_stray(core, now, key, s);
}

void dispatch(Core& core, Instant now, const wire::FlowKey& key, uint64_t hash, Segment& s) {
  FlowNode* node = core.find(key, hash);
  if (!node) {
    input_stray(core, now, key, hash, s);
    return;
  }
  if (node->half_open) {
    input_half_open(core, now, *static_cast<HalfOpen*>(node), s);
    return;
  }
  Connection& c = *static_cast<Connection*>(node);
  if (s.unfinished && !believes_unfinished(c.rcv)) [[unlikely]] {
    ++core.counters.tcp_bad_checksum;
    return;
  }
  if (!s.unfinished) c.rcv.checksums_whole = true;
  ++c.stats.segments_received;
  if (c.state == State::kTimeWait) {
    const bool reopen = input_time_wait(core, now, c, s);
    if (reopen) {
      input_stray(core, now, key, hash, s);
    }
    return;
  }
  if (c.state == State::kSynSent) {
    input_syn_sent(core, now, c, s);
  } else {
    input_synchronized(core, now, c, s);
  }
  reap(core, c);
}

// False: the segment is done with.
bool take(Core& core, const net::Received& received, Arrival& arrival) {
  ++core.counters.tcp_received;
  Frame* frame = received.frame;
  if (frame->refs != 1) [[unlikely]] {
    // Somebody else looks at it too: the queues need the frame for themselves.
    Frame* copy = core.pool.clone(*frame);
    core.pool.release(frame);
    if (!copy) {
      ++core.counters.tcp_no_memory;
      return false;
    }
    std::memset(copy->scratch, 0, sizeof(copy->scratch));  // the headers stayed behind
    frame = copy;
  }
  arrival.segment = Segment{};
  arrival.segment.frame = frame;
  if (!parse(core, frame, received.meta, arrival.segment, arrival.key)) {
    core.pool.release(frame);
    return false;
  }
  arrival.hash = core.flow_hash(arrival.key);
  return true;
}

// So far ahead of its turn the memory of a connection is asked for: a few segments' work is as long
// as memory takes, and what is asked for much earlier may be gone from the cache again.
constexpr uint32_t kAhead = 6;
// Asking waits for the translation of the address, which 100,000 connections push out of the
// processor's tables. A number of them in a row wait together: before the rest of its memory, one
// line of each connection of such a group.
constexpr uint32_t kGroup = 8;
// Of the next packet while one is summed: as much as an Ethernet frame has.
constexpr uint32_t kPayloadAheadBytes = 1536;

[[gnu::always_inline]] inline void prefetch_group(const Core& core, uint32_t from, uint32_t count) {
  const uint32_t end = std::min(from + kGroup, count);
  for (uint32_t i = from; i < end; ++i) {
    prefetch(core.flows.guess(core.arrivals[i].hash));
  }
}

// Bytes that the kernel has just written on another processor: the sum over them is mostly waiting.
[[gnu::always_inline]] inline void prefetch_payload(const Frame& frame) {
  if (frame.flags & Frame::kChecksumVerified) return;
  prefetch(frame.chunk + frame.offset, std::min(frame.length, kPayloadAheadBytes));
}

[[gnu::always_inline]] inline void prefetch_arrival(const Core& core, uint32_t i) {
  if (const FlowNode* node = core.flows.guess(core.arrivals[i].hash)) prefetch_connection(node);
}

}  // namespace

void refuse_stray(Core& core, Instant now, const wire::FlowKey& key, Segment& s) {
  const bool opening = s.has(wire::kTcpSyn) && !s.has(wire::kTcpAck);
  if (core.ip.take_stray(now, key, *s.frame, s.interface, opening)) {
    ++core.counters.tcp_strays;
    return;
  }
  if (s.has(wire::kTcpRst)) return;
  ++core.counters.tcp_no_connection;
  answer_with_reset(core, now, key, s);
}

void input_burst(Core& core, Instant now, std::span<const net::Received> burst) {
  MR_DASSERT(burst.size() <= core.arrivals.size());
  uint32_t count = 0;
  for (size_t i = 0; i < burst.size(); ++i) {
    if (i + 1 < burst.size()) prefetch_payload(*burst[i + 1].frame);
    count += take(core, burst[i], core.arrivals[count]) ? 1 : 0;
  }
  for (uint32_t i = 0; i < count; ++i) core.flows.prefetch(core.arrivals[i].hash);
  prefetch_group(core, 0, count);
  for (uint32_t i = 0; i < std::min(count, kAhead); ++i) prefetch_arrival(core, i);
  for (uint32_t i = 0; i < count; ++i) {
    if (i % kGroup == 0) prefetch_group(core, i + kGroup, count);
    if (i + kAhead < count) prefetch_arrival(core, i + kAhead);
    Arrival& a = core.arrivals[i];
    dispatch(core, now, a.key, a.hash, a.segment);
    if (a.segment.frame) core.pool.release(a.segment.frame);
  }
}

}  // namespace millrace::tcp
