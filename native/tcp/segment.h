// SPDX-License-Identifier: MIT
// A received segment, parsed. `frame` begins with the payload; whoever keeps it sets it to null.
#pragma once

#include <cstdint>

#include "packet/frame_pool.h"
#include "wire/tcp_header.h"

namespace millrace::tcp {

struct Segment {
  Frame* frame = nullptr;
  wire::Seq seq;
  wire::Seq ack;
  uint32_t length = 0;  // payload bytes
  uint16_t window = 0;  // as on the wire
  uint8_t flags = 0;
  uint8_t ecn = 0;          // of the IP header (RFC 3168 5)
  uint8_t interface = 0;    // by which it came
  bool unfinished = false;  // its checksum: of the pseudo header alone
  bool reopens = false;     // a TIME-WAIT: the new ISS must be above `last_sent` (RFC 6191)
  wire::Seq last_sent;
  wire::TcpOptions options;

  bool has(uint8_t flag) const { return (flags & flag) != 0; }
  // Behind everything that occupies sequence space.
  wire::Seq end() const {
    return seq + (length + (has(wire::kTcpSyn) ? 1 : 0) + (has(wire::kTcpFin) ? 1 : 0));
  }
};

}  // namespace millrace::tcp
