// SPDX-License-Identifier: MIT
#include "port/dpdk/offloads.h"

#include <rte_ip.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>

namespace millrace::dpdk {
namespace {

constexpr uint64_t kChecksums = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
constexpr uint64_t kSegments = RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
// 64 KiB in segments of an Ethernet link's size. Small segments are not worth more frames at once.
constexpr uint16_t kPacketFrames = 45;
constexpr uint32_t kPacketBytes = 65535;

// 0 and the largest number stand for "any number".
uint16_t most_parts(const rte_eth_dev_info& info) {
  uint16_t most = kPacketFrames;
  for (const uint16_t limit : {info.tx_desc_lim.nb_seg_max, info.tx_desc_lim.nb_mtu_seg_max}) {
    if (limit > 0) most = std::min(most, limit);
  }
  return most;
}

}  // namespace

SendPlan plan_sending(const rte_eth_dev_info& info, uint64_t capabilities) {
  SendPlan plan;
  if ((capabilities & kChecksums) != kChecksums) return plan;
  plan.offered.checksums = true;
  plan.device_offloads = kChecksums;
  plan.ipv4_header = (capabilities & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
  if (plan.ipv4_header) plan.device_offloads |= RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
  // net_tap reports it and is not believed: docs/ports.md tells what was seen of DPDK 22.11's.
  const bool tap = std::string_view(info.driver_name ? info.driver_name : "") == "net_tap";
  const uint16_t parts = most_parts(info);
  if ((capabilities & kSegments) != kSegments || parts < 2 || tap) return plan;
  plan.device_offloads |= kSegments;
  plan.offered.segments_v4 = plan.offered.segments_v6 = true;
  plan.offered.packet_frames_max = parts;
  plan.offered.packet_bytes_max = kPacketBytes;
  return plan;
}

void ask_to_finish(const SendPlan& plan, const Frame& head, rte_mbuf& packet) {
  auto* link = rte_pktmbuf_mtod(&packet, uint8_t*);
  uint8_t* network = link + sizeof(rte_ether_hdr);
  const bool v4 = network[0] >> 4 == 4;
  auto* ipv4 = reinterpret_cast<rte_ipv4_hdr*>(network);
  auto* ipv6 = reinterpret_cast<rte_ipv6_hdr*>(network);
  packet.l2_len = sizeof(rte_ether_hdr);
  packet.l3_len = v4 ? rte_ipv4_hdr_len(ipv4) : sizeof(rte_ipv6_hdr);
  uint8_t* transport = network + packet.l3_len;
  const bool tcp = (v4 ? ipv4->next_proto_id : ipv6->proto) == IPPROTO_TCP;
  uint64_t flags = v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  uint8_t* checksum;
  if (tcp) {
    packet.l4_len = (reinterpret_cast<rte_tcp_hdr*>(transport)->data_off >> 4) * 4;
    checksum = transport + offsetof(rte_tcp_hdr, cksum);
    flags |= RTE_MBUF_F_TX_TCP_CKSUM;
  } else {
    packet.l4_len = sizeof(rte_udp_hdr);
    checksum = transport + offsetof(rte_udp_hdr, dgram_cksum);
    flags |= RTE_MBUF_F_TX_UDP_CKSUM;
  }
  if (head.segment_bytes > 0) {
    flags |= RTE_MBUF_F_TX_TCP_SEG;
    packet.tso_segsz = head.segment_bytes;
  }
  if (v4) {
    // Of a packet that is cut the checksum has to be the device's in any case; one that has not
    // said that it can gets a right one for the whole, which is what virtio's other end expects.
    ipv4->hdr_checksum = 0;
    if (plan.ipv4_header) {
      flags |= RTE_MBUF_F_TX_IP_CKSUM;
    } else {
      ipv4->hdr_checksum = rte_ipv4_cksum(ipv4);
    }
  }
  packet.ol_flags |= flags;
  const uint16_t pseudo =
      v4 ? rte_ipv4_phdr_cksum(ipv4, packet.ol_flags) : rte_ipv6_phdr_cksum(ipv6, packet.ol_flags);
  std::memcpy(checksum, &pseudo, sizeof(pseudo));
}

}  // namespace millrace::dpdk
