// SPDX-License-Identifier: MIT
#include "port/af_xdp/packet_cutter.h"

#include <doctest/doctest.h>

#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr uint32_t kSegmentBytes = 1000;
constexpr uint32_t kSegments = 5;
constexpr uint32_t kSeq = 0xfffffc00;  // wraps within the packet
constexpr uint16_t kPort = 80;

struct Segment {
  uint32_t seq;
  uint8_t flags;
  std::string payload;
  bool checksum_right;
};

// What the other end's interface gets: frames with TCP segments of ours.
std::vector<Segment> capture(Rig& rig, size_t payload_bytes, bool v4) {
  std::vector<Segment> out;
  size_t got = 0;
  while (got < payload_bytes) {
    uint8_t frame[70'000];
    pollfd p{rig.packet_fd, POLLIN, 0};
    if (poll(&p, 1, 2000) != 1) break;
    const ssize_t bytes = recv(rig.packet_fd, frame, sizeof(frame), 0);
    if (bytes < 54 || wire::load16(frame + 12) != (v4 ? 0x0800 : 0x86dd)) continue;
    const uint8_t* network = frame + 14;
    const size_t header = v4 ? 20 : 40;
    if (network[v4 ? 9 : 6] != 6) continue;
    const uint8_t* tcp = network + header;
    if (wire::load16(tcp) != kPort) continue;
    const size_t length =
        v4 ? wire::load16(network + 2) - header : size_t(wire::load16(network + 4));
    if (v4) CHECK(fold(sum(network, 20)) == 0);
    uint32_t s = uint32_t(6 + length) + sum(tcp, length);
    s += v4 ? sum(network + 12, 8) : sum(network + 8, 32);
    const char* payload = reinterpret_cast<const char*>(tcp + 20);
    out.push_back(
        {wire::load32(tcp + 4), tcp[13], std::string(payload, length - 20), fold(s) == 0});
    got += length - 20;
  }
  return out;
}

// One packet of several frames, as TCP hands it to a port, with a small one in front and behind.
struct LongPacket {
  LongPacket(Rig& rig, bool v4) : rig(rig), v4(v4) {
    put(segment(kSeq - 5, "first"), 0, 0);
    for (uint32_t i = 0; i < kSegments; ++i) {
      const std::string part(i + 1 < kSegments ? kSegmentBytes : 333, char('a' + i));
      payload += part;
      if (i > 0) put(Bytes(part.begin(), part.end()), Frame::kContinues, 0);
      if (i == 0) put(segment(kSeq, part), 0, uint16_t(kSegmentBytes));
    }
    fix_length();
    put(segment(kSeq + uint32_t(payload.size()), "last!"), 0, 0);
  }
  ~LongPacket() {
    for (Frame* f : frames) rig.pool.release(f);
  }
  Bytes segment(uint32_t seq, const std::string& text) const {
    Bytes body = tcp(kPort, 9000, kAck, seq, 77);
    body.insert(body.end(), text.begin(), text.end());
    const Bytes whole =
        v4 ? packet("10.77.0.1", "10.77.0.2", 6, body) : packet("fd77::1", "fd77::2", 6, body);
    return ethernet(rig.there_mac, rig.here_mac, whole);
  }
  void put(const Bytes& bytes, uint8_t flags, uint16_t segment_bytes) {
    Frame* f = rig.pool.alloc();
    REQUIRE(f);
    f->length = uint32_t(bytes.size());
    std::memcpy(f->data(), bytes.data(), bytes.size());
    f->flags = flags;
    f->segment_bytes = segment_bytes;
    frames.push_back(f);
  }
  // IpLayer::append() does this.
  void fix_length() {
    uint8_t* network = frames[1]->data() + 14;
    wire::store16(network + (v4 ? 2 : 4), uint16_t((v4 ? 40 : 20) + payload.size()));
    frames[1]->data()[14 + (v4 ? 20 : 40) + 13] |= 8;  // PSH, for the last segment
  }

  Rig& rig;
  bool v4;
  std::string payload;
  std::vector<Frame*> frames;
};

}  // namespace

TEST_CASE("af_xdp: a long TCP packet leaves in its place among others, cut or whole" *
          needs_root()) {
  for (const bool v4 : {true, false}) {
    for (const bool whole : {true, false}) {
      CAPTURE(v4);
      CAPTURE(whole);
      Rig rig;
      REQUIRE_MESSAGE(rig.ok, rig.error.text);
      REQUIRE(rig.port->info().offloads.segments_v4);
      REQUIRE(rig.port->info().offloads.segments_v6);
      if (!whole) {
        Inside here(rig.veth.here);
        REQUIRE(run({"ethtool", "-K", VethPair::kHere, "tso", "off", "gso", "off", "tx", "off"}));
      }
      LongPacket sent(rig, v4);
      REQUIRE(rig.port->transmit(clock_now(), sent.frames) == sent.frames.size());
      rig.port->flush(clock_now());
      const auto got = capture(rig, sent.payload.size() + 10, v4);
      REQUIRE(got.size() >= 3);
      CHECK(got.front().payload == "first");
      CHECK(got.back().payload == "last!");
      CHECK(got.size() == (whole ? 3 : 2 + kSegments));
      std::string payload;
      for (size_t i = 1; i + 1 < got.size(); ++i) {
        CHECK(got[i].seq == kSeq + uint32_t(payload.size()));
        if (!whole) CHECK(got[i].checksum_right);
        CHECK(bool(got[i].flags & 8) == (i + 2 == got.size()));
        payload += got[i].payload;
      }
      CHECK(payload == sent.payload);
      CHECK(rig.port->stats().tx_dropped == 0);
      for (const Frame* f : sent.frames) CHECK(f->segment_bytes * f->tx_pending == 0);
    }
  }
}

TEST_CASE(
    "af_xdp: where the kernel does not take a long packet it is lost, and no other is asked for" *
    needs_root()) {
  Rig rig;
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  LongPacket sent(rig, true);
  {
    Inside here(rig.veth.here);
    REQUIRE(run({"ip", "link", "del", VethPair::kHere}));
  }
  const auto rest = std::span<Frame* const>(sent.frames).subspan(1, kSegments);
  REQUIRE(rig.port->transmit(clock_now(), rest) == rest.size());
  CHECK(rig.port->stats().tx_dropped == kSegments);
  CHECK_FALSE(rig.port->info().offloads.segments_v4);
  REQUIRE(rig.port->transmit(clock_now(), rest) == rest.size());  // of before: nobody waits for it
}
