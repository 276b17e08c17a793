// SPDX-License-Identifier: MIT
// Does to a packet that was sent what a card would: writes the checksums that the mbuf asks for and
// cuts long TCP segments up. Strict about what is requested, as cards are not: a request that does
// not fit the packet's bytes fails the test. Byte by byte, independently of native/wire and of
// DPDK.
#pragma once

#include <doctest/doctest.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <vector>

#include "dpdk/ring_port.h"
#include "support/packets.h"

namespace millrace::test {

namespace finish {

inline uint32_t number(const Bytes& b, size_t at, size_t bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = value << 8 | b.at(at + i);
  return value;
}

inline Bytes all_bytes(const rte_mbuf& packet) {
  Bytes bytes;
  uint32_t parts = 0;
  for (const rte_mbuf* m = &packet; m; m = m->next, ++parts) {
    const auto* data = rte_pktmbuf_mtod(m, const uint8_t*);
    bytes.insert(bytes.end(), data, data + m->data_len);
  }
  CHECK(parts == packet.nb_segs);
  CHECK(bytes.size() == packet.pkt_len);
  return bytes;
}

// One's complement sum of the pseudo header, not complemented: what drivers want in the field.
inline Bytes pseudo_of(const Bytes& b, bool v4, size_t ip, uint32_t length) {
  const Bytes addresses = v4 ? Bytes(b.begin() + long(ip) + 12, b.begin() + long(ip) + 20)
                             : Bytes(b.begin() + long(ip) + 8, b.begin() + long(ip) + 40);
  return addresses + be32(length) + be32(b[ip + (v4 ? 9u : 6u)]);
}

inline void write_lengths_and_sums(Bytes& b, const rte_mbuf& m, bool v4,
                                   const Requested& requested) {
  const size_t ip = m.l2_len, transport = ip + m.l3_len;
  const bool tcp = b[ip + (v4 ? 9u : 6u)] == 6;
  put16(b, ip + (v4 ? 2 : 4), uint32_t(b.size() - (v4 ? ip : transport)));
  if (v4 && (requested.ipv4_header || requested.segments)) {
    put16(b, ip + 10, 0);
    put16(b, ip + 10, naive_checksum(Bytes(b.begin() + long(ip), b.begin() + long(transport))));
  }
  const size_t field = transport + (tcp ? 16 : 6);
  put16(b, field, 0);
  const Bytes covered(b.begin() + long(transport), b.end());
  uint16_t sum = naive_checksum(pseudo_of(b, v4, ip, uint32_t(covered.size())) + covered);
  if (!tcp && sum == 0) sum = 0xffff;
  put16(b, field, sum);
}

// The request against the packet's own headers.
inline bool check_request(const rte_mbuf& m, const Bytes& b, const Requested& requested) {
  REQUIRE(b.size() >= 14 + 20);
  CHECK(m.l2_len == 14);
  const bool v4 = b[14] >> 4 == 4;
  CHECK(((m.ol_flags & RTE_MBUF_F_TX_IPV4) != 0) == v4);
  CHECK(((m.ol_flags & RTE_MBUF_F_TX_IPV6) != 0) == !v4);
  CHECK(m.l3_len == (v4 ? (b[14] & 15u) * 4 : 40));
  const size_t transport = m.l2_len + m.l3_len;
  const bool tcp = b[v4 ? 23 : 20] == 6;
  CHECK((m.ol_flags & RTE_MBUF_F_TX_L4_MASK) ==
        (tcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM));
  CHECK(m.l4_len == (tcp ? (b.at(transport + 12) >> 4) * 4u : 8u));
  // All headers are in the first part: most drivers look no further.
  CHECK(m.data_len >= transport + m.l4_len);
  if (requested.ipv4_header) CHECK(number(b, 24, 2) == 0);
  const uint32_t ip_length = number(b, v4 ? 16 : 18, 2) + (v4 ? 0 : 40);
  CHECK(ip_length <= 65535);
  if (requested.segments) CHECK(ip_length == b.size() - 14);
  const uint32_t length = requested.segments ? 0 : ip_length - m.l3_len;
  const uint16_t pseudo = uint16_t(~naive_checksum(pseudo_of(b, v4, 14, length)));
  CHECK(number(b, transport + (tcp ? 16 : 6), 2) == pseudo);
  return v4;
}

}  // namespace finish

// What goes on the wire, with its Ethernet headers.
inline std::vector<Bytes> finish_packet(const rte_mbuf& packet, Requested* out = nullptr) {
  using namespace finish;
  const Bytes bytes = all_bytes(packet);
  Requested requested;
  requested.parts = packet.nb_segs;
  requested.checksum = (packet.ol_flags & RTE_MBUF_F_TX_L4_MASK) != 0;
  requested.ipv4_header = (packet.ol_flags & RTE_MBUF_F_TX_IP_CKSUM) != 0;
  requested.segments = (packet.ol_flags & RTE_MBUF_F_TX_TCP_SEG) != 0;
  requested.segment_bytes = requested.segments ? packet.tso_segsz : 0;
  if (out) *out = requested;
  if (!requested.checksum) {
    CHECK((packet.ol_flags & RTE_MBUF_F_TX_OFFLOAD_MASK) == 0);
    CHECK(packet.nb_segs == 1);  // nobody puts it together
    return {bytes};
  }
  const bool v4 = check_request(packet, bytes, requested);
  const size_t headers = packet.l2_len + packet.l3_len + packet.l4_len;
  Bytes whole = bytes;
  if (!requested.segments) {
    // A short frame's padding is no part of the packet.
    whole.resize(14 + number(bytes, v4 ? 16 : 18, 2) + (v4 ? 0 : 40));
    write_lengths_and_sums(whole, packet, v4, requested);
    whole.insert(whole.end(), bytes.begin() + long(whole.size()), bytes.end());
    return {whole};
  }
  REQUIRE(requested.segment_bytes > 0);
  std::vector<Bytes> cut;
  const size_t flags_at = packet.l2_len + packet.l3_len + 13;
  const uint32_t first = number(bytes, flags_at - 9, 4);
  for (size_t at = headers; at < bytes.size(); at += requested.segment_bytes) {
    const size_t end = std::min(bytes.size(), at + requested.segment_bytes);
    Bytes one(bytes.begin(), bytes.begin() + long(headers));
    one.insert(one.end(), bytes.begin() + long(at), bytes.begin() + long(end));
    const Bytes seq = be32(first + uint32_t(at - headers));
    std::copy(seq.begin(), seq.end(), one.begin() + long(flags_at) - 9);
    if (end < bytes.size()) one[flags_at] &= uint8_t(~0x09);  // FIN and PSH: the last one's
    if (at > headers) one[flags_at] &= uint8_t(~0x80);        // CWR: the first one's
    write_lengths_and_sums(one, packet, v4, requested);
    cut.push_back(std::move(one));
  }
  return cut;
}

}  // namespace millrace::test
