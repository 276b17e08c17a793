// SPDX-License-Identifier: MIT
// What a device is asked to finish: which of its offloads are used, what the mbufs say, and that
// what would go out is the stream that was written, whatever is lost. The device is a double: rings
// that carry what the driver would be given (ring_port.h), and a card in software at their end
// (finish_packet.h).
#include "port/dpdk/offloads.h"

#include <algorithm>

#include "dpdk/ring_port.h"
#include "port/wrap/fault_port.h"
#include "support/packets.h"
#include "tcp/harness.h"

using namespace millrace;
using namespace millrace::test;
using dpdk::plan_sending;
using dpdk::SendPlan;

namespace {

constexpr uint64_t kTransport = RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;

rte_eth_dev_info device(const char* driver, uint64_t capabilities) {
  rte_eth_dev_info info{};
  info.driver_name = driver;
  info.tx_offload_capa = capabilities;
  return info;
}

SendPlan plan(const char* driver, uint64_t capabilities) {
  const rte_eth_dev_info info = device(driver, capabilities);
  return plan_sending(info, info.tx_offload_capa);
}

uint32_t cut_packets(const World& w) {
  const auto& asked = w.a.port.requested();
  return uint32_t(std::count_if(asked.begin(), asked.end(), [](auto& a) { return a.segments; }));
}

const IpAddress kSixA = test::ip("2001:db8::1"), kSixB = test::ip("2001:db8::2");

}  // namespace

TEST_CASE("offloads are used as far as the device reports them, and what they need with them") {
  CHECK(!plan("net_af_xdp", RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE).offered.checksums);
  CHECK(!plan("x", RTE_ETH_TX_OFFLOAD_TCP_CKSUM).offered.checksums);  // UDP's are missing
  const SendPlan sums = plan(
      "net_e1000_em", kTransport | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_MULTI_SEGS);
  CHECK(sums.offered.checksums);
  CHECK(sums.ipv4_header);
  CHECK(!sums.offered.segments_v4);
  CHECK(!sums.offered.segments_v6);
  CHECK(sums.device_offloads == (kTransport | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM));
  // Cutting needs checksums and packets in several parts.
  CHECK(!plan("x", RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS).offered.segments_v4);
  CHECK(!plan("x", kTransport | RTE_ETH_TX_OFFLOAD_TCP_TSO).offered.segments_v4);
  const SendPlan all = plan("mlx5_pci", every_offload());
  CHECK(all.offered.segments_v4);
  CHECK(all.offered.segments_v6);
  CHECK(all.offered.packet_frames_max == 45);
  CHECK(all.offered.packet_bytes_max == 65535);
  CHECK(all.device_offloads == every_offload());
  CHECK(plan("net_tap", every_offload()).offered.segments_v4);
  CHECK(!plan("net_tap", every_offload()).offered.segments_v6);
  rte_eth_dev_info few = device("x", every_offload());
  few.tx_desc_lim.nb_mtu_seg_max = 8;
  few.tx_desc_lim.nb_seg_max = UINT16_MAX;
  CHECK(plan_sending(few, few.tx_offload_capa).offered.packet_frames_max == 8);
  few.tx_desc_lim.nb_seg_max = 1;
  CHECK(!plan_sending(few, few.tx_offload_capa).offered.segments_v4);
}

TEST_CASE("the port's mode says who does what") {
  FramePool pool(64, 2048);
  const auto mode = [&](uint64_t offloads) {
    WithOffloads with(offloads);
    RingPort port(pool);
    return std::string(port.info().mode);
  };
  CHECK(mode(0).find("sent ones by software, segments by software") != std::string::npos);
  CHECK(mode(kTransport).find("sent ones by device, segments by software") != std::string::npos);
  CHECK(mode(every_offload()).find("sent ones by device, segments by device,") !=
        std::string::npos);
  CHECK(mode(0).find("timestamps by software") != std::string::npos);
}

TEST_CASE("a long write is few packets to the device, and on the wire it is the stream") {
  for (const bool v6 : {false, true}) {
    CAPTURE(v6);
    WithOffloads with;
    World w({}, {}, 1500, v6 ? kSixA : kAddressA, v6 ? kSixB : kAddressB);
    w.establish();
    w.transfer(3'000'000);
    const uint32_t mss = w.a.tcp->payload_mss_bytes(*w.ca);
    uint32_t longest = 0, in_long_ones = 0;
    for (const Requested& asked : w.a.port.requested()) {
      CHECK(asked.checksum);
      if (!asked.segments) continue;
      CHECK(asked.segment_bytes == mss);
      CHECK(asked.parts > 1);
      longest = std::max(longest, asked.parts);
      in_long_ones += asked.parts;
    }
    CHECK(longest > 30);
    CHECK(in_long_ones > 3'000'000 / mss * 9 / 10);
    CHECK(w.a.tcp->counters().tcp_retransmits == 0);
    // Counted as they are on the wire.
    const auto data = std::count_if(w.log.begin(), w.log.end(),
                                    [&](const Packet& p) { return p.source == w.address_a; });
    CHECK(w.a.tcp->counters().tcp_sent == uint64_t(data));
    CHECK(w.a.port.stats().tx_frames == uint64_t(data));
  }
}

TEST_CASE("the wire shows the same packets, whoever cuts them") {
  const auto packets = [](uint64_t offloads) {
    WithOffloads with(offloads);
    World w;
    w.establish();
    w.transfer(400'000);
    w.a.tcp->shutdown_write(w.now, *w.ca);
    w.run(Duration::millis(100));
    CHECK(w.b.tcp->at_end(*w.cb));
    std::vector<Bytes> all;
    for (const Packet& p : w.log) all.push_back(p.bytes);
    return all;
  };
  const std::vector<Bytes> ours = packets(0), sums = packets(kTransport),
                           cut = packets(every_offload());
  CHECK(ours == sums);
  CHECK(ours == cut);
}

TEST_CASE("what is lost of a packet that the device cut is sent again, and nothing else") {
  for (const bool sack : {true, false}) {
    CAPTURE(sack);
    WithOffloads with;
    World w;
    w.hook = [&](Packet& p, bool) -> Fate {
      if (!sack && p.has(wire::kTcpSyn)) strip_option(p, 4);
      return {w.delay};
    };
    w.establish();
    CHECK(w.ca->sack == sack);
    const std::vector<int> lost =
        sack ? std::vector<int>{60, 62, 64, 65, 66, 70, 75, 90} : std::vector<int>{60};
    int n = 0;
    w.hook = [&](Packet& p, bool from_a) -> Fate {
      if (from_a && p.length > 0 && std::find(lost.begin(), lost.end(), n++) != lost.end())
        return {};
      return {w.delay};
    };
    w.transfer(1'000'000);
    CHECK(cut_packets(w) > 0);
    CHECK(w.a.tcp->counters().tcp_retransmits == lost.size());
    CHECK(w.a.tcp->counters().tcp_timeouts == 0);
    CHECK(w.b.tcp->counters().tcp_duplicates == 0);
  }
}

TEST_CASE("a device that still has the packet keeps its bytes; what is sent again is a copy") {
  WithOffloads with;
  World w;
  w.establish();
  w.transfer(200'000);
  w.a.write(*w.ca, std::string(20 * 1448, 'a'));
  w.a.tcp->push(w.now, *w.ca);
  w.a.ip.flush(w.now);
  REQUIRE(!w.a.port.queued().empty());  // the ring has it, nobody takes it
  const uint64_t before = w.a.tcp->counters().tcp_retransmits;
  for (int i = 0; i < 50 && w.a.tcp->counters().tcp_retransmits == before; ++i) {
    w.now = std::max(w.now, w.a.wheel.next_deadline());
    w.a.wheel.advance(w.now);
    w.a.ip.flush(w.now);
  }
  CHECK(w.a.tcp->counters().tcp_retransmits > before);
  // Everything goes out now, the long packet as it was.
  w.run(Duration::seconds(2));
  CHECK(w.b.read(w.now, *w.cb) == std::string(20 * 1448, 'a'));
}

TEST_CASE("datagrams: the device is asked for their checksums, but not of those in fragments") {
  WithOffloads with;
  FramePool pool(64, 2048);
  RingPort port(pool, LinkType::kEthernet);
  const Bytes mac(6, 2);
  for (const bool v6 : {false, true}) {
    for (const size_t size : {0u, 1u, 2u, 1400u}) {
      CAPTURE(size);
      const Endpoint from{v6 ? kSixA : kAddressA, 53}, to{v6 ? kSixB : kAddressB, 9};
      const Bytes right = udp_packet(from, to, Bytes(size, 7));
      Bytes unfinished = right;
      put16(unfinished, (v6 ? 40 : 20) + 6, 0);
      Bytes frame = ethernet(mac, mac, v6 ? 0x86dd : 0x0800, unfinished);
      frame.resize(std::max<size_t>(frame.size(), 60));
      Frame* f = port.make_frame(frame);
      f->flags = Frame::kChecksumWanted;
      Frame* one[] = {f};
      REQUIRE(port.transmit(Instant{}, one) == 1);
      pool.release(f);
      Bytes sent = port.take();
      sent.resize(14 + right.size());
      CHECK(Bytes(sent.begin() + 14, sent.end()) == right);
    }
  }
}

TEST_CASE(
    "no mbuf left in the middle of a packet: it waits as a whole, and comes out whole later") {
  WithOffloads with;
  constexpr uint32_t kParts = 40, kPackets = 110, kPartBytes = 100;  // more than the port has mbufs
  FramePool pool(kParts * kPackets + 16, 2048);
  RingPort port(pool, LinkType::kIp);
  Bytes head = ip_packet(kAddressA, kAddressB, 6,
                         be16(1) + be16(2) + be32(1000) + be32(0) + Bytes{0x50, 0x10} + be16(100) +
                             be16(0) + be16(0) + Bytes(kPartBytes, 'a'));
  put16(head, 2, 40 + kParts * kPartBytes);
  std::vector<Frame*> frames;
  for (uint32_t i = 0; i < kParts * kPackets; ++i) {
    const bool first = i % kParts == 0;
    Frame* f = port.make_frame(first ? head : Bytes(kPartBytes, uint8_t('a' + i % kParts)));
    f->flags = first ? Frame::kChecksumWanted : Frame::kContinues;
    f->segment_bytes = first ? kPartBytes : 0;
    frames.push_back(f);
  }
  const uint32_t taken = port.transmit(Instant{}, frames);
  CHECK(taken > 0);
  CHECK(taken < frames.size());
  CHECK(taken % kParts == 0);
  CHECK(port.stats().tx_full == 1);
  const auto take_all = [&] {
    uint32_t segments = 0;
    for (Bytes b = port.take(); !b.empty(); b = port.take(), ++segments) {
      REQUIRE(b.size() == 40 + kPartBytes);
      CHECK(b[40] == 'a' + segments % kParts);
      CHECK(wire::load32(b.data() + 24) == 1000 + segments % kParts * kPartBytes);
    }
    return segments;
  };
  CHECK(take_all() == taken);
  const std::span<Frame* const> rest = std::span<Frame* const>(frames).subspan(taken);
  CHECK(port.transmit(Instant{}, rest) == rest.size());
  CHECK(take_all() == rest.size());
  for (Frame* f : frames) {
    CHECK(f->tx_pending == 0);
    CHECK(f->refs == 1);
    pool.release(f);
  }
}

TEST_CASE("who looks into packets gets them complete, and says so") {
  WithOffloads with;
  FramePool pool(64, 2048);
  auto ring = std::make_unique<RingPort>(pool);
  CHECK(ring->info().offloads.segments_v4);
  FaultPort port(std::move(ring), pool, FaultConfig{});
  CHECK(!port.info().offloads.checksums);
  CHECK(!port.info().offloads.segments_v4);
  CHECK(std::string(port.info().mode).find("software does that instead") != std::string::npos);
}
