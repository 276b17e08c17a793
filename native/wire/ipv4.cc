// SPDX-License-Identifier: MIT
#include "wire/ipv4.h"

#include "wire/checksum.h"

namespace millrace::wire {

namespace {

enum OptionKind : uint8_t {
  kOptionEnd = 0,
  kOptionNop = 1,
  kOptionRecordRoute = 7,
  kOptionTimestamp = 68,
  kOptionLooseRoute = 131,
  kOptionStrictRoute = 137,
  kOptionRouterAlert = 148,
};

// RFC 791 3.1: the byte of a timestamp option that is wrong; 0: none.
uint32_t timestamp_fault(std::span<const uint8_t> option) {
  constexpr uint8_t kWithAddress = 1, kPrespecified = 3;
  if (option.size() < 4) return 1;
  const size_t pointer = option[2], entry = option[3] & 15;
  if (pointer < 5) return 2;
  if (pointer > option.size()) {  // full: the next hop cannot even count what it leaves out
    return entry != kPrespecified && option[3] >> 4 == 15 ? 3 : 0;
  }
  const size_t bytes = entry == kWithAddress || entry == kPrespecified ? 8 : 4;
  return pointer + bytes - 1 > option.size() ? 2 : 0;
}

// The same of any option whose length fits.
uint32_t option_fault(std::span<const uint8_t> option) {
  switch (option[0]) {
    case kOptionRecordRoute:
    case kOptionLooseRoute:
    case kOptionStrictRoute: {
      if (option.size() < 3) return 1;
      const size_t pointer = option[2];
      const bool room = pointer <= option.size();
      const bool record = option[0] == kOptionRecordRoute;
      return pointer < 4 || (record && room && pointer + 3 > option.size()) ? 2 : 0;
    }
    case kOptionTimestamp:
      return timestamp_fault(option);
    case kOptionRouterAlert:
      return option.size() < 4 ? 1 : 0;
    default:
      return 0;
  }
}

bool once_only(uint8_t kind, uint32_t& seen) {
  const uint32_t bit = kind == kOptionRecordRoute                                ? 1
                       : kind == kOptionTimestamp                                ? 2
                       : kind == kOptionLooseRoute || kind == kOptionStrictRoute ? 4
                                                                                 : 0;
  const bool first = (seen & bit) == 0;
  seen |= bit;
  return first;
}

// RFC 1122 3.2.1.8: options are skipped by length; what is malformed, and which byte of it is named
// to the sender (`pointer`), is Linux's choice. Source routes are refused, as Linux does by
// default: a reply must never travel along a route that the sender chose.
IpProblem check_options(std::span<const uint8_t> header, uint8_t& pointer) {
  size_t at = kIpv4HeaderBytes;
  uint32_t seen = 0;
  bool routed = false;
  while (at < header.size()) {
    const uint8_t kind = header[at];
    if (kind == kOptionEnd) break;
    if (kind == kOptionNop) {
      ++at;
      continue;
    }
    pointer = uint8_t(at);
    if (at + 1 >= header.size()) return IpProblem::kOptions;
    const size_t length = header[at + 1];
    if (length < 2 || length > header.size() - at) return IpProblem::kOptions;
    const uint32_t fault = option_fault(header.subspan(at, length));
    pointer = uint8_t(at + fault);
    if (fault || !once_only(kind, seen)) return IpProblem::kOptions;
    routed |= kind == kOptionLooseRoute || kind == kOptionStrictRoute;
    at += length;
  }
  return routed ? IpProblem::kSourceRoute : IpProblem::kNone;
}

}  // namespace

IpProblem parse_ipv4(std::span<const uint8_t> packet, Ipv4View& out, bool quoted) {
  if (packet.size() < kIpv4HeaderBytes) return IpProblem::kHeader;
  const uint8_t* p = packet.data();
  if (p[0] >> 4 != 4) return IpProblem::kHeader;
  out.header_bytes = uint32_t(p[0] & 0x0f) * 4;
  if (out.header_bytes < kIpv4HeaderBytes || out.header_bytes > packet.size()) {
    return IpProblem::kHeader;
  }
  out.total_bytes = load16(p + 2);
  if (out.total_bytes < out.header_bytes) return IpProblem::kHeader;
  if (!quoted) {
    if (out.total_bytes > packet.size()) return IpProblem::kHeader;
    if (checksum_fold(checksum_partial(packet.first(out.header_bytes))) != 0xffff) {
      return IpProblem::kChecksum;
    }
  }
  const uint16_t fragment = load16(p + 6);
  out.fragment = (fragment & 0x3fff) != 0;  // more fragments, or an offset
  out.first = (fragment & 0x1fff) == 0;
  out.traffic_class = p[1];
  out.ttl = p[8];
  out.protocol = p[9];
  out.source = IpAddress::v4_bytes(p + 12);
  out.destination = IpAddress::v4_bytes(p + 16);
  if (quoted || out.header_bytes == kIpv4HeaderBytes) return IpProblem::kNone;
  return check_options(packet.first(out.header_bytes), out.bad_option);
}

}  // namespace millrace::wire
