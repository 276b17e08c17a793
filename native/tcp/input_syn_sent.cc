// SPDX-License-Identifier: MIT
// SYN-SENT: RFC 9293 3.10.7.3, simultaneous open included.
#include <algorithm>

#include "tcp/emit.h"
#include "tcp/input.h"
#include "tcp/lifecycle.h"
#include "tcp/output.h"
#include "tcp/receive.h"
#include "tcp/timers.h"

namespace millrace::tcp {

uint16_t believed_mss(const wire::TcpOptions& options, const wire::IpAddress& peer) {
  // RFC 9293 3.7.1 default; Linux does not believe less than 48 (CVE-2019-11479).
  if (!options.has_mss || options.mss_bytes == 0) return peer.is_v4() ? 536 : 1220;
  return std::max<uint16_t>(options.mss_bytes, 48);
}

void take_syn_options(Core& core, Instant now, Connection& c, const Segment& s) {
  const wire::TcpOptions& o = s.options;
  c.snd.peer_mss_bytes = believed_mss(o, c.key.remote.address);
  const StackOptions& ours = core.options;
  c.sack = o.sack_permitted && ours.sack;
  c.timestamps = o.has_timestamps && ours.timestamps;
  c.scaling = o.has_window_scale && ours.window_scaling;
  c.snd.shift = c.scaling ? o.window_scale : 0;
  if (c.timestamps) {
    c.rcv.ts_recent = o.ts_value;
    c.rcv.ts_recent_at = now;
  }
  take_ecn_syn(core, c, s);
  c.irs = s.seq;
  c.rcv.nxt = c.rcv.acked = s.seq + 1;
  // What our SYN offered, unscaled.
  c.rcv.edge = c.rcv.nxt + syn_window(c);
  c.snd.window_bytes = c.snd.window_max_bytes = s.window;  // never scaled on a SYN
  c.snd.wl1 = s.seq;
  update_mss(core, c);
}

namespace {

constexpr Duration kRetryAfterReset = Duration::millis(8);

void connected(Core& core, Instant now, Connection& c, const Segment& s) {
  c.snd.una = s.ack;
  c.snd.wl2 = s.ack;
  if (c.timestamps && s.options.ts_echo != 0) {
    const uint32_t ms = ts_now(now, c.ts_offset) - s.options.ts_echo;
    if (c.syn_resent && ms < 600'000) {
      c.rtt.sample(now, Duration::millis(std::max<uint32_t>(ms, 1)), c.snd.una, c.snd.nxt,
                   uint32_t(core.options.rto_min.micros()));
    }
  }
  if (!c.syn_resent) {
    c.rtt.sample(now, now - c.loss.stalled_since, c.snd.una, c.snd.nxt,
                 uint32_t(core.options.rto_min.micros()));
  }
  start_established(core, now, c);
  send_ack(core, now, c);
  core.handler.on_connected(c);
  send_pending(core, now, c);
}

}  // namespace

void input_syn_sent(Core& core, Instant now, Connection& c, Segment& s) {
  const bool has_ack = s.has(wire::kTcpAck);
  if (has_ack && s.ack != c.snd.nxt) {  // acknowledges what was never sent, or nothing
    ++core.counters.tcp_bad_acks;
    answer_with_reset(core, now, c.key, s);
    // The peer still had an older connection, which our reset has ended: the SYN soon again instead
    // of after a second (Linux), but only the first time.
    const Instant again = now + kRetryAfterReset;
    if (!c.syn_resent && again < c.retransmit_at) set_deadline(core, c, c.retransmit_at, again);
    return;
  }
  if (s.has(wire::kTcpRst)) {
    if (!has_ack) return;  // blind
    ++core.counters.tcp_resets_received;
    ++core.counters.tcp_open_failed;
    fail_connection(core, c, ECONNREFUSED);
    return;
  }
  if (!s.has(wire::kTcpSyn) || s.has(wire::kTcpFin)) return;
  take_syn_options(core, now, c, s);
  if (has_ack) {
    connected(core, now, c, s);
    return;
  }
  // Both sides opened at once: RFC 9293 figure 8.
  c.state = State::kSynReceived;
  send_syn(core, now, c);
  c.loss.backoff = 0;
  c.retransmit_mode = RetransmitMode::kTimeout;
  set_deadline(core, c, c.retransmit_at, now + Duration::seconds(1));
}

}  // namespace millrace::tcp
