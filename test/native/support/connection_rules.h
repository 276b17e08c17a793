// SPDX-License-Identifier: MIT
// What must hold of a connection between any two calls, whatever the peer sends. Shared by unit
// tests, simulator and fuzz targets, so it knows no test framework: each function returns the rule
// that is broken, or null.
#pragma once

#include "tcp/connection.h"
#include "tcp/core.h"

// NOLINTNEXTLINE: the text of the condition is the message.
#define MR_RULE(condition)               \
  do {                                   \
    if (!(condition)) return #condition; \
  } while (0)

namespace millrace::test {

// What the frames of a send queue add up to.
struct QueueSums {
  uint32_t bytes = 0, unsent = 0, sacked = 0, sacked_frames = 0, lost = 0, resent = 0, frames = 0;
  uint32_t in_sent = 0, in_lost = 0;

  const char* add_flying(const tcp::TxNote& n) {
    using tcp::TxNote;
    if (n.has(TxNote::kSacked)) {
      sacked += n.seq_length(), ++sacked_frames;
      MR_RULE(!n.has(TxNote::kLost | TxNote::kInSentList | TxNote::kInLostList));
    } else {
      MR_RULE(n.has(TxNote::kInSentList) != n.has(TxNote::kInLostList));
      if (n.has(TxNote::kInLostList)) MR_RULE(n.has(TxNote::kLost));
    }
    if (n.has(TxNote::kLost)) lost += n.seq_length();
    if (n.has(TxNote::kRetransmitted)) resent += n.seq_length();
    in_sent += n.has(TxNote::kInSentList) ? 1 : 0;
    in_lost += n.has(TxNote::kInLostList) ? 1 : 0;
    return nullptr;
  }
  const char* compare(const tcp::TxQueue& q) const {
    MR_RULE(q.bytes == bytes);
    MR_RULE(q.frames == frames);
    MR_RULE(q.unsent_bytes == unsent);
    MR_RULE(q.sacked_bytes == sacked);
    MR_RULE(q.sacked_frames == sacked_frames);
    MR_RULE(q.lost_bytes == lost);
    MR_RULE(q.resent_bytes == resent);
    return nullptr;
  }
};

inline const char* broken_list_rule(const tcp::Connection& c, QueueSums sums) {
  const tcp::TxQueue& q = c.snd.queue;
  for (Frame* f = q.sent.head; f; f = tcp::note_of(f).list_next) --sums.in_sent;
  for (Frame* f = q.lost.head; f; f = tcp::note_of(f).list_next) --sums.in_lost;
  MR_RULE(sums.in_sent == 0);
  MR_RULE(sums.in_lost == 0);
  // Undoing a recovery puts what was waiting back in front; RACK lives with that, an RTO at worst.
  const tcp::Counters& counters = c.core.counters;
  const bool ordered = counters.tcp_spurious_recoveries == 0 && counters.tcp_pmtu_lowered == 0;
  uint32_t last = 0;
  for (Frame* f = q.sent.head; f; f = tcp::note_of(f).list_next) {
    const uint32_t order = tcp::note_of(f).order;
    if (f != q.sent.head && ordered) MR_RULE(int32_t(order - last) >= 0);
    last = order;
  }
  return nullptr;
}

inline const char* broken_queue_rule(const tcp::Connection& c) {
  using tcp::TxNote;
  const tcp::TxQueue& q = c.snd.queue;
  QueueSums sums;
  bool flying = true;
  Frame* prev = nullptr;
  for (Frame* f = q.head; f; prev = f, f = f->next) {
    const TxNote& n = tcp::note_of(f);
    if (f == q.unsent) flying = false;
    MR_RULE(n.prev == prev);
    if (prev) MR_RULE(tcp::note_of(prev).end() == n.seq);
    MR_RULE(n.offset + n.length <= f->capacity);
    sums.bytes += n.seq_length();
    ++sums.frames;
    if (!flying) {
      sums.unsent += n.seq_length();
      MR_RULE(!n.has(TxNote::kSacked | TxNote::kLost | TxNote::kInSentList | TxNote::kInLostList));
      continue;
    }
    MR_RULE(n.end() <= c.snd.nxt);
    if (const char* broken = sums.add_flying(n)) return broken;
  }
  MR_RULE(q.tail == prev);
  if (const char* broken = sums.compare(q)) return broken;
  return broken_list_rule(c, sums);
}

// RFC 9293 3.3.1 and 3.4: where the numbers of both directions may lie, in every synchronized state
// that still has queues.
inline const char* broken_sequence_rule(const tcp::Connection& c) {
  const tcp::Sender& s = c.snd;
  const tcp::Receiver& r = c.rcv;
  if (c.state == tcp::State::kSynSent || c.state == tcp::State::kSynReceived ||
      c.state == tcp::State::kTimeWait) {
    return nullptr;
  }
  MR_RULE(s.una <= s.nxt);
  MR_RULE(s.nxt <= s.end);
  MR_RULE(s.end - s.una == int32_t(s.queue.bytes));
  if (s.queue.head) MR_RULE(tcp::note_of(s.queue.head).seq == s.una);
  MR_RULE(r.acked <= r.nxt);
  MR_RULE(c.irs < r.nxt);
  for (uint8_t i = 0; i < r.sack_count; ++i) {
    MR_RULE(r.sacks[i].start < r.sacks[i].end);
    MR_RULE(r.sacks[i].start > r.nxt);
  }
  return nullptr;
}

// CVE-2018-5390 and its kin: what a peer can make us hold.
inline const char* broken_memory_rule(const tcp::Connection& c) {
  const tcp::Receiver& r = c.rcv;
  uint32_t queued = 0;
  for (Frame* f = r.queue.front(); f; f = f->next) {
    MR_RULE(f->length > 0);
    queued += f->length;
  }
  MR_RULE(queued == r.queued_bytes);
  const uint32_t buffer = std::max(r.buffer_bytes, c.core.options.receive_buffer_max_bytes);
  MR_RULE(r.islands <= 512);
  MR_RULE(r.ooo_frames >= r.islands);
  MR_RULE(r.ooo_frames <= std::max(2 * buffer, 65536u) / c.core.pool.frame_bytes());
  MR_RULE((r.islands == 0) == (r.ooo_head == nullptr));
  MR_RULE((r.ooo_head == nullptr) == (r.ooo_bytes == 0));
  return nullptr;
}

inline const char* broken_timer_rule(const tcp::Connection& c) {
  if (c.state != tcp::State::kTimeWait) {
    // Something that waits for an answer has a timer that will ask again.
    if (c.snd.queue.in_flight()) MR_RULE(!c.retransmit_at.is_never());
    if (!c.snd.queue.lost.empty()) MR_RULE(!c.retransmit_at.is_never());
    if (c.snd.queue.unsent && c.can_send() && !c.snd.queue.in_flight()) {
      MR_RULE(!c.retransmit_at.is_never() || c.blocked || !c.pace_at.is_never());
    }
  }
  for (Instant at : {c.retransmit_at, c.ack_at, c.pace_at}) {
    if (!at.is_never()) MR_RULE(c.timer.armed() && c.timer.deadline() <= at);
  }
  if (!c.life_at.is_never()) {
    MR_RULE(c.life_timer.armed() && c.life_timer.deadline() <= c.life_at);
  }
  return nullptr;
}

// After a turn at `now`: nothing is due, nothing waits longer than it ever may.
inline const char* broken_deadline_rule(const tcp::Connection& c, Instant now) {
  const tcp::StackOptions& o = c.core.options;
  constexpr Duration kTick = Duration::micros(300);         // of the timing wheel
  constexpr Duration kAckDelayMax = Duration::millis(500);  // RFC 9293 3.8.6.3
  if (c.state == tcp::State::kClosed) return nullptr;
  for (Instant at : {c.retransmit_at, c.ack_at, c.pace_at, c.life_at}) {
    MR_RULE(at.is_never() || at + kTick >= now);
  }
  MR_RULE(c.ack_at.is_never() || c.ack_at <= now + kAckDelayMax);
  MR_RULE(c.retransmit_at.is_never() || c.retransmit_at <= now + o.rto_max);
  return nullptr;
}

inline const char* broken_rule(const tcp::Connection& c) {
  if (c.state == tcp::State::kClosed) {
    MR_RULE(c.snd.queue.head == nullptr);
    MR_RULE(!c.timer.armed());
    return nullptr;
  }
  if (const char* broken = broken_queue_rule(c)) return broken;
  if (const char* broken = broken_sequence_rule(c)) return broken;
  if (const char* broken = broken_memory_rule(c)) return broken;
  return broken_timer_rule(c);
}

}  // namespace millrace::test
