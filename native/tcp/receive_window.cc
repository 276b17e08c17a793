// SPDX-License-Identifier: MIT
// The window that is offered, the tuning of the buffer behind it, and delayed acknowledgements.
#include <algorithm>

#include "tcp/emit.h"
#include "tcp/receive.h"
#include "tcp/timers.h"

namespace millrace::tcp {

namespace {

// So much may be acknowledged by one ACK that was held; a kernel that merges segments does the
// same.
constexpr uint32_t kHeldSegments = 16;
constexpr uint32_t kAtoMinUs = 40'000;     // Linux TCP_ATO_MIN
constexpr uint32_t kDelayMaxUs = 200'000;  // Linux TCP_DELACK_MAX; RFC 9293 3.8.6.3 allows 500 ms
constexpr uint8_t kQuickAcks = 16;

// Under memory pressure windows do not open beyond a few segments (as Linux below tcp_mem): the
// pool is everybody's, and the readers of a few connections must not be able to starve the rest.
uint32_t free_bytes(const Core& core, const Connection& c) {
  const Receiver& r = c.rcv;
  uint32_t buffer = r.buffer_bytes;
  if (core.pool.available() < core.pool.capacity() / 8) {
    buffer = std::min<uint32_t>(buffer, std::max<uint32_t>(4u * r.peer_segment_bytes, 8192));
  }
  const uint32_t room = buffer > r.queued_bytes ? buffer - r.queued_bytes : 0;
  return r.clamp_bytes ? std::min(room, r.clamp_bytes) : room;
}

void tune_buffer(Core& core, Instant now, Connection& c) {
  Receiver& r = c.rcv;
  if (r.buffer_fixed || r.rtt_us == 0) return;
  if (now - r.tune_at < Duration::micros(r.rtt_us)) return;
  // Dynamic right-sizing: the user took `read` bytes in a round trip, so the sender could have had
  // twice as much in flight; the term in proportion to its growth keeps ahead of slow start.
  const uint32_t read = uint32_t(r.consumed - r.tune_seq);
  if (read > r.tune_space_bytes) {
    uint64_t target = 2ull * read + 16ull * r.peer_segment_bytes;
    target += target * (read - r.tune_space_bytes) / std::max<uint32_t>(r.tune_space_bytes, 1);
    target = std::min<uint64_t>(target, core.options.receive_buffer_max_bytes);
    const bool scarce = core.pool.available() < core.pool.capacity() / 4;
    if (target > r.buffer_bytes && !scarce) r.buffer_bytes = uint32_t(target);
    r.tune_space_bytes = read;
  }
  r.tune_seq = r.consumed;
  r.tune_at = now;
}

void sample_receiver_rtt(Instant now, Connection& c, const Segment& s) {
  Receiver& r = c.rcv;
  uint32_t sample_us = 0;
  if (c.timestamps && s.options.has_timestamps && s.options.ts_echo != 0) {
    const uint32_t ms = ts_now(now, c.ts_offset) - s.options.ts_echo;
    if (ms < 60'000) sample_us = std::max<uint32_t>(ms, 1) * 1000;
  } else if (r.nxt >= r.rtt_seq) {  // a whole window has come since the mark
    if (r.rtt_at.ns != 0) {
      sample_us = uint32_t(std::clamp<int64_t>((now - r.rtt_at).micros(), 1000, 60'000'000));
    }
    r.rtt_seq = r.nxt + std::max<uint32_t>(offered_window(c), 1);
    r.rtt_at = now;
  }
  if (sample_us) r.rtt_us = r.rtt_us ? r.rtt_us - r.rtt_us / 8 + sample_us / 8 : sample_us;
}

void hold_ack(Core& core, Connection& c) {
  if (!static_cast<ListNode<HeldTag>&>(c).linked()) core.held_acks.push_back(&c);
}

// Nothing is to be waited for but what the user may answer in this turn.
void ack_this_turn(Core& core, Instant now, Connection& c) {
  if (core.options.hold_acks) {
    hold_ack(core, c);
  } else {
    send_ack(core, now, c);
  }
}

void schedule_ack(Core& core, Instant now, Connection& c) {
  Receiver& r = c.rcv;
  if (r.ato_us == 0) {  // never any data, only a FIN: there is no rhythm to wait for
    ack_this_turn(core, now, c);
    return;
  }
  uint32_t delay_us = std::max(r.ato_us, kAtoMinUs);
  if (delay_us > kAtoMinUs) {
    uint32_t most_us = kDelayMaxUs;
    if (c.rtt.valid()) most_us = std::min(most_us, std::max(c.rtt.srtt_us(), kAtoMinUs));
    delay_us = std::min(delay_us, most_us);
  }
  const Instant at = now + Duration::micros(delay_us);
  if (c.ack_at.is_never() || at < c.ack_at) set_deadline(core, c, c.ack_at, at);
}

}  // namespace

uint16_t announce_window(const Core& core, Connection& c) {
  Receiver& r = c.rcv;
  // RFC 9293 3.8.6.2.2: the right edge moves only by something worth a segment, and never back.
  const uint32_t worth = std::min<uint32_t>(r.peer_segment_bytes, r.buffer_bytes / 2);
  Seq limit = r.nxt + free_bytes(core, c);
  if (limit - r.edge < int32_t(worth)) limit = wire::seq_max(r.edge, r.nxt);
  const uint32_t window = uint32_t(limit - r.nxt);
  const uint8_t shift = c.scaling ? c.rcv.shift : 0;
  uint32_t field = std::min<uint32_t>(window >> shift, 65535);
  // Rounded up, so that the edge does not move back by less than the scale's unit (RFC 7323 2.4),
  // but only into space that is there: with segments smaller than the unit the window would
  // otherwise never close.
  const bool room_for_unit = ((field + 1) << shift) <= free_bytes(core, c);
  if (r.nxt + (field << shift) < r.edge && field < 65535 && room_for_unit) ++field;
  const Seq edge = r.nxt + (field << shift);
  r.edge = wire::seq_max(r.edge, edge);
  return uint16_t(field);
}

void note_ack_sent(Instant, Connection& c) {
  Receiver& r = c.rcv;
  static_cast<ListNode<HeldTag>&>(c).unlink();
  r.acked = r.nxt;
  r.ack_now = false;
  r.ack_pending = false;
  r.ack_held_again = false;
  r.pushed = 0;
  if (!c.blocked) c.ack_at = Instant::never();
  if (r.quick_acks > 0 && --r.quick_acks == 0) r.ato_us = kAtoMinUs;
}

void enter_quick_ack(Connection& c, uint8_t segments) {
  Receiver& r = c.rcv;
  const uint32_t window_segments =
      std::max<uint32_t>(offered_window(c) / (2u * std::max<uint16_t>(r.peer_segment_bytes, 1)), 2);
  const uint8_t quick = uint8_t(std::min<uint32_t>(segments, window_segments));
  r.quick_acks = std::max(r.quick_acks, quick);
  r.interactive = false;
  r.ato_us = kAtoMinUs;
}

namespace {

// Linux's tcp_measure_rcv_mss(): how large the peer's full segments are, and which segment is
// rather the end of a write.
void measure_segment(Connection& c, const Segment& s) {
  Receiver& r = c.rcv;
  const uint32_t options = c.timestamps ? wire::kTcpTimestampBytes : 0;
  const uint16_t last = r.last_segment_bytes;
  r.last_segment_bytes = 0;
  if (s.length >= r.peer_segment_bytes) {
    // Several that were merged on the way are no larger one than we have asked for.
    const uint32_t most = announced_mss(c.path, c.snd.mss_max_bytes);
    r.peer_segment_bytes = uint16_t(std::max<uint32_t>(std::min(s.length, most), 1));
    if (s.has(wire::kTcpPsh)) r.pushed = std::max<uint8_t>(r.pushed, 1);
    return;
  }
  const bool whole = !s.has(wire::kTcpPsh | wire::kTcpFin | wire::kTcpUrg);
  if (s.length + options >= 536 || (whole && s.length + options >= 88)) {
    r.last_segment_bytes = uint16_t(s.length);
    if (s.length == last) {  // twice the same: that is what a full one has become
      r.peer_segment_bytes = uint16_t(s.length);
      return;
    }
  }
  r.pushed = r.pushed ? 2 : 1;
}

// The user has read: what is acknowledged at once then (Linux's tcp_cleanup_rbuf()).
bool ack_when_read(const Connection& c) {
  const Receiver& r = c.rcv;
  if (!r.ack_pending) return false;
  if (r.nxt - r.acked > int32_t(r.peer_segment_bytes)) return true;
  return r.queued_bytes == 0 && (r.pushed == 2 || (r.pushed == 1 && !r.interactive));
}

}  // namespace

void note_data_received(Core&, Instant now, Connection& c, const Segment& s) {
  Receiver& r = c.rcv;
  r.ack_pending = true;
  measure_segment(c, s);
  if (s.length >= r.peer_segment_bytes / 2u) sample_receiver_rtt(now, c, s);
  if (r.ato_us == 0) {  // the first data of the connection
    enter_quick_ack(c, kQuickAcks);
  } else {
    const int64_t gap_us = (now - r.last_data_at).micros();
    const int64_t rto_us = c.rtt.rto_us(120'000'000);
    if (gap_us <= kAtoMinUs / 2) {
      r.ato_us = r.ato_us / 2 + kAtoMinUs / 2;
    } else if (gap_us < r.ato_us) {
      r.ato_us = uint32_t(std::min<int64_t>(r.ato_us / 2 + gap_us, rto_us));
    } else if (gap_us > rto_us) {
      // The sender was idle for long: it is in slow start again and needs every ACK.
      const bool interactive = r.interactive;
      enter_quick_ack(c, kQuickAcks);
      r.interactive = interactive;
    }
  }
  r.last_data_at = now;
}

void note_data_sent(Core&, Instant now, Connection& c) {
  Receiver& r = c.rcv;
  if (r.last_data_at.ns != 0 && now - r.last_data_at < Duration::micros(r.ato_us)) {
    r.interactive = true;
  }
}

void acknowledge(Core& core, Instant now, Connection& c) {
  Receiver& r = c.rcv;
  if (!r.ack_now && !r.ack_pending) return;
  const int32_t waiting_bytes = r.nxt - r.acked;
  const bool second = waiting_bytes > int32_t(r.peer_segment_bytes);  // RFC 5681 4.2
  // What arrives out of order, fills a gap or ends the stream is answered at once (ack_now).
  const bool may_hold = core.options.hold_acks && !r.ack_now &&
                        waiting_bytes <= int32_t(kHeldSegments * r.peer_segment_bytes);
  if (may_hold && (second || (r.quick_acks > 0 && !r.interactive))) {
    hold_ack(core, c);
    return;
  }
  if (r.ack_now || second || (r.quick_acks > 0 && !r.interactive)) {
    send_ack(core, now, c);
  } else {
    schedule_ack(core, now, c);
  }
}

void after_read(Core& core, Instant now, Connection& c) {
  tune_buffer(core, now, c);
  if (c.state != State::kClosed && ack_when_read(c)) {
    ack_this_turn(core, now, c);
    return;
  }
  if (c.rcv.fin_received || !c.can_receive()) return;
  const uint32_t offered = offered_window(c);
  // Without window scaling the field is the limit: what it cannot say must not be announced again
  // and again, the peer would take the repetitions for duplicate ACKs.
  const uint32_t sayable = 65535u << (c.scaling ? c.rcv.shift : 0);
  const uint32_t possible = std::min(free_bytes(core, c), sayable);
  const uint32_t worth = std::min<uint32_t>(2u * c.rcv.peer_segment_bytes, c.rcv.buffer_bytes / 2);
  // An update only when the peer's idea of the window at least doubles by it (Linux).
  if (possible >= 2ull * offered && possible - offered >= worth) ack_this_turn(core, now, c);
}

}  // namespace millrace::tcp
