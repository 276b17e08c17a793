// SPDX-License-Identifier: MIT
// What must hold of a connection between any two calls, whatever the peer sends.
#pragma once

#include <doctest/doctest.h>

#include "tcp/connection.h"
#include "tcp/core.h"

// A REQUIRE that costs nothing while it holds: these are millions.
#define MUST(condition)                 \
  do {                                  \
    if (!(condition)) FAIL(#condition); \
  } while (0)

namespace millrace::test {

inline void check_send_queue(const tcp::Connection& c) {
  using tcp::TxNote;
  const tcp::TxQueue& q = c.snd.queue;
  uint32_t bytes = 0, unsent = 0, sacked = 0, sacked_frames = 0, lost = 0, resent = 0, frames = 0;
  uint32_t in_sent = 0, in_lost = 0;
  bool flying = true;
  Frame* prev = nullptr;
  for (Frame* f = q.head; f; prev = f, f = f->next) {
    const TxNote& n = tcp::note_of(f);
    if (f == q.unsent) flying = false;
    MUST(n.prev == prev);
    if (prev) MUST(tcp::note_of(prev).end() == n.seq);
    MUST(n.offset + n.length <= f->capacity);
    bytes += n.seq_length();
    ++frames;
    if (!flying) {
      unsent += n.seq_length();
      MUST(!n.has(TxNote::kSacked | TxNote::kLost | TxNote::kInSentList | TxNote::kInLostList));
      continue;
    }
    MUST(n.end() <= c.snd.nxt);
    if (n.has(TxNote::kSacked)) {
      sacked += n.seq_length(), ++sacked_frames;
      MUST(!n.has(TxNote::kLost | TxNote::kInSentList | TxNote::kInLostList));
    } else {
      MUST(n.has(TxNote::kInSentList) != n.has(TxNote::kInLostList));
      if (n.has(TxNote::kInLostList)) MUST(n.has(TxNote::kLost));
    }
    if (n.has(TxNote::kLost)) lost += n.seq_length();
    if (n.has(TxNote::kRetransmitted)) resent += n.seq_length();
    in_sent += n.has(TxNote::kInSentList) ? 1 : 0;
    in_lost += n.has(TxNote::kInLostList) ? 1 : 0;
  }
  MUST(q.tail == prev);
  MUST(q.bytes == bytes);
  MUST(q.frames == frames);
  MUST(q.unsent_bytes == unsent);
  MUST(q.sacked_bytes == sacked);
  MUST(q.sacked_frames == sacked_frames);
  MUST(q.lost_bytes == lost);
  MUST(q.resent_bytes == resent);
  for (Frame* f = q.sent.head; f; f = tcp::note_of(f).list_next) --in_sent;
  for (Frame* f = q.lost.head; f; f = tcp::note_of(f).list_next) --in_lost;
  MUST(in_sent == 0);
  MUST(in_lost == 0);
  // Undoing a recovery puts what was waiting back in front; RACK lives with that, an RTO at worst.
  const tcp::Counters& counters = c.core.counters;
  const bool ordered = counters.tcp_spurious_recoveries == 0 && counters.tcp_pmtu_lowered == 0;
  uint32_t last = 0;
  for (Frame* f = q.sent.head; f; f = tcp::note_of(f).list_next) {
    const uint32_t order = tcp::note_of(f).order;
    if (f != q.sent.head && ordered) MUST(int32_t(order - last) >= 0);
    last = order;
  }
}

inline void check_connection(const tcp::Connection& c) {
  if (c.state == tcp::State::kClosed) {
    MUST(c.snd.queue.head == nullptr);
    MUST(!c.timer.armed());
    return;
  }
  check_send_queue(c);
  const tcp::Receiver& r = c.rcv;
  uint32_t queued = 0;
  for (Frame* f = r.queue.front(); f; f = f->next) {
    MUST(f->length > 0);
    queued += f->length;
  }
  MUST(queued == r.queued_bytes);
  if (c.state != tcp::State::kTimeWait) {
    // Something that waits for an answer has a timer that will ask again.
    if (c.snd.queue.in_flight()) MUST(!c.retransmit_at.is_never());
    if (!c.snd.queue.lost.empty()) MUST(!c.retransmit_at.is_never());
    if (c.snd.queue.unsent && c.can_send() && !c.snd.queue.in_flight()) {
      MUST((!c.retransmit_at.is_never() || c.blocked || !c.pace_at.is_never()));
    }
  }
  for (Instant at : {c.retransmit_at, c.ack_at, c.pace_at, c.life_at}) {
    if (!at.is_never()) MUST((c.timer.armed() && c.timer.deadline() <= at));
  }
}

}  // namespace millrace::test
