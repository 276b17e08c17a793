// SPDX-License-Identifier: MIT
#include "wire/ipv4.h"

#include "wire/checksum.h"

namespace millrace::wire {

namespace {

constexpr uint8_t kOptionEnd = 0;
constexpr uint8_t kOptionNop = 1;
constexpr uint8_t kOptionLooseRoute = 131;
constexpr uint8_t kOptionStrictRoute = 137;

// RFC 1122 3.2.1.8: options are skipped by length. Source routes are refused, as Linux does by
// default: a reply must never travel along a route that the sender chose.
IpProblem check_options(std::span<const uint8_t> options) {
  size_t at = 0;
  while (at < options.size()) {
    const uint8_t kind = options[at];
    if (kind == kOptionEnd) break;
    if (kind == kOptionNop) {
      ++at;
      continue;
    }
    if (kind == kOptionLooseRoute || kind == kOptionStrictRoute) return IpProblem::kSourceRoute;
    if (at + 1 >= options.size()) return IpProblem::kHeader;
    const size_t length = options[at + 1];
    if (length < 2 || length > options.size() - at) return IpProblem::kHeader;
    at += length;
  }
  return IpProblem::kNone;
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
    if (out.header_bytes > kIpv4HeaderBytes) {
      const IpProblem problem =
          check_options(packet.subspan(kIpv4HeaderBytes, out.header_bytes - kIpv4HeaderBytes));
      if (problem != IpProblem::kNone) return problem;
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
  return IpProblem::kNone;
}

}  // namespace millrace::wire
