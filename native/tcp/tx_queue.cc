// SPDX-License-Identifier: MIT
#include "tcp/tx_queue.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"

namespace millrace::tcp {

uint16_t payload_sum_of(Frame* f) {
  TxNote& n = note_of(f);
  if (n.has(TxNote::kSummed) && n.transmissions <= 1) return n.payload_sum;
  n.payload_sum = wire::checksum_fold(wire::checksum_partial({f->chunk + n.offset, n.length}));
  n.flags |= TxNote::kSummed;
  return n.payload_sum;
}

void NoteList::push_back(Frame* f) {
  TxNote& n = note_of(f);
  n.list_prev = tail;
  n.list_next = nullptr;
  (tail ? note_of(tail).list_next : head) = f;
  tail = f;
}

void NoteList::insert_after(Frame* position, Frame* f) {
  TxNote& n = note_of(f);
  n.list_prev = position;
  n.list_next = note_of(position).list_next;
  (n.list_next ? note_of(n.list_next).list_prev : tail) = f;
  note_of(position).list_next = f;
}

void NoteList::remove(Frame* f) {
  TxNote& n = note_of(f);
  (n.list_prev ? note_of(n.list_prev).list_next : head) = n.list_next;
  (n.list_next ? note_of(n.list_next).list_prev : tail) = n.list_prev;
  n.list_prev = n.list_next = nullptr;
}

void TxQueue::append(Frame* f, Seq seq, uint16_t flags) {
  TxNote& n = note_of(f);
  n = TxNote{};
  n.prev = tail;
  n.seq = seq;
  n.offset = f->offset;
  n.length = f->length;
  n.flags = flags;
  f->next = nullptr;
  (tail ? tail->next : head) = f;
  tail = f;
  if (!unsent) unsent = f;
  bytes += n.seq_length();
  unsent_bytes += n.seq_length();
  ++frames;
}

uint32_t TxQueue::tail_room(uint32_t mss_bytes) const {
  if (!unsent) return 0;
  const TxNote& n = note_of(tail);
  if (n.has(TxNote::kEndOfRecord)) return 0;
  if (n.length >= mss_bytes || tail->refs != 1 || tail->tx_pending != 0) return 0;
  return std::min(mss_bytes - n.length, tail->capacity - n.offset - n.length);
}

void TxQueue::fill_tail(Frame* f, uint32_t mss_bytes, Seq& end) {
  const uint32_t take = std::min(f->length, tail_room(mss_bytes));
  if (take == 0) return;
  TxNote& n = note_of(tail);
  std::memcpy(tail->chunk + n.offset + n.length, f->data(), take);
  n.length += take;
  n.flags &= uint16_t(~(TxNote::kPush | TxNote::kSummed));  // the write goes on
  bytes += take;
  unsent_bytes += take;
  end += take;
  f->pop_front(take);
}

void TxQueue::fill_from_next(FramePool& pool, Frame* f, uint32_t mss_bytes) {
  TxNote& n = note_of(f);
  while (n.length < mss_bytes && f->next && f->refs == 1 && f->tx_pending == 0 &&
         !n.has(TxNote::kEndOfRecord)) {
    Frame* next = f->next;
    TxNote& m = note_of(next);
    const uint32_t used = n.offset + n.length;
    const uint32_t take = std::min({mss_bytes - n.length, m.length, f->capacity - used});
    if (take == 0 && m.length > 0) return;
    std::memcpy(f->chunk + used, next->chunk + m.offset, take);
    n.length += take;
    n.flags &= uint16_t(~TxNote::kSummed);
    m.seq += take;
    m.offset += take;
    m.length -= take;
    m.flags &= uint16_t(~TxNote::kSummed);
    if (m.length > 0) return;
    n.flags |= m.flags & (TxNote::kFin | TxNote::kPush | TxNote::kEndOfRecord);
    f->next = next->next;
    (f->next ? note_of(f->next).prev : tail) = f;
    --frames;
    next->next = nullptr;
    pool.release(next);
  }
}

Frame* TxQueue::merge_next(FramePool& pool, Frame* f, uint32_t mss_bytes) {
  Frame* next = f->next;
  if (!next || next == unsent || f->refs != 1 || f->tx_pending != 0) return nullptr;
  TxNote& n = note_of(f);
  const TxNote m = note_of(next);
  const uint32_t used = n.offset + n.length;
  if (n.length + m.length > mss_bytes || m.length > f->capacity - used) return nullptr;
  if (n.has(TxNote::kFin | TxNote::kEndOfRecord) || m.has(TxNote::kSacked)) return nullptr;
  unlist(next);
  const uint32_t length = m.seq_length();
  if (m.has(TxNote::kLost)) lost_bytes -= length;
  if (m.has(TxNote::kRetransmitted)) resent_bytes -= length;
  if (n.has(TxNote::kLost)) lost_bytes += length;
  if (n.has(TxNote::kRetransmitted)) resent_bytes += length;
  std::memcpy(f->chunk + used, next->chunk + m.offset, m.length);
  n.length += m.length;
  n.flags &= uint16_t(~TxNote::kSummed);
  n.flags |= m.flags & (TxNote::kFin | TxNote::kPush | TxNote::kEndOfRecord | TxNote::kEverResent);
  f->next = next->next;
  (f->next ? note_of(f->next).prev : tail) = f;
  --frames;
  next->next = nullptr;
  pool.release(next);
  return next;
}

void TxQueue::unlist(Frame* f) {
  TxNote& n = note_of(f);
  if (n.has(TxNote::kInSentList)) sent.remove(f);
  if (n.has(TxNote::kInLostList)) lost.remove(f);
  n.flags &= uint16_t(~(TxNote::kInSentList | TxNote::kInLostList));
}

void TxQueue::mark_sent(Frame* f, Instant now) {
  MR_DASSERT(f == unsent);
  TxNote& n = note_of(f);
  unsent = f->next;
  unsent_bytes -= n.seq_length();
  n.sent = now;
  n.order = ++order;
  n.transmissions = 1;
  n.flags |= TxNote::kInSentList;
  sent.push_back(f);
}

void TxQueue::mark_resent(Frame* f, Instant now) {
  TxNote& n = note_of(f);
  unlist(f);
  if (!n.has(TxNote::kRetransmitted) && n.has(TxNote::kLost)) resent_bytes += n.seq_length();
  n.sent = now;
  n.order = ++order;
  if (n.transmissions < UINT16_MAX) ++n.transmissions;
  n.flags |= TxNote::kEverResent | TxNote::kInSentList;
  if (n.has(TxNote::kLost)) n.flags |= TxNote::kRetransmitted;
  sent.push_back(f);
}

void TxQueue::mark_lost(Frame* f) {
  TxNote& n = note_of(f);
  MR_DASSERT(!n.has(TxNote::kSacked));
  if (n.has(TxNote::kInLostList)) return;
  unlist(f);
  if (n.has(TxNote::kRetransmitted)) {
    resent_bytes -= n.seq_length();
    n.flags &= uint16_t(~TxNote::kRetransmitted);
  }
  if (!n.has(TxNote::kLost)) {
    lost_bytes += n.seq_length();
    n.flags |= TxNote::kLost;
  }
  n.flags |= TxNote::kInLostList;
  lost_total_bytes += n.seq_length();
  lost.push_back(f);
}

void TxQueue::requeue_lost(Frame* f) {
  MR_DASSERT(note_of(f).has(TxNote::kInLostList));
  lost.remove(f);
  lost.push_back(f);
}

void TxQueue::mark_sacked(Frame* f) {
  TxNote& n = note_of(f);
  if (n.has(TxNote::kSacked)) return;
  unlist(f);
  if (n.has(TxNote::kLost)) lost_bytes -= n.seq_length();
  if (n.has(TxNote::kRetransmitted)) resent_bytes -= n.seq_length();
  n.flags &= uint16_t(~(TxNote::kLost | TxNote::kRetransmitted));
  n.flags |= TxNote::kSacked;
  sacked_bytes += n.seq_length();
  ++sacked_frames;
}

void TxQueue::unmark_lost() {
  // Those still waiting were sent before everything on the other list: they go in front of it.
  Frame* f = lost.tail;
  while (f) {
    Frame* before = note_of(f).list_prev;
    TxNote& n = note_of(f);
    n.flags = uint16_t((n.flags & ~TxNote::kInLostList) | TxNote::kInSentList);
    n.list_prev = nullptr;
    n.list_next = sent.head;
    (sent.head ? note_of(sent.head).list_prev : sent.tail) = f;
    sent.head = f;
    f = before;
  }
  lost = NoteList{};
  for (f = head; f != unsent; f = f->next) {
    note_of(f).flags &= uint16_t(~(TxNote::kLost | TxNote::kRetransmitted));
  }
  lost_bytes = resent_bytes = 0;
}

Frame* TxQueue::pop_head() {
  Frame* f = head;
  TxNote& n = note_of(f);
  const uint32_t length = n.seq_length();
  if (f == unsent) {
    unsent = f->next;
    unsent_bytes -= length;
  } else {
    unlist(f);
    if (n.has(TxNote::kSacked)) sacked_bytes -= length, --sacked_frames;
    if (n.has(TxNote::kLost)) lost_bytes -= length;
    if (n.has(TxNote::kRetransmitted)) resent_bytes -= length;
  }
  head = f->next;
  (head ? note_of(head).prev : tail) = nullptr;
  bytes -= length;
  --frames;
  return f;
}

void TxQueue::trim_head(uint32_t n_bytes) {
  TxNote& n = note_of(head);
  MR_DASSERT(n_bytes <= n.length && head != unsent);
  if (n.has(TxNote::kSacked)) sacked_bytes -= n_bytes;
  if (n.has(TxNote::kLost)) lost_bytes -= n_bytes;
  if (n.has(TxNote::kRetransmitted)) resent_bytes -= n_bytes;
  n.seq += n_bytes;
  n.offset += n_bytes;
  n.length -= n_bytes;
  n.flags &= uint16_t(~TxNote::kSummed);
  bytes -= n_bytes;
}

bool TxQueue::split(FramePool& pool, Frame* f, uint32_t keep) {
  TxNote& n = note_of(f);
  MR_DASSERT(keep > 0 && keep < n.length);
  Frame* rest = pool.alloc();
  if (!rest) return false;
  rest->length = n.length - keep;
  std::memcpy(rest->data(), f->chunk + n.offset + keep, rest->length);
  n.flags &= uint16_t(~TxNote::kSummed);
  TxNote& r = note_of(rest);
  r = n;
  r.offset = rest->offset;
  r.length = rest->length;
  r.seq = n.seq + keep;
  r.prev = f;
  n.length = keep;
  n.flags &= uint16_t(~(TxNote::kFin | TxNote::kPush | TxNote::kEndOfRecord));
  rest->next = f->next;
  (rest->next ? note_of(rest->next).prev : tail) = rest;
  f->next = rest;
  if (n.has(TxNote::kInSentList)) sent.insert_after(f, rest);
  if (n.has(TxNote::kInLostList)) lost.insert_after(f, rest);
  if (n.has(TxNote::kSacked)) ++sacked_frames;
  ++frames;
  return true;
}

void TxQueue::release_all(FramePool& pool) {
  Frame* f = head;
  while (f) {
    Frame* next = f->next;
    f->next = nullptr;
    pool.release(f);
    f = next;
  }
  *this = TxQueue{};
}

}  // namespace millrace::tcp
