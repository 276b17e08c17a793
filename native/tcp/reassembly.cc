// SPDX-License-Identifier: MIT
// Segments out of order lie in islands: runs of adjacent frames. The islands form a list by
// sequence; a new segment is looked for from its end, its beginning or the last place, whichever is
// nearest, over islands, not frames. Bounds: kIslandsMax islands and twice the receive buffer in
// frame memory, whatever the size of the segments (CVE-2018-5390). RFC 9293 3.10.7.4, 2018 4, 2883.
#include <algorithm>
#include <cstring>

#include "tcp/receive.h"

namespace millrace::tcp {

namespace {

constexpr uint16_t kIslandsMax = 512;
constexpr uint32_t kMemoryMinBytes = 65536;

struct RxNote {
  Seq start;  // of this frame
  Seq end;
  // Valid in the first frame of an island:
  Seq island_end;
  Frame* last;
  Frame* prev_island;
  Frame* next_island;
};

RxNote& rx(Frame* f) {
  return f->scratch_as<RxNote>();
}

void unlink_island(Receiver& r, Frame* island) {
  RxNote& n = rx(island);
  (n.prev_island ? rx(n.prev_island).next_island : r.ooo_head) = n.next_island;
  (n.next_island ? rx(n.next_island).prev_island : r.ooo_tail) = n.prev_island;
  if (r.ooo_cursor == island) r.ooo_cursor = n.prev_island ? n.prev_island : n.next_island;
  --r.islands;
}

void link_island(Receiver& r, Frame* after, Frame* island) {
  RxNote& n = rx(island);
  n.prev_island = after;
  n.next_island = after ? rx(after).next_island : r.ooo_head;
  (after ? rx(after).next_island : r.ooo_head) = island;
  (n.next_island ? rx(n.next_island).prev_island : r.ooo_tail) = island;
  ++r.islands;
}

void free_island(Core& core, Receiver& r, Frame* island) {
  unlink_island(r, island);
  Frame* f = island;
  while (f) {
    Frame* next = f->next;
    f->next = nullptr;
    r.ooo_bytes -= f->length;
    --r.ooo_frames;
    core.pool.release(f);
    f = next;
  }
}

// The last island that starts at or before `seq`; null if there is none.
Frame* find_island(Receiver& r, Seq seq) {
  Frame* at = r.ooo_tail;
  if (!at || rx(at).start <= seq) return at;
  if (seq < rx(r.ooo_head).start) return nullptr;
  if (r.ooo_cursor && seq - rx(r.ooo_head).start > std::abs(seq - rx(r.ooo_cursor).start)) {
    at = r.ooo_cursor;
  } else {
    at = r.ooo_head;
  }
  while (rx(at).start > seq) at = rx(at).prev_island;
  while (rx(at).next_island && rx(rx(at).next_island).start <= seq) at = rx(at).next_island;
  return at;
}

void remember_sack(Receiver& r, Seq start, Seq end) {
  // The newest first; whatever it has swallowed goes (RFC 2018 4).
  wire::SackBlock kept[wire::kSackBlocksMax];
  uint8_t count = 0;
  kept[count++] = {start, end};
  for (uint8_t i = 0; i < r.sack_count && count < wire::kSackBlocksMax; ++i) {
    if (r.sacks[i].start >= start && r.sacks[i].end <= end) continue;
    kept[count++] = r.sacks[i];
  }
  std::copy_n(kept, count, r.sacks);
  r.sack_count = count;
}

// Drops the blocks that are not behind `nxt`, or that reach past `limit`.
void forget_sacks(Receiver& r, Seq nxt, Seq limit) {
  uint8_t count = 0;
  for (uint8_t i = 0; i < r.sack_count; ++i) {
    if (r.sacks[i].start > nxt && r.sacks[i].end <= limit) r.sacks[count++] = r.sacks[i];
  }
  r.sack_count = count;
}

bool append_copy(Frame* tail, const Frame* f) {
  if (tail->refs != 1 || f->length > tail->tailroom()) return false;
  std::memcpy(tail->data() + tail->length, f->data(), f->length);
  tail->length += f->length;
  return true;
}

// Makes room for one more frame. What lies highest goes first: it is needed last.
bool make_room(Core& core, Receiver& r, Seq seq) {
  const uint32_t memory = std::max(2 * r.buffer_bytes, kMemoryMinBytes);
  const uint32_t frames_max = std::min<uint32_t>(memory / core.pool.frame_bytes(), UINT16_MAX - 1);
  const bool scarce = core.pool.available() < core.pool.capacity() / 16;
  while (r.ooo_tail && (r.ooo_frames >= frames_max || r.islands >= kIslandsMax || scarce)) {
    if (seq >= rx(r.ooo_tail).start) return false;
    ++core.counters.tcp_out_of_order_dropped;
    const Seq limit = rx(r.ooo_tail).start;
    free_island(core, r, r.ooo_tail);
    forget_sacks(r, r.nxt, limit);
    if (scarce) break;
  }
  return !scarce || r.ooo_frames == 0;
}

// Extends `island` by `f`, which starts where the island ends.
void extend_island(Core& core, Receiver& r, Frame* island, Frame* f, Seq start, Seq end) {
  RxNote& head = rx(island);
  r.ooo_bytes += f->length;
  if (append_copy(head.last, f)) {
    ++core.counters.tcp_coalesced;
    rx(head.last).end = end;
    core.pool.release(f);
  } else {
    rx(f).start = start;
    rx(f).end = end;
    f->next = nullptr;
    head.last->next = f;
    head.last = f;
    ++r.ooo_frames;
  }
  head.island_end = end;
}

Frame* new_island(Receiver& r, Frame* after, Frame* f, Seq start, Seq end) {
  RxNote& n = rx(f);
  n = RxNote{start, end, end, f, nullptr, nullptr};
  f->next = nullptr;
  r.ooo_bytes += f->length;
  ++r.ooo_frames;
  link_island(r, after, f);
  return f;
}

void join_next(Receiver& r, Frame* island) {
  RxNote& n = rx(island);
  Frame* next = n.next_island;
  if (!next || rx(next).start != n.island_end) return;
  const Frame* const keep = r.ooo_cursor;
  unlink_island(r, next);
  if (keep == next) r.ooo_cursor = island;
  n.last->next = next;
  n.last = rx(next).last;
  n.island_end = rx(next).island_end;
}

}  // namespace

void note_duplicate(Connection& c, Seq start, Seq end) {
  if (!c.sack || start >= end) return;
  c.rcv.dsack = {start, end};
  c.rcv.dsack_pending = true;
  ++c.core.counters.tcp_dsacks_sent;
}

void reassemble(Core& core, Connection& c, Segment& s) {
  Receiver& r = c.rcv;
  Seq start = s.seq;
  Seq end = start + s.length;
  if (!make_room(core, r, start)) {
    ++core.counters.tcp_out_of_order_dropped;
    return;
  }
  Frame* before = find_island(r, start);
  if (before && start < rx(before).island_end) {
    const Seq known = wire::seq_min(end, rx(before).island_end);
    note_duplicate(c, start, known);
    if (known == end) {
      ++core.counters.tcp_duplicates;
      remember_sack(r, rx(before).start, rx(before).island_end);
      return;
    }
    s.frame->pop_front(uint32_t(known - start));
    start = known;
  }
  Frame* next = before ? rx(before).next_island : r.ooo_head;
  while (next && rx(next).start < end) {  // what is there already is replaced or cut off
    note_duplicate(c, rx(next).start, wire::seq_min(end, rx(next).island_end));
    if (rx(next).island_end > end) {
      s.frame->trim_to(uint32_t(rx(next).start - start));
      end = rx(next).start;
      break;
    }
    Frame* following = rx(next).next_island;
    free_island(core, r, next);
    next = following;
  }
  Frame* f = s.frame;
  s.frame = nullptr;
  ++core.counters.tcp_out_of_order;
  ++c.stats.out_of_order;
  Frame* island = before;
  if (before && rx(before).island_end == start) {
    extend_island(core, r, before, f, start, end);
  } else {
    island = new_island(r, before, f, start, end);
  }
  join_next(r, island);
  r.ooo_cursor = island;
  remember_sack(r, rx(island).start, rx(island).island_end);
}

void enqueue_in_order(Core& core, Connection& c, Frame* f) {
  Receiver& r = c.rcv;
  r.queued_bytes += f->length;
  // Small segments share memory: a reader that sleeps while the peer writes byte by byte must not
  // hold a frame for each.
  if (Frame* tail = r.queue.back(); tail && append_copy(tail, f)) {
    ++core.counters.tcp_coalesced;
    core.pool.release(f);
    return;
  }
  r.queue.push_back(f);
}

void drain_reassembly(Core& core, Connection& c) {
  Receiver& r = c.rcv;
  while (Frame* island = r.ooo_head) {
    if (rx(island).start > r.nxt) break;
    const Seq island_end = rx(island).island_end;
    // What was here before it came in order has come twice (RFC 2883 4.2.2).
    if (!r.dsack_pending) note_duplicate(c, rx(island).start, wire::seq_min(island_end, r.nxt));
    unlink_island(r, island);
    Frame* f = island;
    while (f) {
      Frame* next = f->next;
      const Seq start = rx(f).start;
      const Seq end = rx(f).end;
      r.ooo_bytes -= f->length;
      --r.ooo_frames;
      if (end <= r.nxt) {
        core.pool.release(f);
      } else {
        if (start < r.nxt) f->pop_front(uint32_t(r.nxt - start));
        c.stats.bytes_received += uint32_t(end - r.nxt);
        r.nxt = end;
        enqueue_in_order(core, c, f);
      }
      f = next;
    }
    MR_DASSERT(r.nxt >= island_end);
    (void)island_end;
  }
  forget_sacks(r, r.nxt, r.nxt + 0x7fffffff);
}

void release_reassembly(Core& core, Connection& c) {
  while (c.rcv.ooo_head) free_island(core, c.rcv, c.rcv.ooo_head);
  c.rcv.sack_count = 0;
  c.rcv.ooo_cursor = nullptr;
}

}  // namespace millrace::tcp
