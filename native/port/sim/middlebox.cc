// SPDX-License-Identifier: MIT
#include "port/sim/middlebox.h"

#include <cstring>

#include "wire/byte_order.h"
#include "wire/checksum.h"
#include "wire/ip_address.h"
#include "wire/ipv4.h"

namespace millrace {

namespace {

constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8;

// Where the parts of a packet lie; `transport` is null when a box would not look into it.
struct Parts {
  uint8_t* ip = nullptr;
  uint8_t* transport = nullptr;
  uint32_t length = 0;  // of the transport header and what follows
  uint8_t protocol = 0;
  bool v4 = false;
};

Parts parts_of(std::span<uint8_t> frame, bool ethernet) {
  Parts p;
  const size_t link = ethernet ? 14 : 0;
  if (frame.size() < link + 28) return p;
  const std::span<uint8_t> packet = frame.subspan(link);
  if (ethernet) {
    const uint16_t type = wire::load16(frame.data() + 12);
    if (type != 0x0800 && type != 0x86dd) return p;
  }
  p.ip = packet.data();
  p.v4 = packet[0] >> 4 == 4;
  const size_t header = p.v4 ? 20 : 40;
  if (packet.size() < header + 8 || (p.v4 ? packet[0] != 0x45 : packet[0] >> 4 != 6)) return p;
  const size_t total = p.v4 ? wire::load16(p.ip + 2) : 40u + wire::load16(p.ip + 4);
  if (total > packet.size() || total < header + 8) return p;
  if (p.v4 && (wire::load16(p.ip + 6) & 0x3fff)) return p;  // a fragment
  p.protocol = p.ip[p.v4 ? 9 : 6];
  p.length = uint32_t(total - header);
  if (p.protocol == wire::kProtocolUdp || (p.protocol == wire::kProtocolTcp && p.length >= 20))
    p.transport = p.ip + header;
  return p;
}

// RFC 1624: the checksum follows a changed word, right or wrong as it was.
void change_word(uint8_t* word, uint16_t value, uint8_t* checksum) {
  const uint16_t before = wire::load16(word);
  uint32_t sum = uint32_t(uint16_t(~wire::load16(checksum))) + uint16_t(~before) + value;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  wire::store16(word, value);
  wire::store16(checksum, uint16_t(~sum));
}

void finish_tcp(const Parts& p) {
  using wire::IpAddress;
  const IpAddress from = p.v4 ? IpAddress::v4_bytes(p.ip + 12) : IpAddress::v6_bytes(p.ip + 8);
  const IpAddress to = p.v4 ? IpAddress::v4_bytes(p.ip + 16) : IpAddress::v6_bytes(p.ip + 24);
  std::memset(p.transport + 16, 0, 2);
  const uint64_t pseudo = wire::checksum_pseudo(from, to, wire::kProtocolTcp, p.length);
  const uint16_t sum =
      wire::checksum_finish(wire::checksum_partial({p.transport, p.length}, pseudo));
  std::memcpy(p.transport + 16, &sum, 2);
}

// Gives the packet a new length of what follows the IP header.
void set_length(Parts& p, uint32_t length) {
  p.length = length;
  if (!p.v4) {
    wire::store16(p.ip + 4, uint16_t(length));
    return;
  }
  wire::store16(p.ip + 2, uint16_t(20 + length));
  std::memset(p.ip + 10, 0, 2);
  const uint16_t sum = wire::checksum_finish(wire::checksum_partial({p.ip, 20}));
  std::memcpy(p.ip + 10, &sum, 2);
}

}  // namespace

bool translate_port(std::span<uint8_t> frame, bool ethernet, PortSide side, uint16_t shift) {
  const Parts p = parts_of(frame, ethernet);
  if (!p.transport) return true;
  uint8_t* word = p.transport + (side == PortSide::kSource ? 0 : 2);
  const uint16_t port = wire::load16(word);
  const uint16_t inside = nat_inside(port);
  if (port < kNatFirst || port >= 30'000) return true;
  uint8_t* checksum = p.transport + (p.protocol == wire::kProtocolTcp ? 16 : 6);
  if (side == PortSide::kSource) {
    change_word(word, uint16_t(port + shift), checksum);
    return true;
  }
  if (port != inside + shift) return false;
  change_word(word, inside, checksum);
  return true;
}

bool split_segment(std::vector<uint8_t>& first, bool ethernet, uint32_t number,
                   std::vector<uint8_t>& second) {
  Parts a = parts_of(first, ethernet);
  if (!a.transport || a.protocol != wire::kProtocolTcp || (a.transport[13] & (kSyn | kRst)))
    return false;
  const uint32_t header = uint32_t(a.transport[12] >> 4) * 4;
  if (header < 20 || a.length < header + 2) return false;
  const uint32_t payload = a.length - header;
  const uint32_t keep = 1 + number % (payload - 1);
  second = first;
  Parts b = parts_of(second, ethernet);
  std::memmove(b.transport + header, b.transport + header + keep, payload - keep);
  wire::store32(b.transport + 4, wire::load32(a.transport + 4) + keep);
  a.transport[13] &= uint8_t(~(kFin | kPsh));
  set_length(a, header + keep);
  set_length(b, header + payload - keep);
  finish_tcp(a);
  finish_tcp(b);
  first.resize(size_t(a.transport - first.data()) + a.length);
  second.resize(size_t(b.transport - second.data()) + b.length);
  return true;
}

}  // namespace millrace
