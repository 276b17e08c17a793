// SPDX-License-Identifier: MIT
#include "sim/checker.h"

#include <cstdarg>
#include <cstdio>

#include "base/siphash.h"
#include "port/sim/middlebox.h"
#include "sim/content.h"
#include "wire/checksum.h"
#include "wire/seq.h"

namespace millrace::sim {

using wire::IpAddress;
using wire::load16;
using wire::load32;
using wire::Seq;

namespace {
constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kAck = 16;
constexpr uint8_t kTcp = 6;

std::string text(const char* format, ...) {
  char buffer[256];
  va_list args;
  va_start(args, format);
  std::vsnprintf(buffer, sizeof(buffer), format, args);
  va_end(args);
  return buffer;
}

bool before(uint32_t a, uint32_t b) {
  return Seq(a) < Seq(b);
}

std::span<const uint8_t> ip_packet(std::span<const uint8_t> bytes, bool ethernet) {
  if (!ethernet) return bytes;
  if (bytes.size() < 14) return {};
  const uint16_t type = load16(bytes.data() + 12);
  return type == 0x0800 || type == 0x86dd ? bytes.subspan(14) : std::span<const uint8_t>();
}
}  // namespace

Checker::Checker(const Scenario& scenario, bool verbose, Fail fail)
    : scenario_(scenario), verbose_(verbose), fail_(std::move(fail)), hash_(scenario.seed) {
  for (const HostPlan& host : scenario.hosts) mtu_.push_back(host.mtu_bytes);
}

void Checker::mix_in(uint64_t value) {
  hash_ = mix(hash_ ^ value);
}

void Checker::note(Instant now, uint32_t what, uint64_t value) {
  mix_in(uint64_t(now.ns));
  mix_in(uint64_t(what) << 56 ^ value);
}

void Checker::on_frame(Instant now, SimEvent event, uint32_t port, std::span<const uint8_t> bytes) {
  mix_in(uint64_t(now.ns));
  mix_in(uint64_t(event) << 32 | port);
  mix_in(event == SimEvent::kSent || event == SimEvent::kCorrupted
             ? SipHash::hash({scenario_.seed, 1}, bytes)
             : bytes.size());
  if (verbose_) print(now, event, port, bytes);
  if (event != SimEvent::kSent || scenario_.hostile) return;
  ++frames_sent_;
  const std::span<const uint8_t> packet = ip_packet(bytes, scenario_.ethernet);
  if (packet.empty()) return;  // ARP
  if (packet.size() > mtu_[port]) {
    return fail_(text("a packet of %zu bytes was sent on an MTU of %u", packet.size(), mtu_[port]));
  }
  Segment segment;
  std::string problem;
  if (parse(packet, segment, problem)) {
    check_segment(now, port, segment);
  } else if (!problem.empty()) {
    fail_("malformed packet sent: " + problem);
  }
}

// False with an empty `problem` for what is not TCP.
bool Checker::parse(std::span<const uint8_t> p, Segment& out, std::string& problem) {
  problem.clear();
  IpAddress source, destination;
  uint8_t protocol = 0;
  size_t header = 0, total = 0;
  if (p.size() >= 20 && p[0] >> 4 == 4) {
    header = size_t(p[0] & 15) * 4;
    total = load16(p.data() + 2);
    protocol = p[9];
    source = IpAddress::v4_bytes(p.data() + 12), destination = IpAddress::v4_bytes(p.data() + 16);
    if (header < 20 || header > p.size()) return problem = "IPv4 header length", false;
    if (wire::checksum_finish(wire::checksum_partial(p.first(header)))) {
      return problem = "IPv4 checksum", false;
    }
  } else if (p.size() >= 40 && p[0] >> 4 == 6) {
    header = 40;
    total = size_t(40) + load16(p.data() + 4);
    protocol = p[6];
    source = IpAddress::v6_bytes(p.data() + 8), destination = IpAddress::v6_bytes(p.data() + 24);
  } else {
    return problem = "neither IPv4 nor IPv6", false;
  }
  // Short Ethernet frames are padded to 60 bytes (IEEE 802.3 4.2.3.3).
  const bool padded = scenario_.ethernet && p.size() == 46;
  if (total > p.size() || (total < p.size() && !padded)) return problem = "IP total length", false;
  const std::span<const uint8_t> t = p.subspan(header, total - header);
  if (protocol != kTcp) return false;
  if (t.size() < 20) return problem = "TCP header cut off", false;
  const uint64_t sum = wire::checksum_partial(
      t, wire::checksum_pseudo(source, destination, kTcp, uint32_t(t.size())));
  if (wire::checksum_finish(sum)) return problem = "TCP checksum", false;
  const size_t offset = size_t(t[12] >> 4) * 4;
  if (offset < 20 || offset > t.size()) return problem = "TCP data offset", false;
  out.flow = {{source, nat_inside(load16(t.data()))},
              {destination, nat_inside(load16(t.data() + 2))}};
  out.seq = load32(t.data() + 4);
  out.ack = load32(t.data() + 8);
  out.flags = t[13];
  out.window = load16(t.data() + 14);
  out.payload = t.subspan(offset);
  if (!parse_options(t.subspan(20, offset - 20), out)) return problem = "TCP options", false;
  return true;
}

bool Checker::parse_options(std::span<const uint8_t> o, Segment& out) {
  size_t i = 0;
  while (i < o.size() && o[i] != 0) {
    if (o[i] == 1) {
      ++i;
      continue;
    }
    if (i + 1 >= o.size() || o[i + 1] < 2 || i + o[i + 1] > o.size()) return false;
    const size_t length = o[i + 1];
    const uint8_t* value = o.data() + i + 2;
    switch (o[i]) {
      case 2:
        if (length != 4) return false;
        out.mss = load16(value);
        break;
      case 3:
        if (length != 3 || value[0] > 14) return false;
        out.has_scale = true, out.scale = value[0];
        break;
      case 5:
        if (length < 10 || (length - 2) % 8 || length > 34) return false;
        for (size_t k = 0; k < (length - 2) / 8; ++k, ++out.sacks) {
          out.sack[out.sacks][0] = load32(value + 8 * k);
          out.sack[out.sacks][1] = load32(value + 8 * k + 4);
        }
        break;
      case 8:
        if (length != 10) return false;
        out.has_stamps = true, out.stamp = load32(value), out.echo = load32(value + 4);
        break;
      default:
        break;
    }
    i += length;
  }
  return true;
}

void Checker::check_segment(Instant now, uint32_t host, const Segment& s) {
  Direction& own = directions_[s.flow];
  Direction& peer = directions_[{s.flow.remote, s.flow.local}];
  const bool syn = s.flags & kSyn, fin = s.flags & kFin;
  if (s.flags & kRst) {
    own.reset = true;
    return;
  }
  const uint32_t end = s.seq + uint32_t(s.payload.size()) + syn + fin;
  if (!syn) settle_isn(own, s.seq);
  if (syn && (!own.known || own.isn != s.seq)) {
    const bool again = own.known && (s.flags & kAck) && own.sent_to == own.isn + 1;
    const bool reborn = own.known;
    const uint32_t other = own.isn;
    own = {};
    own.reborn = reborn;
    own.has_other_isn = again, own.other_isn = other;
    own.known = true;
    find_connection(s.flow, own);
    own.isn = s.seq;
    own.sent_to = own.isn + 1;
    if (s.mss) own.mss = s.mss;
    own.scales = s.has_scale, own.scale = s.scale;
    own.stamps = s.has_stamps;
    own.stamp_max = s.stamp;
    // What the peer has said about an earlier incarnation (an old SYN may begin another) is
    // history.
    peer.edge_known = peer.later_edge_known = peer.acked_any = false;
  }
  if (own.reset || !own.known) return;
  if (rebound_ && scenario_.connections[own.connection].may_break) return;
  if (s.has_stamps) {
    // A SYN cookie keeps options in the lowest bits of its timestamp: one for a SYN that was
    // repeated without ECN may be a few ticks below the one before.
    const bool cookie = syn && (s.flags & kAck);
    if (before(s.stamp, own.stamp_max) && !cookie) return fail_("timestamp went backwards");
    if (!before(s.stamp, own.stamp_max)) own.stamp_max = s.stamp;
  }
  // What is left of an earlier connection between the same ports has nothing to do with this one.
  if (peer.reset) return;
  if (peer.known && peer.connection != own.connection) return;
  // RFC 9293 3.10: nothing may come after FIN, and FIN stays where it is.
  if (fin) {
    if (own.fin && own.fin_seq != end - 1) {
      return fail_(text("FIN moved from %u to %u", own.fin_seq - own.isn, end - 1 - own.isn));
    }
    own.fin = true, own.fin_seq = end - 1;
  }
  if (own.fin && before(own.fin_seq + 1, end)) return fail_("bytes sent behind FIN");
  // The peer may have begun anew, by a late copy of a SYN, and have said so to one who has not
  // heard.
  const bool unheard = peer.reborn && peer.sent_to == peer.isn + 1;
  if (peer.edge_known && !unheard && before(peer.edge + 1, end)) {
    return fail_(
        text("sent to %u, %u bytes past the peer's window", end - own.isn, end - peer.edge));
  }
  if (peer.known && s.payload.size() > peer.mss) {
    return fail_(text("segment of %zu bytes, peer's MSS is %u", s.payload.size(), peer.mss));
  }
  if (s.payload.size() && before(s.seq, own.sent_to)) {
    retransmitted_bytes_ += std::min(uint32_t(s.payload.size()), own.sent_to - s.seq);
  }
  if (!s.payload.empty()) check_content(s, own);
  if (before(own.sent_to, end)) own.sent_to = end;
  if (s.flags & kAck) check_acknowledgement(s, own, peer);
}

// The first segment behind the SYN-ACK, or the first ACK of it, says which of two was meant.
void Checker::settle_isn(Direction& d, uint32_t number) {
  if (!d.has_other_isn) return;
  d.has_other_isn = false;
  if (number != d.other_isn + 1) return;
  d.isn = d.other_isn;
  d.sent_to = d.isn + 1;
}

void Checker::check_acknowledgement(const Segment& s, Direction& own, Direction& peer) {
  settle_isn(peer, s.ack);
  if (!peer.known) return fail_("ACK of a peer that has sent no SYN");
  // A late copy of the first SYN has begun another handshake, and a TIME-WAIT answers from the old
  // one.
  if (peer.reborn && peer.sent_to == peer.isn + 1 && s.ack != peer.sent_to) return;
  if (before(peer.sent_to, s.ack)) {
    return fail_(text("acknowledges %u, the peer has sent to %u", s.ack - peer.isn,
                      peer.sent_to - peer.isn));
  }
  if (own.acked_any && before(s.ack, own.acked_to)) {
    return fail_(text("ACK went back from %u to %u", own.acked_to - peer.isn, s.ack - peer.isn));
  }
  own.acked_any = true, own.acked_to = s.ack;
  // RFC 7323 2.2: the window of a SYN is never scaled; both sides must have offered scaling.
  const bool scaled = own.scales && peer.scales && !(s.flags & kSyn);
  const uint32_t edge = s.ack + (uint32_t(s.window) << (scaled ? own.scale : 0));
  // RFC 9293 3.8.6: a receiver should not take back what it has offered; less than the unit of the
  // scale may be lost in rounding.
  const uint32_t unit = scaled ? 1u << own.scale : 1;
  // A cookie does not hold all of the peer's MSS, and the window of its SYN-ACK was made for that.
  if (!(s.flags & kSyn)) {
    if (own.later_edge_known && before(edge + unit - 1, own.later_edge)) {
      fail_(text("the window's right edge went back by %u", own.later_edge - edge));
    }
    if (!own.later_edge_known || before(own.later_edge, edge)) own.later_edge = edge;
    own.later_edge_known = true;
  }
  if (!own.edge_known || before(own.edge, edge)) own.edge = edge;
  own.edge_known = true;
  // RFC 7323 3.2 and 4.3: once agreed, every segment has them, and they echo what was sent.
  if (own.stamps && peer.stamps) {
    if (!s.has_stamps) return fail_("timestamps were agreed and are missing");
    if (before(peer.stamp_max, s.echo)) return fail_("echoes a timestamp the peer never sent");
    if (s.echo == 0 && peer.stamp_max > 1'000'000) return fail_("TSecr is 0");
  }
  for (uint32_t i = 0; i < s.sacks; ++i) {
    const uint32_t left = s.sack[i][0], right = s.sack[i][1];
    if (!before(left, right)) return fail_("empty or reversed SACK block");
    if (before(peer.sent_to, right)) return fail_("SACK of bytes that were never sent");
    // RFC 2883: only the first block may lie below the acknowledgement.
    if (i > 0 && before(left, s.ack)) return fail_("SACK block below the acknowledgement");
  }
}

void Checker::set_connection(const wire::Endpoint& client, const wire::Endpoint& server,
                             uint32_t number) {
  connections_[{client, server}] = number;
}

void Checker::find_connection(const wire::FlowKey& flow, Direction& own) {
  auto found = connections_.find(flow);
  own.from_client = found != connections_.end();
  if (!own.from_client) found = connections_.find({flow.remote, flow.local});
  if (found == connections_.end()) return fail_("a SYN that nobody asked for");
  own.connection = found->second;
}

void Checker::check_content(const Segment& s, const Direction& own) {
  const ConnectionPlan& c = scenario_.connections[own.connection];
  const uint64_t offset = s.seq - own.isn - 1;
  const uint64_t limit = own.from_client ? c.client.send_bytes : c.server.send_bytes;
  // RFC 1122 4.2.3.6: a keep-alive may carry one byte of garbage that was acknowledged long ago.
  if (s.payload.size() == 1 && before(s.seq + 1, own.sent_to + 1) && s.payload[0] == 0) return;
  if (offset + s.payload.size() > limit) {
    return fail_(text("connection %u: sent to %llu, only %llu bytes were written", own.connection,
                      (unsigned long long)(offset + s.payload.size()), (unsigned long long)limit));
  }
  const uint64_t key = stream_key(scenario_.seed, own.connection, own.from_client);
  const size_t good = sim::check_content(key, offset, s.payload);
  if (good == s.payload.size()) return;
  fail_(text("connection %u %s: wrong byte sent at offset %llu", own.connection,
             own.from_client ? "client" : "server", (unsigned long long)(offset + good)));
}

void Checker::print(Instant now, SimEvent event, uint32_t port, std::span<const uint8_t> bytes) {
  std::printf("%12.6f %-11s host %u  ", double(now.ns) / 1e9, sim_event_name(event), port);
  const std::span<const uint8_t> packet = ip_packet(bytes, scenario_.ethernet);
  Segment s;
  std::string problem;
  if (packet.empty() || !parse(packet, s, problem)) {
    std::printf("%zu bytes %s\n", bytes.size(), problem.c_str());
    return;
  }
  const auto d = directions_.find(s.flow);
  const auto r = directions_.find({s.flow.remote, s.flow.local});
  const uint32_t seq0 = d != directions_.end() ? d->second.isn : s.seq;
  const uint32_t ack0 = r != directions_.end() ? r->second.isn : s.ack;
  std::printf("%u>%u %s%s%s%s seq %u len %zu", s.flow.local.port, s.flow.remote.port,
              s.flags & kSyn ? "S" : "", s.flags & kFin ? "F" : "", s.flags & kRst ? "R" : "",
              s.flags & kAck ? "." : "", s.seq - seq0, s.payload.size());
  if (s.flags & kAck) std::printf(" ack %u", s.ack - ack0);
  std::printf(" win %u", s.window);
  if (s.mss) std::printf(" mss %u", s.mss);
  if (s.has_scale) std::printf(" ws %u", s.scale);
  if (s.has_stamps) std::printf(" ts %u/%u", s.stamp, s.echo);
  for (uint32_t i = 0; i < s.sacks; ++i) {
    std::printf(" sack %u-%u", s.sack[i][0] - ack0, s.sack[i][1] - ack0);
  }
  std::printf("\n");
}

}  // namespace millrace::sim
