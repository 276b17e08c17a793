// SPDX-License-Identifier: MIT
// Settings of TCP. Defaults are Linux's measured behaviour, because that is what Node's users know.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/time.h"

namespace millrace::tcp {

enum class CongestionControl : uint8_t { kCubic, kNewReno, kBbr };
// By the names of TCP_CONGESTION: "cubic", "reno", "bbr".
std::optional<CongestionControl> congestion_control_named(std::string_view name);
const char* name_of(CongestionControl algorithm);

// RFC 3168: never; only when the peer asks (Linux's tcp_ecn=2); asking ourselves too (tcp_ecn=1).
enum class Ecn : uint8_t { kOff, kPassive, kOn };

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
  kMssMax,  // bytes; 0: as the path allows
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
