// SPDX-License-Identifier: MIT
// The TCP header and its options (RFC 9293 3.1, 7323, 2018) as values: pure parsing and building,
// no state. A malformed option ends the parsing of options, never the segment (RFC 9293 3.2:
// unknown and broken options must not kill a connection). Knows nothing of connections or of the
// checksum.
#pragma once

#include <cstdint>
#include <span>

#include "wire/byte_order.h"
#include "wire/seq.h"

namespace millrace::wire {

inline constexpr uint8_t kTcpFin = 0x01;
inline constexpr uint8_t kTcpSyn = 0x02;
inline constexpr uint8_t kTcpRst = 0x04;
inline constexpr uint8_t kTcpPsh = 0x08;
inline constexpr uint8_t kTcpAck = 0x10;
inline constexpr uint8_t kTcpUrg = 0x20;
inline constexpr uint8_t kTcpEce = 0x40;
inline constexpr uint8_t kTcpCwr = 0x80;

inline constexpr uint32_t kTcpHeaderBytes = 20;
inline constexpr uint32_t kTcpHeaderBytesMax = 60;
inline constexpr uint32_t kTcpTimestampBytes = 12;  // with its two NOPs
inline constexpr uint8_t kTcpProtocol = 6;
inline constexpr uint8_t kSackBlocksMax = 4;

struct SackBlock {
  Seq start;
  Seq end;
};

struct TcpOptions {
  uint32_t ts_value = 0;
  uint32_t ts_echo = 0;
  uint16_t mss_bytes = 0;
  uint8_t window_scale = 0;
  uint8_t sack_count = 0;
  bool has_mss = false;
  bool has_window_scale = false;
  bool has_timestamps = false;
  bool sack_permitted = false;
  SackBlock sack[kSackBlocksMax] = {};
};

struct TcpHeader {
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  Seq seq;
  Seq ack;
  uint16_t window = 0;
  uint16_t urgent = 0;
  uint8_t header_bytes = kTcpHeaderBytes;  // options included
  uint8_t flags = 0;
};

// False when the segment is shorter than its header says, or the header shorter than 20 bytes.
bool parse_tcp_header(std::span<const uint8_t> segment, TcpHeader& out);
// `options`: the bytes between the fixed header and the payload. Options that belong on a SYN only
// (MSS, window scale, SACK permitted) are taken only when `syn`.
void parse_tcp_options(std::span<const uint8_t> options, bool syn, TcpOptions& out);

// Bytes that build_tcp_options() will write: a multiple of 4, at most 40.
uint32_t tcp_options_bytes(const TcpOptions& options);
// Writes header.header_bytes bytes (which must be 20 + tcp_options_bytes(options)); checksum 0.
void build_tcp_header(uint8_t* out, const TcpHeader& header, const TcpOptions& options);

inline constexpr uint32_t kTcpFlagsOffset = 13;
inline constexpr uint32_t kTcpChecksumOffset = 16;

}  // namespace millrace::wire
