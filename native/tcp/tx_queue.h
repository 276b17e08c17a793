// SPDX-License-Identifier: MIT
// The send queue of a connection: frames in sequence order, those in flight first. Each frame
// carries a note in its scratch; a frame in flight is moreover on one of two lists threaded through
// the notes: `sent`, ordered by the time of its latest transmission (what RACK walks), or `lost`,
// waiting to be sent again. A SACKed frame is on neither. So every step of loss recovery is O(1)
// per frame it changes.
#pragma once

#include <cstdint>

#include "base/time.h"
#include "packet/frame_pool.h"
#include "wire/seq.h"

namespace millrace::tcp {

using wire::Seq;

struct TxNote {
  enum Flag : uint16_t {
    kSacked = 1,
    kLost = 2,           // deemed lost, or was before its latest retransmission
    kRetransmitted = 4,  // a retransmission is in flight
    kEverResent = 8,     // an ACK for it is ambiguous (Karn)
    kFin = 16,
    kPush = 32,
    kInSentList = 64,
    kInLostList = 128,
    kEndOfRecord = 256,  // nothing is put behind its bytes into the same segment (MSG_EOR)
    kSummed = 512,       // payload_sum is that of the payload as it is now
  };
  Frame* list_prev;
  Frame* list_next;
  Frame* prev;  // in sequence order; Frame::next is the other way
  Instant sent;
  Seq seq;
  uint32_t offset;  // of the payload in the chunk
  uint32_t length;  // of the payload
  uint32_t
      order;  // of its latest transmission: many share one `sent`, because a turn has one `now`
  // Delivery rate (delivery_rate.h): when the first segment of the flight was sent, and how much
  // had been delivered when, as this one left.
  uint32_t first_sent_us;
  uint32_t delivered_us;
  uint32_t delivered_bytes;
  uint16_t transmissions;
  uint16_t flags;
  enum Rate : uint8_t { kRateUnknown, kRateKnown, kRateAppLimited } rate;
  uint16_t payload_sum;  // folded, for the checksum; see payload_sum_of()

  bool has(uint16_t flag) const { return (flags & flag) != 0; }
  uint32_t seq_length() const { return length + (has(kFin) ? 1 : 0); }
  Seq end() const { return seq + seq_length(); }
};

inline TxNote& note_of(Frame* f) {
  return f->scratch_as<TxNote>();
}

// The sum over the payload is remembered until the second transmission: with much in flight the
// bytes are long out of the caches by then, and reading them again would be most of what
// an ACK costs that finds a hole. Later ones sum anew: should the memory ever be wrong, the segment
// must not be so for good.
uint16_t payload_sum_of(Frame* f);

// A list of frames through TxNote::list_prev and list_next.
struct NoteList {
  Frame* head = nullptr;
  Frame* tail = nullptr;
  bool empty() const { return head == nullptr; }
  void push_back(Frame* f);
  void insert_after(Frame* position, Frame* f);
  void remove(Frame* f);
};

struct TxQueue {
  Frame* head = nullptr;
  Frame* tail = nullptr;
  Frame* unsent = nullptr;  // the first frame never sent; all after it neither
  NoteList sent;
  NoteList lost;
  uint32_t bytes = 0;  // sequence space from head to tail
  uint32_t unsent_bytes = 0;
  uint32_t frames = 0;
  uint32_t order = 0;  // transmissions so far
  // Of the frames in flight, in sequence space.
  uint32_t sacked_bytes = 0;
  uint32_t sacked_frames = 0;
  uint32_t lost_bytes = 0;
  uint32_t resent_bytes = 0;
  uint32_t lost_total_bytes = 0;  // ever deemed lost

  bool in_flight() const { return head != unsent; }
  uint32_t flight_bytes() const { return bytes - unsent_bytes; }
  // RFC 6675 "pipe": what is thought to be on the way now.
  uint32_t pipe_bytes() const { return flight_bytes() - sacked_bytes - lost_bytes + resent_bytes; }
  Frame* last_sent() const { return unsent ? note_of(unsent).prev : tail; }

  // Appends `f`, whose offset and length delimit the payload.
  void append(Frame* f, Seq seq, uint16_t flags);
  // How many bytes fill_tail() would move, of enough.
  uint32_t tail_room(uint32_t mss_bytes) const;
  // Moves bytes from the front of `f` into the unsent tail until that is a full segment; `end` goes
  // along.
  void fill_tail(Frame* f, uint32_t mss_bytes, Seq& end);
  // Moves bytes of the frames behind the unsent `f` into it until it is a full segment: pieces that
  // a small window left behind need not stay pieces.
  void fill_from_next(FramePool& pool, Frame* f, uint32_t mss_bytes);
  // Puts what follows `f` into it, if all of that is in flight, fits and was not SACKed: one
  // segment instead of several when they are sent again. Returns the frame that is no more, or
  // null.
  Frame* merge_next(FramePool& pool, Frame* f, uint32_t mss_bytes);
  void mark_sent(Frame* f, Instant now);
  void mark_resent(Frame* f, Instant now);
  void mark_lost(Frame* f);
  // Behind everything else that is lost and waits to be sent again.
  void requeue_lost(Frame* f);
  void mark_sacked(Frame* f);
  // Forgets that anything was lost; what was waiting is in flight again (a spurious recovery).
  void unmark_lost();
  // Takes the head frame out, whatever its marks.
  Frame* pop_head();
  // The head frame's first `n` bytes are acknowledged.
  void trim_head(uint32_t n);
  // Leaves `keep` payload bytes in `f` and puts the rest into a new frame behind it. False: no
  // memory.
  bool split(FramePool& pool, Frame* f, uint32_t keep);
  void release_all(FramePool& pool);

 private:
  void unlist(Frame* f);
};

}  // namespace millrace::tcp
