// SPDX-License-Identifier: MIT
// TIME-WAIT: RFC 9293 3.10.7.4, RFC 1337 (an RST does not end it), RFC 6191 (a new SYN may).
#include "tcp/emit.h"
#include "tcp/input.h"
#include "tcp/lifecycle.h"
#include "tcp/timers.h"

namespace millrace::tcp {

bool input_time_wait(Core& core, Instant now, Connection& c, Segment& s) {
  if (s.has(wire::kTcpRst)) return false;  // RFC 1337 3, fix F1
  const bool old = paws_rejects(now, c, s);
  if (s.has(wire::kTcpSyn) && !s.has(wire::kTcpAck) && !c.owned) {
    const bool newer_clock = c.timestamps && s.options.has_timestamps &&
                             int32_t(s.options.ts_value - c.rcv.ts_recent) > 0;
    if (!old && (newer_clock || s.seq > c.rcv.nxt)) {
      if (match_listener(core, c.key.local)) {
        ++core.counters.tcp_time_wait_reopened;
        s.reopens = true;
        s.last_sent = c.snd.nxt;
        bury(core, c);
        reap(core, c);
        return true;
      }
    }
  }
  if (old) {
    ++core.counters.tcp_paws_dropped;
    send_challenge_ack(core, now, c);
    return false;
  }
  if (s.has(wire::kTcpFin) && s.end() == c.rcv.nxt) {
    // The peer's FIN again: our ACK was lost.
    take_timestamp(now, c, s);
    send_ack(core, now, c);
    set_life_deadline(core, c, now + core.options.time_wait);
    return false;
  }
  if (s.length > 0 || s.has(wire::kTcpSyn | wire::kTcpFin) || s.seq != c.rcv.nxt) {
    send_challenge_ack(core, now, c);
  }
  return false;
}

}  // namespace millrace::tcp
