// SPDX-License-Identifier: MIT
#include "wire/tcp_header.h"

#include "base/assert.h"

namespace millrace::wire {

namespace {

enum Kind : uint8_t {
  kEnd = 0,
  kNop = 1,
  kMss = 2,
  kWindowScale = 3,
  kSackPermitted = 4,
  kSack = 5,
  kTimestamps = 8,
};

constexpr uint32_t kTimestampPrefix = 0x0101080a;  // NOP NOP TS 10: RFC 7323 appendix A
constexpr uint8_t kWindowScaleMax = 14;            // RFC 7323 2.3: more is treated as 14

void parse_sack(const uint8_t* p, uint32_t length, TcpOptions& out) {
  if (length < 10 || (length - 2) % 8 != 0 || length > 2 + 8 * kSackBlocksMax) return;
  out.sack_count = uint8_t((length - 2) / 8);
  for (uint8_t i = 0; i < out.sack_count; ++i) {
    out.sack[i] = {Seq(load32(p + 2 + 8 * i)), Seq(load32(p + 6 + 8 * i))};
  }
}

void parse_option(const uint8_t* p, uint32_t length, bool syn, TcpOptions& out) {
  switch (p[0]) {
    case kMss:
      if (!syn || length != 4) return;
      out.has_mss = true;
      out.mss_bytes = load16(p + 2);
      return;
    case kWindowScale:
      if (!syn || length != 3) return;
      out.has_window_scale = true;
      out.window_scale = p[2] > kWindowScaleMax ? kWindowScaleMax : p[2];
      return;
    case kSackPermitted:
      if (syn && length == 2) out.sack_permitted = true;
      return;
    case kSack:
      if (!syn) parse_sack(p, length, out);
      return;
    case kTimestamps:
      if (length != 10) return;
      out.has_timestamps = true;
      out.ts_value = load32(p + 2);
      out.ts_echo = load32(p + 6);
      return;
    default:
      return;
  }
}

}  // namespace

bool parse_tcp_header(std::span<const uint8_t> segment, TcpHeader& out) {
  if (segment.size() < kTcpHeaderBytes) return false;
  const uint8_t* p = segment.data();
  out.header_bytes = uint8_t((p[12] >> 4) * 4);
  if (out.header_bytes < kTcpHeaderBytes || out.header_bytes > segment.size()) return false;
  out.source_port = load16(p);
  out.destination_port = load16(p + 2);
  out.seq = Seq(load32(p + 4));
  out.ack = Seq(load32(p + 8));
  out.flags = p[13];
  out.window = load16(p + 14);
  out.urgent = load16(p + 18);
  return true;
}

void parse_tcp_options(std::span<const uint8_t> options, bool syn, TcpOptions& out) {
  const uint8_t* p = options.data();
  size_t left = options.size();
  if (left == kTcpTimestampBytes && load32(p) == kTimestampPrefix) {  // nearly every segment
    out.has_timestamps = true;
    out.ts_value = load32(p + 4);
    out.ts_echo = load32(p + 8);
    return;
  }
  while (left > 0) {
    if (*p == kEnd) return;
    if (*p == kNop) {
      ++p, --left;
      continue;
    }
    if (left < 2 || p[1] < 2 || p[1] > left) return;
    const uint32_t length = p[1];
    parse_option(p, length, syn, out);
    p += length;
    left -= length;
  }
}

uint32_t tcp_options_bytes(const TcpOptions& options) {
  uint32_t bytes = 0;
  if (options.has_mss) bytes += 4;
  if (options.has_timestamps) bytes += kTcpTimestampBytes;
  if (options.sack_permitted && !options.has_timestamps) bytes += 4;
  if (options.has_window_scale) bytes += 4;
  if (options.sack_count) bytes += 4 + 8u * options.sack_count;
  return bytes;
}

void build_tcp_header(uint8_t* p, const TcpHeader& header, const TcpOptions& options) {
  MR_DASSERT(header.header_bytes == kTcpHeaderBytes + tcp_options_bytes(options));
  store16(p, header.source_port);
  store16(p + 2, header.destination_port);
  store32(p + 4, header.seq.value());
  store32(p + 8, header.ack.value());
  p[12] = uint8_t(header.header_bytes / 4 << 4);
  p[13] = header.flags;
  store16(p + 14, header.window);
  store16(p + 16, 0);
  store16(p + 18, header.urgent);
  p += kTcpHeaderBytes;
  if (options.has_mss) {
    store32(p, uint32_t(kMss) << 24 | 4u << 16 | options.mss_bytes);
    p += 4;
  }
  if (options.has_timestamps) {
    // SACK-permitted takes the place of the two NOPs, so that a SYN's options fit into 20 bytes.
    store32(p, options.sack_permitted ? 0x0402080a : kTimestampPrefix);
    store32(p + 4, options.ts_value);
    store32(p + 8, options.ts_echo);
    p += 12;
  } else if (options.sack_permitted) {
    store32(p, 0x01010402);
    p += 4;
  }
  if (options.has_window_scale) {
    store32(p, 0x01030300 | options.window_scale);
    p += 4;
  }
  if (options.sack_count) {
    store32(p, 0x01010500 | (2u + 8u * options.sack_count));
    p += 4;
    for (uint8_t i = 0; i < options.sack_count; ++i, p += 8) {
      store32(p, options.sack[i].start.value());
      store32(p + 4, options.sack[i].end.value());
    }
  }
}

}  // namespace millrace::wire
