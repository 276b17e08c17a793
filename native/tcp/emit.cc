// SPDX-License-Identifier: MIT
#include "tcp/emit.h"

#include <algorithm>
#include <cstring>

#include "tcp/receive.h"
#include "tcp/timers.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"

namespace millrace::tcp {

namespace {

constexpr Duration kChallengeInterval = Duration::millis(500);
constexpr uint32_t kPayloadMin = 16;  // a path of 68 bytes (RFC 791 3.2), less timestamps

uint32_t ip_header_bytes(const wire::IpAddress& remote) {
  return remote.is_v4() ? 20 : 40;
}

// `payload_sum`: of what follows the header.
void finish_checksum(Frame* f, uint32_t header_bytes, uint16_t payload_sum,
                     const wire::FlowKey& key) {
  uint64_t sum = payload_sum + wire::checksum_pseudo(key.local.address, key.remote.address,
                                                     wire::kTcpProtocol, f->length);
  sum = wire::checksum_partial(f->bytes().first(header_bytes), sum);
  const uint16_t checksum = wire::checksum_finish(sum);
  std::memcpy(f->data() + wire::kTcpChecksumOffset, &checksum, 2);
}

// Builds the header in front of `f`'s payload and hands the frame to the Internet layer. `queued`:
// whose payload that is, null when there is none.
Error transmit(Core& core, Instant now, const wire::FlowKey& key, net::Path& path, Frame* f,
               wire::TcpHeader& header, const wire::TcpOptions& options,
               const net::SendOptions& how, Frame* queued = nullptr) {
  header.source_port = key.local.port;
  header.destination_port = key.remote.port;
  header.header_bytes = uint8_t(wire::kTcpHeaderBytes + wire::tcp_options_bytes(options));
  build_tcp_header(f->push_front(header.header_bytes), header, options);
  f->segment_bytes = 0;
  if (core.ip.offloads(path).checksums) {
    f->flags = Frame::kChecksumWanted;
  } else {
    f->flags = 0;
    finish_checksum(f, header.header_bytes, queued ? payload_sum_of(queued) : 0, key);
  }
  ++core.counters.tcp_sent;
  const Error error = core.ip.send(now, path, f, how);
  if (error) ++core.counters.tcp_send_refused;
  return error;
}

// `ecn`: the two bits of the IP header that are not the user's.
net::SendOptions how_of(const Connection& c, uint8_t ecn = 0) {
  const uint8_t traffic_class = uint8_t((c.traffic_class & ~kIpEcnMask) | ecn);
  return {.protocol = wire::kTcpProtocol, .ttl = c.ttl, .traffic_class = traffic_class};
}

void add_timestamps(Instant now, const Connection& c, wire::TcpOptions& options) {
  options.has_timestamps = true;
  options.ts_value = ts_now(now, c.ts_offset);
  options.ts_echo = c.rcv.ts_recent;
}

// RFC 2018 4: as many blocks as fit, the newest first; RFC 2883: a duplicate before them.
void add_sack(Connection& c, wire::TcpOptions& options, uint32_t room_bytes) {
  Receiver& r = c.rcv;
  if (!r.dsack_pending && r.sack_count == 0) return;
  if (room_bytes < 12) return;
  const uint32_t most =
      std::min<uint32_t>((room_bytes - 4) / 8, options.has_timestamps ? 3 : wire::kSackBlocksMax);
  if (r.dsack_pending) {
    options.sack[options.sack_count++] = r.dsack;
    r.dsack_pending = false;
  }
  for (uint8_t i = 0; i < r.sack_count && options.sack_count < most; ++i) {
    options.sack[options.sack_count++] = r.sacks[i];
  }
}

Error transmit_on(Core& core, Instant now, Connection& c, Frame* f, Seq seq, uint8_t flags,
                  uint32_t payload_bytes, Frame* queued = nullptr, uint8_t ecn = 0) {
  wire::TcpHeader header;
  wire::TcpOptions options;
  header.seq = seq;
  header.flags = flags;
  if (c.ecn.echo && !(flags & wire::kTcpRst)) header.flags |= wire::kTcpEce;
  if (c.timestamps) add_timestamps(now, c, options);
  if (flags & wire::kTcpAck) {
    if (c.sack) {
      const uint32_t used = wire::tcp_options_bytes(options);
      const uint32_t room = payload_bytes == 0                ? 40 - used
                            : payload_bytes < c.snd.mss_bytes ? c.snd.mss_bytes - payload_bytes
                                                              : 0;
      add_sack(c, options, std::min(room, 40 - used));
    }
    header.ack = c.rcv.nxt;
    header.window = announce_window(core, c);
    note_ack_sent(now, c);
  }
  ++c.stats.segments_sent;
  const uint32_t seen_mtu = c.path.mtu_bytes;
  const Error error =
      transmit(core, now, c.key, c.path, f, header, options, how_of(c, ecn), queued);
  if (c.path.mtu_bytes != seen_mtu) update_mss(core, c);
  return error;
}

// What the user hears should the connection time out: that there is no way, not that a ring was
// full.
void note_refusal(Connection& c, Error error) {
  if (error && error.code != EMSGSIZE && error.code != ENOBUFS) c.soft_error = uint16_t(error.code);
}

Frame* alloc_control(Core& core) {
  Frame* f = core.pool.alloc();
  if (!f) ++core.counters.tcp_no_memory;
  return f;
}

}  // namespace

uint16_t first_window(uint32_t space_bytes, uint32_t clamp_bytes, uint32_t mss_bytes) {
  uint32_t window = std::min<uint32_t>(space_bytes, 65535);
  if (clamp_bytes) window = std::min(window, clamp_bytes);
  if (window > mss_bytes) window -= window % mss_bytes;
  return uint16_t(window);
}

uint16_t syn_window(const Connection& c) {
  const uint32_t mss = announced_mss(c.path, c.snd.mss_max_bytes);
  const bool timestamps = c.state == State::kSynReceived && c.timestamps;
  return first_window(c.rcv.buffer_bytes, c.rcv.clamp_bytes,
                      mss - (timestamps ? wire::kTcpTimestampBytes : 0));
}

uint16_t announced_mss(const net::Path& path, uint16_t mss_max_bytes) {
  const uint32_t overhead = ip_header_bytes(path.remote) + wire::kTcpHeaderBytes;
  const uint32_t mss =
      std::clamp<uint32_t>(path.mtu_bytes, overhead + kPayloadMin, 65535) - overhead;
  return uint16_t(mss_max_bytes ? std::min<uint32_t>(mss, mss_max_bytes) : mss);
}

namespace {

// Linux: no segment longer than half of the largest window that the peer ever offered, so that two
// fit and the ACK of the first comes in time; peers with tiny windows get them whole.
uint32_t bound_to_half_window(const Connection& c, uint32_t mss) {
  const uint32_t most = c.snd.window_max_bytes;
  const uint32_t cutoff = most > 536 ? most / 2 : most;
  if (cutoff == 0 || mss <= cutoff) return mss;
  const uint32_t options = c.timestamps ? wire::kTcpTimestampBytes : 0;
  return std::max<uint32_t>(cutoff, 48 - options);
}

}  // namespace

void update_mss(Core&, Connection& c) {
  uint32_t mtu = c.path.mtu_bytes;
  if (c.snd.mtu_low_bytes) mtu = std::min<uint32_t>(mtu, c.snd.mtu_low_bytes);
  const uint32_t overhead = ip_header_bytes(c.path.remote) + wire::kTcpHeaderBytes;
  uint32_t mss = mtu > overhead ? mtu - overhead : 0;
  mss = std::min<uint32_t>(mss, c.snd.peer_mss_bytes);
  if (c.snd.mss_max_bytes) mss = std::min<uint32_t>(mss, c.snd.mss_max_bytes);
  mss -= std::min(mss, c.timestamps ? wire::kTcpTimestampBytes : 0);
  mss = bound_to_half_window(c, mss);
  const uint32_t before = c.window.mss_bytes;
  c.snd.mss_bytes = uint16_t(std::clamp<uint32_t>(mss, kPayloadMin, 65000));
  c.window.mss_bytes = c.snd.mss_bytes;
  // Linux counts the window in segments: it grows with them.
  if (before && c.snd.mss_bytes > before && c.window.cwnd_bytes) {
    c.window.cwnd_bytes = uint32_t(uint64_t(c.window.cwnd_bytes) * c.snd.mss_bytes / before);
  }
}

namespace {

// What cannot be behind the first segment of a packet that a device cuts: it sets PSH and FIN on
// the last one only, and what it does with CWR is its own affair.
void open_run(Core& core, Connection& c, Frame* frame, uint8_t flags, SegmentRun& run) {
  const TxNote& n = note_of(frame);
  const uint8_t apart = flags & (wire::kTcpPsh | wire::kTcpFin | wire::kTcpCwr);
  const SendOffloads& offloads = core.ip.offloads(c.path);
  run.head = nullptr;
  if (!(offloads.segments_v4 || offloads.segments_v6) || apart) return;
  if (n.length != c.snd.mss_bytes) return;
  const uint32_t options = c.timestamps ? wire::kTcpTimestampBytes : 0;
  // A full segment has no room for SACK blocks.
  uint8_t* header = frame->chunk + n.offset - wire::kTcpHeaderBytes - options;
  MR_DASSERT(header[12] >> 4 == (wire::kTcpHeaderBytes + options) / 4);
  run = {frame, header + wire::kTcpFlagsOffset, n.end(), uint16_t(n.length)};
}

bool join_run(Core& core, Connection& c, Frame* frame, SegmentRun& run) {
  const TxNote& n = note_of(frame);
  if (!run.head || n.seq != run.end || frame->tx_pending) return false;
  if (n.length == 0 || n.length > run.segment_bytes) return false;
  frame->offset = n.offset;
  frame->length = n.length;
  if (!core.ip.append(c.path, run.head, frame, run.segment_bytes)) return false;
  ++core.counters.tcp_sent;
  ++c.stats.segments_sent;
  if (n.has(TxNote::kFin)) *run.flags |= wire::kTcpFin;
  if (n.has(TxNote::kPush)) *run.flags |= wire::kTcpPsh;
  run.end = n.end();
  if (n.has(TxNote::kFin | TxNote::kPush) || n.length < run.segment_bytes) run.head = nullptr;
  return true;
}

}  // namespace

bool send_frame(Core& core, Instant now, Connection& c, Frame* frame, SegmentRun* run) {
  if (run && join_run(core, c, frame, *run)) return true;
  TxNote& n = note_of(frame);
  Frame* out = frame;
  // Still in a ring, its bytes must not change; and the last bytes of a full frame leave no room
  // for the padding of a short packet.
  if (frame->tx_pending || frame->capacity - n.offset < wire::kEthernetFrameMinBytes) {
    out = alloc_control(core);
    if (!out) return false;
    out->length = n.length;
    std::memcpy(out->data(), frame->chunk + n.offset, n.length);
  } else {
    out->offset = n.offset;
    out->length = n.length;
  }
  uint8_t flags = wire::kTcpAck;
  if (n.has(TxNote::kFin)) flags |= wire::kTcpFin;
  if (n.has(TxNote::kPush)) flags |= wire::kTcpPsh;
  // RFC 3168 6.1.2, 6.1.5: only new data can be marked, and only it tells of a cut.
  const bool markable = c.ecn.active && n.length > 0 && n.transmissions == 0;
  if (markable && c.ecn.reduced) flags |= wire::kTcpCwr;
  const Error error =
      transmit_on(core, now, c, out, n.seq, flags, n.length, frame, markable ? kIpEct0 : 0);
  if (markable && !error) c.ecn.reduced = false;
  if (run && !error && out == frame) open_run(core, c, frame, flags, *run);
  if (out != frame) core.pool.release(out);
  // A full ring is a matter of microseconds and says nothing of the network: the frame waits here.
  // Any other refusal is like a loss on the wire: the timers repair it, and should the path be dead
  // they find out.
  if (error.code == ENOBUFS) return false;
  note_refusal(c, error);
  return true;
}

bool send_control(Core& core, Instant now, Connection& c, Seq seq, uint8_t flags) {
  Frame* f = alloc_control(core);
  if (!f) return false;
  const Error error = transmit_on(core, now, c, f, seq, flags, 0);
  core.pool.release(f);
  return !error;
}

void send_ack(Core& core, Instant now, Connection& c) {
  Frame* f = alloc_control(core);
  if (!f) {
    c.rcv.ack_pending = true;
    set_deadline(core, c, c.ack_at, now + Duration::millis(40));
    return;
  }
  const Error error = transmit_on(core, now, c, f, c.snd.nxt, wire::kTcpAck, 0);
  core.pool.release(f);
  if (error.code == ENOBUFS) {
    c.rcv.ack_pending = true;
    set_deadline(core, c, c.ack_at, now + Duration::millis(1));
  }
}

void send_reset(Core& core, Instant now, Connection& c) {
  ++core.counters.tcp_resets_sent;
  c.rcv.dsack_pending = false;
  c.rcv.sack_count = 0;
  // The peer takes only an exact RST (RFC 5961 3): the first number it has not seen acknowledged by
  // us is SND.NXT, unless its window shrank meanwhile.
  (void)send_control(core, now, c, c.snd.nxt, wire::kTcpRst | wire::kTcpAck);
}

bool challenge_allowed(Core& core, Instant now, Connection& c) {
  if (c.challenged && now - c.challenge_at < kChallengeInterval) {
    ++core.counters.tcp_challenge_acks_skipped;
    return false;
  }
  c.challenged = true;
  c.challenge_at = now;
  return true;
}

void send_challenge_ack(Core& core, Instant now, Connection& c) {
  if (!challenge_allowed(core, now, c)) return;
  ++core.counters.tcp_challenge_acks;
  send_ack(core, now, c);
}

void send_syn(Core& core, Instant now, Connection& c) {
  Frame* f = alloc_control(core);
  if (!f) return;
  wire::TcpHeader header;
  wire::TcpOptions options;
  const bool answer = c.state == State::kSynReceived;
  header.seq = c.snd.iss;
  header.flags = answer ? wire::kTcpSyn | wire::kTcpAck : wire::kTcpSyn;
  header.flags |= ecn_syn_flags(core, c);
  header.ack = answer ? c.rcv.nxt : Seq();
  const StackOptions& o = core.options;
  options.has_mss = true;
  options.mss_bytes = announced_mss(c.path, c.snd.mss_max_bytes);
  options.sack_permitted = answer ? c.sack : o.sack;
  options.has_window_scale = answer ? c.scaling : o.window_scaling;
  options.window_scale = c.rcv.shift;
  if (answer ? c.timestamps : o.timestamps) add_timestamps(now, c, options);
  uint32_t window = syn_window(c);
  if (answer) {
    // Repeated after an ACK, or for a path that has become narrower: what was offered stays (RFC
    // 9293 3.8.6).
    c.rcv.edge = wire::seq_max(c.rcv.edge, c.rcv.nxt + window);
    window = std::min<uint32_t>(uint32_t(c.rcv.edge - c.rcv.nxt), 65535);
    note_ack_sent(now, c);
  }
  header.window = uint16_t(window);
  ++c.stats.segments_sent;
  const Error error = transmit(core, now, c.key, c.path, f, header, options, how_of(c));
  note_refusal(c, error);
  core.pool.release(f);
}

bool send_syn_ack(Core& core, Instant now, const wire::FlowKey& key, const Listener& l,
                  const Handshake& h, uint32_t ts_value) {
  Result<net::Path> path = core.ip.resolve(key.local.address, key.remote.address);
  if (!path) return false;
  Frame* f = alloc_control(core);
  if (!f) return false;
  wire::TcpHeader header;
  wire::TcpOptions options;
  header.seq = h.iss;
  header.ack = h.irs + 1;
  header.flags = wire::kTcpSyn | wire::kTcpAck | (h.ecn ? wire::kTcpEce : 0);
  header.window = h.window_bytes;
  options.has_mss = true;
  options.mss_bytes = announced_mss(*path, l.options.mss_max_bytes);
  options.sack_permitted = h.sack;
  options.has_window_scale = h.scaling;
  options.window_scale = h.shift;
  options.has_timestamps = h.timestamps;
  options.ts_value = ts_value;
  options.ts_echo = h.ts_recent;
  const net::SendOptions how{.protocol = wire::kTcpProtocol,
                             .ttl = l.options.ttl,
                             .traffic_class = uint8_t(l.options.traffic_class & ~kIpEcnMask)};
  (void)transmit(core, now, key, *path, f, header, options, how);
  core.pool.release(f);
  return true;
}

void send_syn_ack(Core& core, Instant now, HalfOpen& h) {
  if (send_syn_ack(core, now, h.key, *h.listener, h, ts_now(now, h.ts_offset))) h.sent = now;
}

void send_half_open_ack(Core& core, Instant now, HalfOpen& h) {
  if (h.answered.ns != 0 && now - h.answered < kChallengeInterval) {
    ++core.counters.tcp_challenge_acks_skipped;
    return;
  }
  Result<net::Path> path = core.ip.resolve(h.key.local.address, h.key.remote.address);
  if (!path) return;
  Frame* f = alloc_control(core);
  if (!f) return;
  h.answered = now;
  ++core.counters.tcp_challenge_acks;
  wire::TcpHeader header;
  wire::TcpOptions options;
  header.seq = h.iss + 1;
  header.ack = h.irs + 1;
  header.flags = wire::kTcpAck;
  header.window = uint16_t(h.window_bytes >> (h.scaling ? h.shift : 0));
  options.has_timestamps = h.timestamps;
  options.ts_value = ts_now(now, h.ts_offset);
  options.ts_echo = h.ts_recent;
  (void)transmit(core, now, h.key, *path, f, header, options, {.protocol = wire::kTcpProtocol});
  core.pool.release(f);
}

void answer_with_reset(Core& core, Instant now, const wire::FlowKey& key, const Segment& s) {
  if (s.has(wire::kTcpRst)) return;
  Result<net::Path> path = core.ip.resolve(key.local.address, key.remote.address);
  if (!path) return;
  Frame* f = alloc_control(core);
  if (!f) return;
  wire::TcpHeader header;
  if (s.has(wire::kTcpAck)) {
    header.seq = s.ack;
    header.flags = wire::kTcpRst;
  } else {
    header.ack = s.end();
    header.flags = wire::kTcpRst | wire::kTcpAck;
  }
  ++core.counters.tcp_resets_sent;
  (void)transmit(core, now, key, *path, f, header, {}, {.protocol = wire::kTcpProtocol});
  core.pool.release(f);
}

}  // namespace millrace::tcp
