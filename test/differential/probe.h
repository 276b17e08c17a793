// SPDX-License-Identifier: MIT
// What is sent to a host in one exchange: a segment, a datagram, or an ICMP error about one of the
// host's own packets, with or without headers in between. Numbers are offsets from what the host
// expects.
#pragma once

#include <string>
#include <vector>

#include "scripts/runner/packet.h"

namespace millrace::differential {

enum class Family : uint8_t { kBoth, kV4, kV6 };

// Where the host is when the packet comes: the states of RFC 9293 3.3.2 and some moments in them,
// and UDP's sockets.
enum class Place : uint8_t {
  kClosed,
  kListen,
  kSynReceived,
  kSynSent,
  kEstablished,
  kDataSent,
  kUnread,
  kFinWait1,
  kFinWait2,
  kClosing,
  kTimeWait,
  kCloseWait,
  kLastAck,
  kUdpBound,
  kUdpConnected,
};
constexpr const char* kPlaceNames[] = {"CLOSED",      "LISTEN",    "SYN-RECEIVED", "SYN-SENT",
                                       "ESTABLISHED", "DATA-SENT", "UNREAD",       "FIN-WAIT-1",
                                       "FIN-WAIT-2",  "CLOSING",   "TIME-WAIT",    "CLOSE-WAIT",
                                       "LAST-ACK",    "UDP-BOUND", "UDP-CONNECTED"};

enum class Kind : uint8_t { kSegment, kDatagram, kError };

// An ICMP error.
struct Error {
  uint8_t type = 0, code = 0;
  uint32_t rest = 0;        // the MTU, or a pointer
  uint32_t quoted_max = 0;  // bytes of the packet in it; 0: as many as usual
};

struct Probe {
  std::string name;
  Kind kind = Kind::kSegment;
  Family family = Family::kBoth;
  // Segments, and the host's packet that an error is about.
  uint8_t flags = 0;
  int seq = 0, ack = 0;
  uint32_t length = 0;
  bool timestamps = false;  // the connection has them, SACK and a window scale
  int ts_offset = 0;        // of the TSval
  bool without_ts = false;  // although agreed
  Error error;
  scripts::Bytes headers;  // IPv4 options, or IPv6 extension headers
  int first_header = -1;   // what the IPv6 header says is next
  bool bad_checksum = false, no_checksum = false, other_port = false;
  int udp_length = -1;

  bool fits(Place place, bool v6) const;
};

const std::vector<Probe>& probes();

}  // namespace millrace::differential
