// SPDX-License-Identifier: MIT
#include "wire/ipv6.h"

#include <algorithm>

namespace millrace::wire {

namespace {

constexpr uint8_t kHopByHop = 0;
constexpr uint8_t kRouting = 43;
constexpr uint8_t kDestinationOptions = 60;
constexpr uint32_t kNextHeaderField = 6;
constexpr uint8_t kErroneousField = 0;
constexpr uint8_t kUnknownNextHeader = 1;
constexpr uint8_t kUnknownOption = 2;
constexpr uint8_t kOptionPad1 = 0;
constexpr uint8_t kOptionPadN = 1;
constexpr uint8_t kHopByHopRouterAlert = 5;
constexpr uint32_t kPaddingMaxBytes = 7;  // more aligns nothing (RFC 4942 2.1.9.5)
constexpr uint32_t kOptionsMax = 8;       // of one header, padding aside (Linux)

void note_problem(Ipv6Chain& chain, uint8_t code, uint32_t pointer) {
  if (chain.result == Ipv6Walk::kProblem) return;  // the first one is the one to tell of
  chain.result = Ipv6Walk::kProblem;
  chain.code = code;
  chain.pointer = pointer;
}

bool all_zero(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b == 0; });
}

// RFC 8200 4.2. False when the packet is to be dropped in silence: padding that carries something
// or goes on and on is a hidden channel (RFC 4942 2.1.9.5).
bool check_options(std::span<const uint8_t> packet, uint32_t begin, uint32_t end,
                   Ipv6Chain& chain) {
  uint32_t at = begin, padding = 0, options = 0;
  while (at < end) {
    const uint8_t type = packet[at];
    if (type == kOptionPad1) {
      if (++padding > kPaddingMaxBytes) return false;
      ++at;
      continue;
    }
    if (at + 1 >= end) return false;
    const uint32_t length = 2u + packet[at + 1];
    if (length > end - at) return false;
    if (type == kOptionPadN) {
      padding += length;
      if (padding > kPaddingMaxBytes || !all_zero(packet.subspan(at + 2, length - 2))) return false;
      at += length;
      continue;
    }
    padding = 0;
    if (++options > kOptionsMax) return false;
    if (type != kHopByHopRouterAlert) {
      // The two highest bits say what to do with an option that is not known. 11 is 10 for a packet
      // that was not sent to a multicast address.
      const int action = type >> 6;
      if (action == 1) return false;
      if (action >= 2) note_problem(chain, kUnknownOption, at);
    }
    at += length;
  }
  return true;
}

}  // namespace

IpProblem parse_ipv6(std::span<const uint8_t> packet, Ipv6View& out, bool quoted) {
  if (packet.size() < kIpv6HeaderBytes) return IpProblem::kHeader;
  const uint8_t* p = packet.data();
  if (p[0] >> 4 != 6) return IpProblem::kHeader;
  const uint32_t payload = load16(p + 4);  // 0 would be a jumbogram (RFC 2675): not taken
  out.total_bytes = kIpv6HeaderBytes + payload;
  if (!quoted && (payload == 0 || out.total_bytes > packet.size())) return IpProblem::kHeader;
  out.traffic_class = uint8_t(p[0] << 4 | p[1] >> 4);
  out.next_header = p[6];
  out.hop_limit = p[7];
  out.source = IpAddress::v6_bytes(p + 8);
  out.destination = IpAddress::v6_bytes(p + 24);
  // IPv4-mapped addresses mean IPv4 in this stack, and nobody may send them on a wire (RFC
  // 4942 2.2).
  if (out.source.is_v4() || out.destination.is_v4()) return IpProblem::kHeader;
  return IpProblem::kNone;
}

Ipv6Chain walk_ipv6(std::span<const uint8_t> packet, uint8_t first_header) {
  Ipv6Chain chain;
  const Ipv6Chain dropped;
  uint32_t at = kIpv6HeaderBytes;
  uint32_t named_by = kNextHeaderField;
  uint8_t next = first_header;
  for (int headers = 0;; ++headers) {
    if (next == kHopByHop && headers > 0) note_problem(chain, kUnknownNextHeader, named_by);
    if (next == kProtocolIpv6Fragment) {
      if (chain.result != Ipv6Walk::kProblem) chain.result = Ipv6Walk::kFragment;
      return chain;
    }
    if (next != kHopByHop && next != kRouting && next != kDestinationOptions) {
      chain.protocol = next;
      chain.offset = at;
      if (chain.result == Ipv6Walk::kProblem || next == kNoNextHeader) return chain;
      chain.result = Ipv6Walk::kTransport;
      chain.pointer = named_by;
      return chain;
    }
    if (headers == kIpv6ExtensionsMax || packet.size() - at < 8) return dropped;
    const uint32_t length = (uint32_t(packet[at + 1]) + 1) * 8;
    if (length > packet.size() - at) return dropped;
    if (next == kRouting) {
      // RFC 8200 4.4: we are nobody's waypoint. RFC 5095: type 0 is refused in the same way.
      if (packet[at + 3] != 0) note_problem(chain, kErroneousField, at + 2);
    } else if (!check_options(packet, at + 2, at + length, chain)) {
      return dropped;
    }
    named_by = at;
    next = packet[at];
    at += length;
  }
}

}  // namespace millrace::wire
