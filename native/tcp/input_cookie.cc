// SPDX-License-Identifier: MIT
// SYNs under a flood, and the ACKs that bring their cookies back (RFC 4987 3.6). What a cookie
// cannot hold is given up: window scaling and SACK where the peer has no timestamps, and the
// repeating of the SYN-ACK. When the ACK is lost the connection is made by what the peer sends
// next, its first segment or a repeated one.
#include <algorithm>

#include "tcp/emit.h"
#include "tcp/input.h"
#include "tcp/lifecycle.h"

namespace millrace::tcp {

namespace {

// So many handshakes at a time are no flood, however short a listener's backlog.
constexpr uint32_t kShareMin = 128;

}  // namespace

bool cookies_wanted(const Core& core, const Listener& l) {
  const uint64_t live = core.half_opens.live(), most = core.options.half_open_max;
  return live * 4 >= most * 3 || l.half_opens >= std::max(l.backlog, kShareMin);
}

void answer_with_cookie(Core& core, Instant now, Listener& l, const wire::FlowKey& key,
                        const Segment& s) {
  wire::TcpOptions kept = s.options;
  if (!s.options.has_timestamps) kept.sack_permitted = kept.has_window_scale = false;
  Handshake h = handshake_of(core, l, key, kept);
  h.irs = s.seq;
  h.iss = core.cookies.make(now, key, s.seq, h.peer_mss_bytes);
  h.ecn = kept.has_timestamps && ecn_asked(core, s);
  const uint32_t ts = cookie_timestamp(ts_now(now, h.ts_offset), kept, h.ecn);
  if (!send_syn_ack(core, now, key, l, h, ts)) return;
  l.cookies_until = now + SynCookies::kLife;
  ++core.counters.tcp_cookies_sent;
}

bool take_cookie(Core& core, Instant now, Listener& l, const wire::FlowKey& key, uint64_t hash,
                 Segment& s, HalfOpen* instead_of) {
  if (now >= l.cookies_until || s.has(wire::kTcpSyn | wire::kTcpRst)) return false;
  if (backlog_full(l)) {
    // As Linux: the peer thinks that it is connected, what it sends is repeated until there is
    // room. Even what holds no cookie is not refused: it may be the second segment of such a peer.
    ++core.counters.tcp_listen_overflows;
    return true;
  }
  if (!core.cookies.may_check(now)) return true;
  const Seq irs = s.seq - 1;
  const SynCookies::Found found = core.cookies.check(now, key, irs, s.ack - 1);
  if (found.verdict == SynCookies::Verdict::kForged) {
    ++core.counters.tcp_cookies_rejected;
    return false;
  }
  if (found.verdict == SynCookies::Verdict::kLater) return true;  // the first will come again
  wire::TcpOptions syn;
  syn.has_mss = true;
  syn.mss_bytes = found.mss_bytes;
  syn.has_timestamps = s.options.has_timestamps;
  syn.ts_value = s.options.ts_value;
  bool ecn = false;
  if (syn.has_timestamps) read_cookie_timestamp(s.options.ts_echo, syn, ecn);
  Handshake h = handshake_of(core, l, key, syn);
  h.ecn = ecn && core.options.ecn != Ecn::kOff;
  h.irs = irs;
  h.iss = s.ack - 1;
  Connection* c = create_accepted(core, now, l, key, hash, h, s);
  if (!c) return true;
  if (instead_of) destroy_half_open(core, *instead_of);
  core.cookies.spend(h.irs, h.iss);
  ++core.counters.tcp_cookies_accepted;
  begin_accepted(core, now, l, *c, s);
  return true;
}

}  // namespace millrace::tcp
