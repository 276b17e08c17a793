// SPDX-License-Identifier: MIT
// Settings of TCP. Defaults are Linux's measured behaviour, because that is what Node's users know.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"

namespace millrace::tcp {

enum class CongestionControl : uint8_t { kCubic, kNewReno, kBbr };
inline constexpr uint32_t kCongestionControls = 3;
// By the names of TCP_CONGESTION: "cubic", "reno", "bbr".
std::optional<CongestionControl> congestion_control_named(std::string_view name);
const char* name_of(CongestionControl algorithm);

// RFC 3168: never; only when the peer asks (Linux's tcp_ecn=2); asking ourselves too (tcp_ecn=1).
enum class Ecn : uint8_t { kOff, kPassive, kOn };

// RFC 4821, Linux's tcp_mtu_probing: never; once timeouts look like a black hole; always.
enum class MtuProbing : uint8_t { kOff, kBlackHole, kAlways };

// Per connection; a listener's are inherited by what it accepts.
struct ConnectionOptions {
  bool nodelay = false;
  bool keepalive =
      true;  // Linux: off. A dead peer must not hold memory for ever (ARCHITECTURE.md).
  Duration keepalive_idle = Duration::seconds(7200);
  Duration keepalive_interval = Duration::seconds(75);
  uint32_t keepalive_probes = 9;
  Duration user_timeout{};  // 0: by the number of retransmissions
  CongestionControl congestion = CongestionControl::kCubic;
  uint32_t receive_buffer_bytes = 0;  // 0: the stack's default, auto-tuned up to its maximum
  uint32_t send_buffer_bytes = 0;
  uint32_t window_clamp_bytes = 0;  // TCP_WINDOW_CLAMP: offered at most; 0: as the buffer allows
  int16_t linger2_s = 0;     // TCP_LINGER2: of an orphaned FIN-WAIT-2; 0: the stack's; -1: no such
  uint8_t syn_retries = 0;   // TCP_SYNCNT; 0: the stack's
  uint8_t defer_accept = 0;  // TCP_DEFER_ACCEPT, in SYN-ACKs sent again; 0: off
  bool cork = false;         // TCP_CORK
  uint16_t mss_max_bytes = 0;  // TCP_MAXSEG: announced and sent at most; 0: as the path allows
  uint8_t ttl = 64;
  uint8_t traffic_class = 0;
};

// What set_option() changes on a live connection.
enum class Option : uint8_t {
  kNodelay,            // 0 or 1
  kKeepalive,          // 0 or 1
  kKeepaliveIdle,      // seconds
  kKeepaliveInterval,  // seconds
  kKeepaliveProbes,
  kUserTimeout,    // milliseconds
  kReceiveBuffer,  // bytes
  kSendBuffer,     // bytes
  kTrafficClass,
  kMssMax,       // bytes; 0: as the path allows
  kCork,         // 0 or 1: nothing less than a full segment leaves (Linux's TCP_CORK)
  kQuickAck,     // 1: what waits for an ACK gets it now, and soon again; 0: ACKs may wait
  kLinger2,      // seconds; 0: the stack's fin_timeout; UINT32_MAX: reset instead of FIN-WAIT-2
  kSynRetries,   // 1 to 127
  kWindowClamp,  // bytes; 0: none
  kReadShut,     // 1: the user wants no more data: what comes after our FIN is reset
  kWriterWaits,  // 1: the user has found the send buffer full (for Info::send_buffer_limited)
  kCongestion,   // a CongestionControl
};

struct StackOptions {
  uint32_t connections_max = 65536;  // every state counts, TIME-WAIT too
  uint32_t listeners_max = 1024;
  uint32_t half_open_max = 4096;  // SYN-RECEIVED, over all listeners
  uint32_t receive_buffer_bytes = 262144, receive_buffer_max_bytes = 6291456;
  uint32_t send_buffer_bytes = 262144, send_buffer_max_bytes = 4194304;
  Duration rto_min = Duration::millis(200);
  Duration rto_max = Duration::seconds(120);
  Duration time_wait = Duration::seconds(60);
  Duration fin_timeout = Duration::seconds(60);  // orphaned FIN-WAIT-2
  Ecn ecn = Ecn::kPassive;
  MtuProbing mtu_probing = MtuProbing::kOff;
  // Linux's sysctls of the same names.
  uint8_t syn_retries = 6;  // doubling; four at a constant second come before
  uint8_t syn_ack_retries = 5;
  uint8_t data_retries = 15;  // tcp_retries2
  uint8_t orphan_retries = 8;
  bool timestamps = true;
  bool sack = true;
  bool window_scaling = true;
  bool slow_start_after_idle = true;
  // RFC 7323 3.2: a segment without the agreed timestamp should be dropped. Linux takes it.
  bool timestamps_required = false;
  // RFC 9438 4.3: CUBIC's estimate of Reno's window grows by a whole segment per round trip once it
  // is back where the window was cut. Linux's stays at 0.53.
  bool cubic_reno_slope = true;
  ConnectionOptions defaults;
  // Tests that name absolute numbers: every connection begins at `isn`, and its timestamp clock has
  // no offset. Against RFC 6528; nothing but native/testing sets it.
  // An ACK for in-order data may wait for send_held_acks(), which the owner calls once the data has
  // been seen by the application: the answer then carries it. A reader of the kernel's is just as
  // fast.
  bool hold_acks = false;
  // connect() may take over a 4-tuple that is in TIME-WAIT (Linux does on loopback).
  bool reuse_time_wait = false;
  bool fixed_isn = false;
  uint32_t isn = 0;
};

}  // namespace millrace::tcp
