// SPDX-License-Identifier: MIT
// Payload and FIN of acceptable segments: RFC 9293 3.10.7.4, seventh and eighth. Urgent data stays
// in the stream where it is (RFC 6093 6: a receiver should not take it out; Node has no interface
// for it).
#include <algorithm>
#include <cstring>

#include "tcp/emit.h"
#include "tcp/lifecycle.h"
#include "tcp/receive.h"

namespace millrace::tcp {

namespace {

constexpr uint32_t kFramesForAcks = 4;

// Cuts what lies outside [rcv.nxt, right edge) off the segment. False when nothing is left.
bool trim_to_window(Core& core, Connection& c, Segment& s) {
  Receiver& r = c.rcv;
  if (s.seq < r.nxt) {
    const uint32_t old = std::min<uint32_t>(uint32_t(r.nxt - s.seq), s.length);
    note_duplicate(c, s.seq, s.seq + old);
    s.frame->pop_front(old);
    s.seq += old;
    s.length -= old;
  }
  const int32_t room = r.edge - s.seq;
  if (int32_t(s.length) > room) {
    s.length = room > 0 ? uint32_t(room) : 0;
    s.frame->trim_to(s.length);
    s.flags &= uint8_t(~wire::kTcpFin);
    ++core.counters.tcp_out_of_window;
    r.ack_now = true;
  }
  return s.length > 0 || s.has(wire::kTcpFin);
}

// The last frames are for connections that hold few: who has much unread waits until the peer sends
// again. The very last ones are nobody's: without a frame to receive into, no acknowledgement would
// come that frees what waits in send queues.
bool starving(const Core& core, const Receiver& r) {
  const uint32_t available = core.pool.available();
  if (available < core.pool.capacity() / 32 && r.queue.size() > 8) return true;
  return available <= kFramesForAcks;
}

void fin_reached(Core& core, Instant now, Connection& c) {
  Receiver& r = c.rcv;
  r.nxt += 1;
  r.fin_received = true;
  r.dsack_pending = false;  // a FIN ends all SACKing (Linux)
  if (c.state == State::kEstablished) {
    // Our own FIN may soon carry the ACK.
    r.ack_pending = true;
    r.interactive = true;
  } else {
    r.ack_now = true;
  }
  release_reassembly(core, c);
  c.announced = true;
  peer_closed(core, now, c);
}

}  // namespace

void receive_payload(Core& core, Instant now, Connection& c, Segment& s) {
  Receiver& r = c.rcv;
  if (s.length == 0 && !s.has(wire::kTcpFin)) return;
  const bool wholly_old = s.end() <= r.nxt || !c.can_receive() || r.fin_received;
  take_ecn_data(core, c, s, !wholly_old && s.length > 0);
  if (!c.can_receive() || r.fin_received) {
    // Everything up to the FIN has come: this can only be a repetition, or nonsense.
    if (s.seq >= r.nxt) return;
    if (s.length) note_duplicate(c, s.seq, s.seq + s.length);
    ++core.counters.tcp_duplicates;
    r.ack_now = true;
    return;
  }
  if (s.end() <= r.nxt) {  // wholly old: the ACK was lost or late
    ++core.counters.tcp_duplicates;
    note_duplicate(c, s.seq, s.end());
    enter_quick_ack(c, 2);
    r.ack_now = true;
    return;
  }
  if (!trim_to_window(core, c, s)) return;
  if (s.has(wire::kTcpFin)) {
    r.fin_known = true;
    r.fin_seq = s.seq + s.length;
  } else if (r.fin_known && s.seq + s.length > r.fin_seq) {
    return;  // data behind the FIN: nobody honest sends that
  }
  if (s.length) note_data_received(core, now, c, s);
  if (s.length) ++c.stats.data_segments_received;
  if (s.seq != r.nxt) {
    r.ack_now = true;  // RFC 5681 4.2: out of order
    if (s.length && core.memory_scarce()) {
      ++core.counters.tcp_memory_dropped;
    } else if (s.length) {
      reassemble(core, c, s);
    }
    return;
  }
  if (s.length && starving(core, r)) {
    ++core.counters.tcp_memory_dropped;
    r.ack_now = true;
    return;
  }
  if (s.length) {
    const bool gap = r.ooo_head != nullptr;
    r.nxt += s.length;
    c.stats.bytes_received += s.length;
    enqueue_in_order(core, c, s.frame);
    s.frame = nullptr;
    if (gap) {
      drain_reassembly(core, c);
      r.ack_now = true;  // RFC 5681 4.2: fills a gap
    }
    c.announced = true;
  }
  if (r.fin_known && r.nxt == r.fin_seq) {
    if (!s.has(wire::kTcpFin)) r.ack_now = true;  // it had come before what it was behind: a gap
    fin_reached(core, now, c);
  }
}

uint32_t copy_out(Core& core, Connection& c, std::span<uint8_t> out) {
  Receiver& r = c.rcv;
  uint32_t copied = 0;
  while (copied < out.size()) {
    Frame* f = r.queue.front();
    if (!f) break;
    const uint32_t n = std::min<uint32_t>(f->length, uint32_t(out.size()) - copied);
    std::memcpy(out.data() + copied, f->data(), n);
    copied += n;
    f->pop_front(n);
    if (f->length == 0) core.pool.release(r.queue.pop_front());
  }
  r.queued_bytes -= copied;
  r.consumed += copied;
  return copied;
}

void release_received(Core& core, Connection& c) {
  core.pool.release_all(c.rcv.queue);
  c.rcv.queued_bytes = 0;
  release_reassembly(core, c);
}

}  // namespace millrace::tcp
