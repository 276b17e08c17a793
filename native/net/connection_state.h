// SPDX-License-Identifier: MIT
// A TCP connection in mid-stream as one stack hands it to another: what both ends have agreed on
// (RFC 9293 3.3.1, RFC 7323, RFC 2018), where the two streams stand, and the bytes that are on
// neither side of them. Nothing of congestion control: whoever takes over begins anew.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "wire/ip_address.h"

namespace millrace::net {

using Pieces = std::vector<std::span<const uint8_t>>;

inline size_t total_bytes(const Pieces& pieces) {
  size_t sum = 0;
  for (const auto& piece : pieces) sum += piece.size();
  return sum;
}

// The bytes lie in the giver's memory: valid until it goes on.
struct ConnectionState {
  wire::FlowKey flow;
  // SND.UNA, and RCV.NXT without the FIN if that has been received.
  uint32_t send_una = 0;
  uint32_t receive_next = 0;
  Pieces sent;      // not acknowledged, from send_una on
  Pieces unsent;    // behind them
  Pieces received;  // in order and not read, up to receive_next
  bool fin_received = false;
  bool fin_queued = false;  // behind `unsent`, sent or not
  bool fin_acked = false;   // send_una is behind it
  // Of the peer: its window, the largest one there was, and the segment that last told (SND.WL1).
  uint32_t send_window_bytes = 0;
  uint32_t send_window_max_bytes = 0;
  uint32_t window_update_seq = 0;
  // What may still come as the peer knows.
  uint32_t receive_window_bytes = 0;
  uint16_t peer_mss_bytes = 536;
  bool window_scaling = false;
  uint8_t send_shift = 0;
  uint8_t receive_shift = 0;
  bool sack = false;
  bool timestamps = false;
  uint32_t timestamp = 0;  // ours, in milliseconds, now
  // Settings of the user's.
  bool nodelay = false;
  bool keepalive = false;
  uint32_t keepalive_idle_s = 0;
  uint32_t keepalive_interval_s = 0;
  uint8_t keepalive_probes = 0;
  uint8_t ttl = 64;
  uint8_t traffic_class = 0;
};

}  // namespace millrace::net
