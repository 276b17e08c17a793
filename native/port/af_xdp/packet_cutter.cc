// SPDX-License-Identifier: MIT
#include "port/af_xdp/packet_cutter.h"

#include <linux/if_packet.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/close_fd.h"
#include "wire/byte_order.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp_header.h"

namespace millrace::af_xdp {
namespace {

using namespace std::string_view_literals;

// 64 KiB in segments of an Ethernet link's size.
constexpr uint16_t kFramesMax = 45;
constexpr uint32_t kBytesMax = 65535;
constexpr uint32_t kPacketSocketBufferBytes = 8 << 20;
constexpr uint32_t kIpv4ChecksumOffset = 10;

// struct virtio_net_hdr: the kernel's header of that name does not compile as C++.
struct ToKernel {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t header_bytes;
  uint16_t segment_bytes;
  uint16_t checksum_start;
  uint16_t checksum_offset;
};
static_assert(sizeof(ToKernel) == 10);
constexpr uint8_t kNeedsChecksum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM
constexpr uint8_t kCutTcpV4 = 1;       // VIRTIO_NET_HDR_GSO_TCPV4
constexpr uint8_t kCutTcpV6 = 4;       // VIRTIO_NET_HDR_GSO_TCPV6

// Finishes the headers of the whole as the kernel wants them of a packet that it is to cut: IPv4's
// checksum, and the pseudo header's sum in place of TCP's. Returns what the kernel must know.
ToKernel finish_headers(Frame& head, uint32_t total_bytes) {
  uint8_t* network = head.data() + wire::kEthernetHeaderBytes;
  const bool v4 = network[0] >> 4 == 4;
  const uint32_t network_bytes = v4 ? wire::kIpv4HeaderBytes : wire::kIpv6HeaderBytes;
  uint8_t* transport = network + network_bytes;
  const uint32_t header_bytes = wire::kEthernetHeaderBytes + network_bytes;
  const uint32_t transport_bytes = total_bytes - header_bytes;
  if (v4) {
    std::memset(network + kIpv4ChecksumOffset, 0, 2);
    const uint16_t sum = wire::checksum_finish(wire::checksum_partial({network, network_bytes}));
    std::memcpy(network + kIpv4ChecksumOffset, &sum, 2);
  }
  const auto source =
      v4 ? wire::IpAddress::v4(wire::load32(network + 12)) : wire::IpAddress::v6_bytes(network + 8);
  const auto destination = v4 ? wire::IpAddress::v4(wire::load32(network + 16))
                              : wire::IpAddress::v6_bytes(network + 24);
  const uint16_t pseudo = wire::checksum_fold(
      wire::checksum_pseudo(source, destination, wire::kTcpProtocol, transport_bytes));
  std::memcpy(transport + wire::kTcpChecksumOffset, &pseudo, 2);
  return {.flags = kNeedsChecksum,
          .gso_type = v4 ? kCutTcpV4 : kCutTcpV6,
          .header_bytes = uint16_t(header_bytes + (transport[12] >> 4) * 4),
          .segment_bytes = head.segment_bytes,
          .checksum_start = uint16_t(header_bytes),
          .checksum_offset = wire::kTcpChecksumOffset};
}

}  // namespace

bool PacketCutter::suits(const Device& device) {
  const std::string_view driver(device.driver);
  return (driver == "veth"sv || driver == "netkit"sv) && device.qdisc == "noqueue"sv;
}

SendOffloads PacketCutter::offloads() {
  SendOffloads offered;
  offered.segments_v4 = offered.segments_v6 = true;
  offered.packet_frames_max = kFramesMax;
  offered.packet_bytes_max = kBytesMax;
  return offered;
}

bool PacketCutter::open(uint32_t ifindex) {
  // Protocol 0: nothing is received.
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return false;
  ifindex_ = ifindex;
  const int on = 1;
  const int bytes = kPacketSocketBufferBytes;
  // Only saves refusals.
  setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
  if (setsockopt(fd_, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) == 0) return true;
  close();
  return false;
}

void PacketCutter::close() {
  close_fd(fd_);
}

Error PacketCutter::send(std::span<Frame* const> packet) {
  MR_ASSERT(packet.size() >= 2 && packet.size() <= kFramesMax);
  iovec parts[1 + kFramesMax];
  uint32_t total_bytes = 0;
  for (size_t i = 0; i < packet.size(); ++i) {
    parts[1 + i] = {packet[i]->data(), packet[i]->length};
    total_bytes += packet[i]->length;
  }
  ToKernel to_kernel = finish_headers(*packet[0], total_bytes);
  parts[0] = {&to_kernel, sizeof(to_kernel)};
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = int(ifindex_);
  std::memcpy(&to.sll_protocol, packet[0]->data() + wire::kEthernetHeaderBytes - 2, 2);
  msghdr message{};
  message.msg_name = &to;
  message.msg_namelen = sizeof(to);
  message.msg_iov = parts;
  message.msg_iovlen = 1 + packet.size();
  if (sendmsg(fd_, &message, MSG_DONTWAIT) >= 0) return kOk;
  return Error{errno};
}

}  // namespace millrace::af_xdp
