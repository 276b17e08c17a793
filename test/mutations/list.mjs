// Faults that are planted one at a time (tools/mutations.mjs): each must be caught by the simulator within 1,000 seeds
// or by a script. `find` occurs exactly once in `file`; a change of that line means that the entry is to be changed with
// it. What no test could notice (a fault that only costs time, say) does not belong here.

/** @type {ReadonlyArray<{name: string, file: string, find: string, replace: string}>} */
export const MUTATIONS = [
  // --- what arrives
  {
    name: 'checksum-not-verified',
    file: 'native/tcp/input.cc',
    find: '  if (!checksum_good(*frame, meta, s.unfinished)) {',
    replace: '  if (false && !checksum_good(*frame, meta, s.unfinished)) {',
  },
  {
    name: 'ethernet-padding-kept',
    file: 'native/net/ip_input.cc',
    find: '      return refuse_options(now, index, frame, ip, to_group);\n  }\n  frame->trim_to(ip.total_bytes);',
    replace: '      return refuse_options(now, index, frame, ip, to_group);\n  }\n',
  },
  {
    name: 'udp-checksum-not-verified',
    file: 'native/udp/udp_input.cc',
    find: 'if (!(frame->flags & Frame::kChecksumVerified) &&',
    replace: 'if (false && !(frame->flags & Frame::kChecksumVerified) &&',
  },
  {
    name: 'reset-anywhere-in-window',
    file: 'native/tcp/input_synchronized.cc',
    find: '    if (s.seq == r.nxt) {\n      reset_received',
    replace: '    if (s.seq >= r.nxt) {\n      reset_received',
  },
  {
    name: 'no-paws',
    file: 'native/tcp/input_synchronized.cc',
    find: 'if (!rst && paws_rejects(',
    replace: 'if (false && !rst && paws_rejects(',
  },
  {
    name: 'syn-ends-connection',
    file: 'native/tcp/input_synchronized.cc',
    find: "      return true;  // simultaneous open: the peer's SYN-ACK\n    }\n    send_challenge_ack(core, now, c);",
    replace: '      return true;\n    }\n    reset_received(core, c);',
  },
  {
    name: 'ack-of-unsent-taken',
    file: 'native/tcp/input_ack.cc',
    find: 'if (s.ack <= t.nxt && s.ack >= t.una - t.window_max_bytes) return true;',
    replace: 'if (s.ack >= t.una - t.window_max_bytes) return true;',
  },
  {
    name: 'window-of-old-segment',
    file: 'native/tcp/input_ack.cc',
    find: '  if (!newer) return false;\n',
    replace: '',
  },
  {
    name: 'window-not-scaled',
    file: 'native/tcp/input_ack.cc',
    find: 'const uint32_t window = uint32_t(s.window) << t.shift;',
    replace: 'const uint32_t window = uint32_t(s.window);',
  },
  {
    name: 'duplicate-bytes-kept',
    file: 'native/tcp/receive_data.cc',
    find: '    s.frame->pop_front(old);\n',
    replace: '',
  },
  {
    name: 'beyond-window-taken',
    file: 'native/tcp/receive_data.cc',
    find: '  if (int32_t(s.length) > room) {',
    replace: '  if (false && int32_t(s.length) > room) {',
  },
  {
    name: 'fin-before-its-turn',
    file: 'native/tcp/receive_data.cc',
    find: 'if (r.fin_known && r.nxt == r.fin_seq) {',
    replace: 'if (r.fin_known) {',
  },
  {
    name: 'overlap-not-cut',
    file: 'native/tcp/reassembly.cc',
    find: '    s.frame->pop_front(uint32_t(known - start));\n',
    replace: '',
  },
  {
    name: 'island-end-forgotten',
    file: 'native/tcp/reassembly.cc',
    find: '  n.island_end = rx(next).island_end;\n',
    replace: '',
  },
  {
    name: 'no-dsack',
    file: 'native/tcp/reassembly.cc',
    find: '  if (!c.sack || start >= end) return;',
    replace: '  return;',
  },
  {
    name: 'islands-without-limit',
    file: 'native/tcp/reassembly.cc',
    find: '(r.ooo_frames >= frames_max || r.islands >= kIslandsMax || scarce)',
    replace: 'scarce',
  },
  // --- acknowledging
  {
    name: 'delayed-ack-forgotten',
    file: 'native/tcp/receive_window.cc',
    find: '  } else {\n    schedule_ack(core, now, c);\n  }',
    replace: '  }',
  },
  {
    name: 'gap-not-answered-at-once',
    file: 'native/tcp/receive_data.cc',
    find: '    r.ack_now = true;  // RFC 5681 4.2: out of order',
    replace: '',
  },
  {
    name: 'window-shrinks',
    file: 'native/tcp/receive_window.cc',
    find: '  if (limit - r.edge < int32_t(worth)) limit = wire::seq_max(r.edge, r.nxt);\n',
    replace: '',
  },
  {
    name: 'no-window-update',
    file: 'native/tcp/receive_window.cc',
    find: '  if (possible >= 2ull * offered && possible - offered >= worth) ack_this_turn(core, now, c);',
    replace: '  static_cast<void>(possible + worth);',
  },
  {
    name: 'challenge-acks-unlimited',
    file: 'native/tcp/emit.cc',
    find: '  if (c.challenged && now - c.challenge_at < kChallengeInterval) {',
    replace: '  if (false) {',
  },
  // --- sending
  {
    name: 'sent-past-window',
    file: 'native/tcp/output.cc',
    find: '  if (int32_t(wanted) <= room) return std::max<uint32_t>(wanted, 1);',
    replace: '  if (int32_t(wanted) <= room + 1000) return std::max<uint32_t>(wanted, 1);',
  },
  {
    name: 'nagle-off',
    file: 'native/tcp/output.cc',
    find: '  if (nagle_holds(c, f, n)) return 0;\n',
    replace: '',
  },
  {
    name: 'congestion-window-ignored',
    file: 'native/tcp/output.cc',
    find: 'if (pipe > 0 && pipe + length > c.window.cwnd_bytes) {',
    replace: 'if (false) {',
  },
  {
    name: 'peer-mss-ignored',
    file: 'native/tcp/emit.cc',
    find: '  mss = std::min<uint32_t>(mss, c.snd.peer_mss_bytes);\n',
    replace: '',
  },
  {
    name: 'changed-under-the-device',
    file: 'native/tcp/emit.cc',
    find: 'if (frame->tx_pending || frame->capacity',
    replace: 'if (frame->capacity',
  },
  {
    name: 'frame-leak',
    file: 'native/tcp/emit.cc',
    find: '  if (out != frame) core.pool.release(out);\n',
    replace: '',
  },
  {
    name: 'partial-ack-frees-frame',
    file: 'native/tcp/input_ack.cc',
    find: '    if (n.end() > ack) break;',
    replace: '    if (n.seq >= ack) break;',
  },
  {
    name: 'trim-keeps-offset',
    file: 'native/tcp/tx_queue.cc',
    find: '  n.offset += n_bytes;\n',
    replace: '',
  },
  {
    name: 'split-copies-wrong-half',
    file: 'native/tcp/tx_queue.cc',
    find: 'std::memcpy(rest->data(), f->chunk + n.offset + keep, rest->length);',
    replace: 'std::memcpy(rest->data(), f->chunk + n.offset, rest->length);',
  },
  {
    name: 'resent-bytes-not-counted-back',
    file: 'native/tcp/tx_queue.cc',
    find: '    resent_bytes -= n.seq_length();\n    n.flags &= uint16_t(~TxNote::kRetransmitted);',
    replace: '    n.flags &= uint16_t(~TxNote::kRetransmitted);',
  },
  {
    name: 'no-persist-timer',
    file: 'native/tcp/output.cc',
    find: '    arm_persist(core, now, c);\n',
    replace: '',
  },
  // --- loss
  {
    name: 'no-second-timeout',
    file: 'native/tcp/timers.cc',
    find: '  if (l.backoff < UINT8_MAX) ++l.backoff;\n  arm_retransmit(core, now, c);',
    replace: '  if (l.backoff < UINT8_MAX) ++l.backoff;',
  },
  {
    name: 'no-backoff',
    file: 'native/tcp/timers.cc',
    find: '  const int shift = std::min<int>(c.loss.backoff, 20);',
    replace: '  const int shift = 0;',
  },
  {
    name: 'karn-forgotten',
    file: 'native/tcp/input_ack.cc',
    find: 'if (n.has(TxNote::kEverResent)) {\n        a.resent_acked = true;',
    replace: 'if (false) {\n        a.resent_acked = true;',
  },
  {
    name: 'lost-too-early',
    file: 'native/tcp/rack.cc',
    find: '    if (deadline > now) {',
    replace: '    if (false) {',
  },
  {
    name: 'sack-beyond-sent-taken',
    file: 'native/tcp/sack.cc',
    find: 'return b.start < b.end && b.start >= c.snd.una && b.end <= c.snd.nxt;',
    replace: 'return b.start < b.end;',
  },
  {
    name: 'reneging-not-seen',
    file: 'native/tcp/recovery.cc',
    find: '  const bool reneged = note_of(q.head).has(TxNote::kSacked);',
    replace: '  const bool reneged = false;',
  },
  {
    name: 'no-undo',
    file: 'native/tcp/recovery.cc',
    find: '  if (!c.rate_based) c.window.cwnd_bytes = std::max(c.window.cwnd_bytes, l.undo_cwnd_bytes);',
    replace: '',
  },
  // --- opening and closing
  {
    name: 'cookie-not-checked',
    file: 'native/tcp/input_cookie.cc',
    find: '  if (found.verdict == SynCookies::Verdict::kForged) {',
    replace: '  if (false) {',
  },
  {
    name: 'time-wait-skipped',
    file: 'native/tcp/lifecycle.cc',
    find: '  set_life_deadline(core, c, now + core.options.time_wait);',
    replace: '  set_life_deadline(core, c, now + Duration::millis(1));',
  },
  {
    name: 'time-wait-does-not-answer-fin',
    file: 'native/tcp/input_time_wait.cc',
    find: '  if (s.has(wire::kTcpFin) && s.end() == c.rcv.nxt) {',
    replace: '  if (false) {',
  },
  {
    name: 'reset-ends-time-wait',
    file: 'native/tcp/input_time_wait.cc',
    find: '  if (s.has(wire::kTcpRst)) return false;  // RFC 1337 3, fix F1',
    replace: '  if (s.has(wire::kTcpRst)) {\n    bury(core, c);\n    reap(core, c);\n    return false;\n  }',
  },
  {
    name: 'close-with-unread-bytes-sends-fin',
    file: 'native/tcp/input_synchronized.cc',
    find: 's.length > 0 && s.seq + s.length > c.rcv.nxt;',
    replace: 'false;',
  },
  {
    name: 'syn-ack-not-repeated',
    file: 'native/tcp/timers.cc',
    find: '    ++core.counters.tcp_syn_acks_resent;\n    send_syn_ack(core, now, h);\n',
    replace: '',
  },
  {
    name: 'icmp-without-quoted-sequence',
    file: 'native/tcp/icmp.cc',
    find: 'if (seq < first || seq > c.snd.nxt || c.state == State::kTimeWait) {',
    replace: 'if (c.state == State::kTimeWait) {',
  },
  {
    name: 'timers-early',
    file: 'native/base/timer_wheel.cc',
    find: '  const uint64_t due = std::max(due_tick({entry.deadline_ns}), earliest);',
    replace: '  const uint64_t due = std::max(due_tick({entry.deadline_ns}) / 64 * 64, earliest);',
  },
  {
    name: 'pool-reuses-early',
    file: 'native/packet/frame_pool.cc',
    find: '  if (--frame->refs > 0) return;',
    replace:
      '  if (frame->refs > 1 && frame->tx_pending == 0 && --frame->refs > 0) return;\n  frame->refs = 0, frame->tx_pending = 0;',
  },
];
