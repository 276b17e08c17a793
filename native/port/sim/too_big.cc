// SPDX-License-Identifier: MIT
#include "port/sim/too_big.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

namespace millrace {

using namespace wire;

namespace {

constexpr size_t kLinkBytes = 14;
constexpr size_t kIpv6Bytes = 40;
constexpr size_t kAnswer4BytesMax = 576;   // RFC 1812 4.3.2.3
constexpr size_t kAnswer6BytesMax = 1280;  // RFC 4443 3.2

// The router speaks with the destination's address: it needs none of its own.
void build4(std::span<const uint8_t> packet, uint32_t mtu_bytes, uint8_t* out, size_t quoted) {
  uint8_t* icmp = out + kIpv4HeaderBytes;
  std::memset(icmp, 0, kIcmpHeaderBytes);
  icmp[0] = icmp4::kUnreachable;
  icmp[1] = icmp4::kCodeFragmentationNeeded;
  store16(icmp + 6, uint16_t(mtu_bytes));
  std::memcpy(icmp + kIcmpHeaderBytes, packet.data(), quoted);
  const size_t length = kIcmpHeaderBytes + quoted;
  const uint16_t sum = checksum_finish(checksum_partial({icmp, length}));
  std::memcpy(icmp + 2, &sum, 2);
  build_ipv4(out, {.total_bytes = uint16_t(kIpv4HeaderBytes + length), .protocol = kProtocolIcmp},
             IpAddress::v4_bytes(packet.data() + 16), IpAddress::v4_bytes(packet.data() + 12));
}

void build6(std::span<const uint8_t> packet, uint32_t mtu_bytes, uint8_t* out, size_t quoted) {
  const size_t length = kIcmpHeaderBytes + quoted;
  std::memset(out, 0, kIpv6Bytes + kIcmpHeaderBytes);
  out[0] = 0x60;
  store16(out + 4, uint16_t(length));
  out[6] = kProtocolIcmpv6;
  out[7] = 64;
  std::memcpy(out + 8, packet.data() + 24, 16);
  std::memcpy(out + 24, packet.data() + 8, 16);
  uint8_t* icmp = out + kIpv6Bytes;
  icmp[0] = icmp6::kPacketTooBig;
  store32(icmp + 4, mtu_bytes);
  std::memcpy(icmp + kIcmpHeaderBytes, packet.data(), quoted);
  const uint64_t pseudo =
      checksum_pseudo(IpAddress::v6_bytes(out + 8), IpAddress::v6_bytes(out + 24), kProtocolIcmpv6,
                      uint32_t(length));
  const uint16_t sum = checksum_finish(checksum_partial({icmp, length}, pseudo));
  std::memcpy(icmp + 2, &sum, 2);
}

}  // namespace

bool build_too_big(std::span<const uint8_t> frame, bool ethernet, uint32_t mtu_bytes,
                   std::vector<uint8_t>& answer) {
  const size_t link = ethernet ? kLinkBytes : 0;
  if (frame.size() < link + kIpv6Bytes) return false;
  const std::span<const uint8_t> packet = frame.subspan(link);
  const uint8_t version = packet[0] >> 4;
  if (version != 4 && version != 6) return false;
  const bool v4 = version == 4;
  if (packet[v4 ? 9 : 6] == (v4 ? kProtocolIcmp : kProtocolIcmpv6)) return false;
  const size_t headers = (v4 ? kIpv4HeaderBytes : kIpv6Bytes) + kIcmpHeaderBytes;
  const size_t room = (v4 ? kAnswer4BytesMax : kAnswer6BytesMax) - headers;
  const size_t quoted = std::min(packet.size(), room);
  answer.resize(link + headers + quoted);
  if (ethernet) {
    std::memcpy(answer.data(), frame.data() + 6, 6);
    std::memcpy(answer.data() + 6, frame.data(), 6);
    std::memcpy(answer.data() + 12, frame.data() + 12, 2);
  }
  (v4 ? build4 : build6)(packet, mtu_bytes, answer.data() + link, quoted);
  return true;
}

}  // namespace millrace
