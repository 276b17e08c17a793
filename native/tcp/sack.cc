// SPDX-License-Identifier: MIT
// The SACK scoreboard (RFC 2018 5): marks on the frames of the send queue themselves.
#include <algorithm>

#include "tcp/recovery.h"

namespace millrace::tcp {

namespace {

// Frames looked at for one ACK. Honest blocks need a few: they continue where the last ones ended.
constexpr uint32_t kSackStepsMax = 512;

bool is_dsack(const Connection& c, const Segment& s) {
  const wire::TcpOptions& o = s.options;
  const wire::SackBlock& first = o.sack[0];
  if (first.start >= first.end) return false;
  if (first.start < s.ack) return true;  // RFC 2883 4: below the cumulative ACK
  if (o.sack_count < 2) return false;
  return first.start >= o.sack[1].start && first.end <= o.sack[1].end;  // inside the next block
}

bool valid_block(const Connection& c, const wire::SackBlock& b) {
  return b.start < b.end && b.start >= c.snd.una && b.end <= c.snd.nxt;
}

// The frame in flight that contains `seq`, looked for from the nearest known place.
Frame* seek(Connection& c, Seq seq, uint32_t& steps) {
  TxQueue& q = c.snd.queue;
  Frame* at = q.head;
  Frame* const last = q.last_sent();
  auto distance = [&](Frame* f) { return uint32_t(std::abs(seq - note_of(f).seq)); };
  if (distance(last) < distance(at)) at = last;
  if (c.loss.sack_cursor && distance(c.loss.sack_cursor) < distance(at)) at = c.loss.sack_cursor;
  while (note_of(at).seq > seq && note_of(at).prev && steps < kSackStepsMax) {
    at = note_of(at).prev;
    ++steps;
  }
  while (note_of(at).end() <= seq && at->next && at->next != q.unsent && steps < kSackStepsMax) {
    at = at->next;
    ++steps;
  }
  c.loss.sack_cursor = at;
  return steps < kSackStepsMax ? at : nullptr;
}

// Returns how far the block has been taken.
Seq take_block(Connection& c, Seq start, Seq end, uint32_t& steps, AckSummary& a) {
  TxQueue& q = c.snd.queue;
  Frame* f = seek(c, start, steps);
  if (!f) return start;
  while (f && f != q.unsent && note_of(f).end() <= end) {
    if (steps >= kSackStepsMax) return note_of(f).seq;
    TxNote& n = note_of(f);
    if (n.seq >= start && !n.has(TxNote::kSacked)) {
      rack_delivered(c, n, a);
      a.delivered_bytes += n.seq_length();
      a.newly_sacked = true;
      if (!n.has(TxNote::kEverResent)) {
        a.latest_sacked = n.sent;
        if (n.end() <= c.loss.high) a.original_delivered = true;
      }
      q.mark_sacked(f);
    }
    c.loss.sack_cursor = f;
    f = f->next;
    ++steps;
  }
  return end;
}

// Only what was sent twice can have arrived twice, unless the network made the duplicate: that
// cannot be told from one DSACK. As Linux: they are believed as long as they are not more than the
// retransmissions (RFC 3708 3 would be exact, and never undoes where packets are duplicated).
void take_dsack(Connection& c, const wire::SackBlock& b, AckSummary& a) {
  LossState& l = c.loss;
  const uint32_t bytes = uint32_t(b.end - b.start);
  if (b.end > c.snd.nxt || bytes > c.snd.window_max_bytes) return;
  const uint32_t segments = std::max((bytes + c.snd.mss_bytes - 1) / c.snd.mss_bytes, 1u);
  l.duplicates += segments;
  if (l.duplicates > c.stats.segments_resent) return;
  a.resent_twice = true;
  if (b.end > l.undo_marker) l.undo_resent -= std::min(l.undo_resent, segments);
}

// The part of `b` that the previous ACK did not hold already.
wire::SackBlock without_seen(const LossState& l, wire::SackBlock b) {
  for (uint8_t i = 0; i < l.sack_seen_count; ++i) {
    const wire::SackBlock& seen = l.sack_seen[i];
    if (b.start >= seen.start && b.start < seen.end) b.start = wire::seq_min(b.end, seen.end);
  }
  return b;
}

}  // namespace

void forget_sack_hints(Connection& c) {
  c.loss.sack_cursor = nullptr;
  c.loss.sack_seen_count = 0;
}

void take_sack(Core& core, Connection& c, const Segment& s, AckSummary& a) {
  const wire::TcpOptions& o = s.options;
  LossState& l = c.loss;
  uint8_t first = 0;
  if (is_dsack(c, s)) {
    a.dsack = true;
    ++core.counters.tcp_dsacks_received;
    ++c.stats.dsacks;
    first = 1;
    take_dsack(c, o.sack[0], a);
  }
  uint32_t steps = 0;
  wire::SackBlock taken[wire::kSackBlocksMax];
  uint8_t taken_count = 0;
  for (uint8_t i = first; i < o.sack_count && c.snd.queue.in_flight(); ++i) {
    wire::SackBlock b = o.sack[i];
    if (b.end <= s.ack) continue;  // late
    if (s.ack < c.snd.una) {       // an overtaken ACK: what has been acknowledged since is no news
      if (b.end <= c.snd.una) continue;
      b.start = wire::seq_max(b.start, c.snd.una);
    }
    if (!valid_block(c, b)) {
      ++core.counters.tcp_sack_invalid;
      continue;
    }
    const wire::SackBlock fresh = without_seen(l, b);
    Seq until = b.end;
    if (fresh.start < fresh.end) until = take_block(c, fresh.start, fresh.end, steps, a);
    if (until > b.start) taken[taken_count++] = {b.start, until};
  }
  if (steps >= kSackStepsMax) ++core.counters.tcp_sack_budget;
  if (o.sack_count > first) {
    std::copy_n(taken, taken_count, l.sack_seen);
    l.sack_seen_count = taken_count;
  }
}

}  // namespace millrace::tcp
