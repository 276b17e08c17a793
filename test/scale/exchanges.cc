// SPDX-License-Identifier: MIT
#include "exchanges.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/prefetch.h"
#include "tcp/connection.h"

namespace millrace::scale {

namespace {

constexpr uint32_t kBytes = 100;  // of a request, and of its answer
constexpr Duration kTurn = Duration::micros(50);

// Who takes part in a burst: as many as fit, far from each other.
class Party {
 public:
  Party(uint32_t busy, Random& order) : count_(std::min(busy, kBurst)) {
    // An odd prime that divides no number of connections: all of them are different.
    const uint32_t first = order.below(busy);
    for (uint32_t k = 0; k < count_; ++k) who_[k] = (first + k * 7919) % busy;
  }
  std::span<const uint32_t> who() const { return {who_.data(), count_}; }

 private:
  uint32_t count_;
  std::array<uint32_t, kBurst> who_;
};

struct Burst {
  explicit Burst(uint32_t busy, Random& order) : party(busy, order) {}
  Party party;
  Frame* requests[kBurst];
  Frame* acks[kBurst];
};

// The packets of an exchange, before it begins: building them is the peers' work.
void build(World& w, Burst& b) {
  const auto who = b.party.who();
  for (size_t k = 0; k < who.size(); ++k) {
    Peer& p = w.peers[who[k]];
    b.requests[k] = w.segment(who[k], wire::kTcpAck | wire::kTcpPsh, p.next, p.acked, kBytes);
    p.next += kBytes;
    p.acked += kBytes;
    b.acks[k] = w.segment(who[k], wire::kTcpAck, p.next, p.acked, 0);
  }
}

// As Stack::turn(): a burst comes in, and the program is given what was received.
void take_requests(World& w, const Burst& b, uint8_t (&received)[kBytes]) {
  const auto who = b.party.who();
  w.wheel.advance(w.now);
  w.ip.input(w.now, 0, {b.requests, who.size()});
  w.ip.flush(w.now);
  for (const uint32_t i : who) {
    const uint32_t got = w.tcp->read(w.now, *w.peers[i].connection, received);
    MR_ASSERT(got == kBytes);
  }
}

// The next turn: what the program has answered leaves, and its acknowledgements come.
void send_answers(World& w, const Burst& b, const uint8_t (&answer)[kBytes]) {
  const auto who = b.party.who();
  for (const uint32_t i : who) {
    Frame* frame = w.pool.alloc();
    frame->length = kBytes;
    std::memcpy(frame->data(), answer, kBytes);
    w.tcp->write(*w.peers[i].connection, frame);
  }
  w.wheel.advance(w.now);
  for (const uint32_t i : who) w.tcp->push(w.now, *w.peers[i].connection);
  w.tcp->send_held_acks(w.now);
  w.ip.flush(w.now);
}

void take_acks(World& w, const Burst& b) {
  w.wheel.advance(w.now);
  w.ip.input(w.now, 0, {b.acks, b.party.who().size()});
  w.ip.flush(w.now);
}

}  // namespace

uint32_t exchange(World& w, uint32_t busy, uint32_t packets, Random& order, Meter& meter) {
  // So many in a row under the meter as make a full burst: starting and stopping it costs about a
  // packet's time and some of the caches, which few connections must not pay more often than many.
  const uint32_t row = std::max(kBurst / std::min(busy, kBurst), 1u);
  std::vector<Burst> bursts;
  bursts.reserve(row);
  uint8_t bytes[kBytes];
  uint32_t done = 0;
  while (done < packets) {
    bursts.clear();
    for (uint32_t n = 0; n < row; ++n) {
      bursts.emplace_back(busy, order);
      build(w, bursts.back());
    }
    meter.start();
    for (const Burst& b : bursts) {
      take_requests(w, b, bytes);
      w.now = w.now + kTurn;
      send_answers(w, b, bytes);
      w.now = w.now + kTurn;
      take_acks(w, b);
      done += 2 * uint32_t(b.party.who().size());
    }
    meter.stop();
  }
  return done;
}

namespace {
constexpr size_t kStride = sizeof(tcp::Connection);
constexpr size_t kAhead = 6;
}  // namespace

Lines::Lines(uint32_t connections)
    : connections_(connections), memory_(connections * kStride, OsMemory::Pages::kHugeLater) {
  std::memset(memory_.data(), 1, memory_.size());
}

uint32_t Lines::touch(uint32_t packets, Random& order, Meter& meter) {
  uint32_t done = 0;
  while (done < packets) {
    const Party party(connections_, order);
    const auto who = party.who();
    meter.start();
    for (size_t k = 0; k < who.size(); ++k) {
      uint8_t* const now = memory_.data() + who[k] * kStride;
      uint8_t* const later = memory_.data() + who[std::min(k + kAhead, who.size() - 1)] * kStride;
      for (const tcp::HotRange& r : tcp::kHotRanges) {
        prefetch(later + r.from, r.bytes);
        volatile uint8_t* c = now + r.from;
        for (size_t at = 0; at < r.bytes; at += kCacheLineBytes) c[at] = uint8_t(c[at] + 1);
      }
    }
    meter.stop();
    done += 2 * uint32_t(who.size());
  }
  return done;
}

}  // namespace millrace::scale
