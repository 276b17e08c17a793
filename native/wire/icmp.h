// SPDX-License-Identifier: MIT
// ICMP (RFC 792) and ICMPv6 (RFC 4443) as numbers: types, what an error means to a socket, the
// excerpt that an error quotes. No state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "wire/ip_address.h"

namespace millrace::wire {

inline constexpr uint32_t kIcmpHeaderBytes = 8;

namespace icmp4 {
inline constexpr uint8_t kEchoReply = 0;
inline constexpr uint8_t kUnreachable = 3;
inline constexpr uint8_t kEchoRequest = 8;
inline constexpr uint8_t kTimeExceeded = 11;
inline constexpr uint8_t kParameterProblem = 12;
inline constexpr uint8_t kCodeProtocol = 2;
inline constexpr uint8_t kCodePort = 3;
inline constexpr uint8_t kCodeFragmentationNeeded = 4;
}  // namespace icmp4

namespace icmp6 {
inline constexpr uint8_t kUnreachable = 1;
inline constexpr uint8_t kPacketTooBig = 2;
inline constexpr uint8_t kTimeExceeded = 3;
inline constexpr uint8_t kParameterProblem = 4;
inline constexpr uint8_t kEchoRequest = 128;
inline constexpr uint8_t kEchoReply = 129;
inline constexpr uint8_t kCodePort = 4;
inline constexpr uint8_t kCodeUnknownNextHeader = 1;
inline constexpr uint8_t kFirstInformational = 128;
}  // namespace icmp6

// What a socket is told of an ICMP error: Linux's numbers. errno_code 0: not an error, or one to be
// ignored (source quench, RFC 6633; redirects).
struct IcmpMeaning {
  int errno_code = 0;
  bool hard = false;     // ends a connection attempt, and is told to connected datagram sockets
  bool too_big = false;  // the packet did not fit a link's MTU
};
IcmpMeaning meaning_of_icmp4(uint8_t type, uint8_t code);
IcmpMeaning meaning_of_icmp6(uint8_t type, uint8_t code);

// The packet excerpt in an ICMP error.
struct IcmpQuote {
  IpAddress source;
  IpAddress destination;
  uint8_t protocol = 0;
  uint32_t total_bytes = 0;            // as the quoted header says
  std::span<const uint8_t> transport;  // at least 8 bytes
};
// `quoted`: what follows the 8 bytes of ICMP header. False when it is not the beginning of an
// unfragmented (or first) datagram with at least 8 bytes of its transport header.
bool parse_quote4(std::span<const uint8_t> quoted, IcmpQuote& out);
bool parse_quote6(std::span<const uint8_t> quoted, IcmpQuote& out);

}  // namespace millrace::wire
