// SPDX-License-Identifier: MIT
#include "tcp/path_mtu.h"

#include <algorithm>

#include "tcp/emit.h"
#include "tcp/output.h"

namespace millrace::tcp {

namespace {

constexpr uint32_t kMtuFloorV6 = 1280;  // RFC 8200 5
// Linux's numbers.
constexpr uint32_t kProbeBaseMss = 1024;
constexpr uint32_t kProbeFloorMss = 48;
constexpr uint32_t kProbeThreshold = 8;  // a range this small is not worth another probe
constexpr Duration kReprobeAfter = Duration::seconds(600);
constexpr uint32_t kProbeWindowSegments = 11;
constexpr uint32_t kSegmentsBehind = 4;  // so many to follow, or nothing would show the loss

uint32_t headers_bytes(const Connection& c) {
  const uint32_t ip = c.path.remote.is_v4() ? 20 : 40;
  return ip + wire::kTcpHeaderBytes + (c.timestamps ? wire::kTcpTimestampBytes : 0);
}

void fail_probe(Connection& c) {
  Sender& s = c.snd;
  s.mtu_high_bytes = uint16_t(s.mtu_probe_bytes + headers_bytes(c) - 1);
  s.mtu_probe_bytes = 0;
}

}  // namespace

void follow_path(Core& core, Connection& c) {
  if (c.path.generation == core.ip.generation()) return;
  const uint32_t seen_mtu = c.path.mtu_bytes;
  if (core.ip.refresh(c.path) && c.path.mtu_bytes != seen_mtu) update_mss(core, c);
}

void lower_mtu(Core& core, Instant now, Connection& c, uint32_t mtu_bytes, bool may_be_cut) {
  const bool v4 = c.path.remote.is_v4();
  mtu_bytes = std::max(mtu_bytes, v4 ? core.ip.path_mtu_min_bytes() : kMtuFloorV6);
  const bool cut_anew = may_be_cut && !c.path.may_be_cut;
  if (mtu_bytes >= c.path.mtu_bytes && !cut_anew) return;
  ++core.counters.tcp_pmtu_lowered;
  core.ip.learn_path_mtu(now, c.path.remote, mtu_bytes, may_be_cut);
  follow_path(core, c);
  // What is too big was dropped: again, smaller, at once, and it was no congestion (RFC 1191 6.4).
  TxQueue& q = c.snd.queue;
  for (Frame* f = q.head; f != q.unsent; f = f->next) {
    const TxNote& n = note_of(f);
    if (n.length > c.snd.mss_bytes && !n.has(TxNote::kSacked)) q.mark_lost(f);
  }
  send_pending(core, now, c);
}

void begin_mtu_probing(Core& core, Instant now, Connection& c) {
  Sender& s = c.snd;
  const uint32_t full = std::min<uint32_t>(c.path.mtu_bytes, UINT16_MAX);
  s.mtu_low_bytes = uint16_t(std::min(kProbeBaseMss + headers_bytes(c), full));
  s.mtu_high_bytes = uint16_t(std::min<uint32_t>(full, s.peer_mss_bytes + headers_bytes(c)));
  s.mtu_probe_bytes = 0;
  s.mtu_searched_at = now;
  update_mss(core, c);
}

void note_black_hole(Core& core, Instant now, Connection& c) {
  if (core.options.mtu_probing == MtuProbing::kOff) return;
  Sender& s = c.snd;
  ++core.counters.tcp_black_holes;
  if (s.mtu_low_bytes == 0) {
    begin_mtu_probing(core, now, c);
    return;
  }
  const uint32_t headers = headers_bytes(c);
  const uint32_t mss = s.mtu_low_bytes > headers ? (s.mtu_low_bytes - headers) / 2 : 0;
  s.mtu_low_bytes = uint16_t(std::clamp(mss, kProbeFloorMss, kProbeBaseMss) + headers);
  update_mss(core, c);
}

bool send_mtu_probe(Core& core, Instant now, Connection& c) {
  Sender& s = c.snd;
  TxQueue& q = s.queue;
  if (s.mtu_low_bytes == 0 || s.mtu_probe_bytes != 0 || c.loss.phase != Recovery::kOpen) {
    return false;
  }
  if (q.sacked_frames > 0 || c.window.cwnd_bytes < kProbeWindowSegments * s.mss_bytes) return false;
  if (s.mtu_high_bytes < s.mtu_low_bytes + kProbeThreshold) {
    if (now - s.mtu_searched_at < kReprobeAfter) return false;
    s.mtu_high_bytes = uint16_t(std::min<uint32_t>(c.path.mtu_bytes, UINT16_MAX));
    s.mtu_searched_at = now;
  }
  const uint32_t size = (s.mtu_low_bytes + s.mtu_high_bytes) / 2u - headers_bytes(c);
  const uint32_t needed = size + kSegmentsBehind * s.mss_bytes;
  const int32_t room = (s.una + s.window_bytes) - s.nxt;
  if (size <= s.mss_bytes || q.unsent_bytes < needed || room < int32_t(needed)) return false;
  if (pipe_bytes(c) + size > c.window.cwnd_bytes) return false;
  Frame* f = q.unsent;
  q.fill_from_next(core.pool, f, size);
  if (note_of(f).length < size) return false;
  const uint16_t mss = s.mss_bytes;
  s.mss_bytes = uint16_t(size);
  const Seq start = s.nxt;
  const bool sent = send_new_frame(core, now, c, size);
  s.mss_bytes = mss;
  if (!sent) return false;
  ++core.counters.tcp_mtu_probes;
  s.mtu_probe_bytes = uint16_t(size);
  s.mtu_probe_start = start;
  return true;
}

void look_for_mtu_probe_acked(Core& core, Connection& c) {
  Sender& s = c.snd;
  if (s.mtu_probe_bytes == 0 || s.una < s.mtu_probe_start + s.mtu_probe_bytes) return;
  s.mtu_low_bytes = uint16_t(s.mtu_probe_bytes + headers_bytes(c));
  s.mtu_probe_bytes = 0;
  update_mss(core, c);
}

bool mtu_probe_lost(Core&, Connection& c) {
  const Sender& s = c.snd;
  const TxQueue& q = s.queue;
  if (s.mtu_probe_bytes == 0 || s.una != s.mtu_probe_start) return false;
  if (q.lost.head != q.head || q.lost_bytes != note_of(q.head).seq_length()) return false;
  fail_probe(c);
  return true;
}

void forget_mtu_probe(Core&, Connection& c) {
  if (c.snd.mtu_probe_bytes) fail_probe(c);
}

}  // namespace millrace::tcp
