// SPDX-License-Identifier: MIT
// Rows about the headers below: Ethernet, IP, extension headers, UDP, and what is answered to whom.
#include <string.h>

#include <algorithm>
#include <set>

#include "attack.h"

namespace attack {

namespace {

// Below the ports that the floods use: their SYN-ACKs are sent again and again, and are no answers
// to what comes later.
constexpr uint16_t kOwnPort = 1001;

// Counts what comes back while `action` runs and a little longer.
uint32_t answers_to(Context& c, const std::function<void()>& action) {
  uint32_t count = 0;
  c.wire.seen = [&](const Received& r) {
    // Neighbour discovery is the kernel's talk and no answer.
    const bool discovery = r.protocol == 58 && !r.transport.empty() && r.transport[0] >= 133;
    const uint8_t* to = r.path.to.bytes;
    const bool to_flood = r.protocol == 6 && !r.path.to.v6 && memcmp(to, c.v4.from.bytes, 3) == 0 &&
                          r.tcp.destination != kOwnPort;
    count += !discovery && !to_flood;
  };
  action();
  c.wire.pump(80);
  c.wire.seen = nullptr;
  return count;
}

Tcp syn_to(uint16_t port) {
  Tcp tcp;
  tcp.source = kOwnPort;
  tcp.destination = port;
  tcp.seq = 5000;
  tcp.flags = kSyn;
  return tcp;
}

// LAND and its kin: from the target itself, from loopback, from groups, from nobody; UDP that would
// echo for ever.
void land(Context& c) {
  uint32_t answers = answers_to(c, [&] {
    for (const char* from : {"", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
                             "10.77.255.255", "0.1.2.3", "240.0.0.1"}) {
      const Path path{*from ? parse(from) : c.v4.to, c.v4.to};
      for (int i = 0; i < 20; ++i) {
        Tcp tcp = syn_to(kEcho);
        tcp.source = i % 2 ? kEcho : kOwnPort;
        c.wire.send(tcp_packet(path, tcp));
        c.wire.send(udp_packet(path, kUdpEcho, kUdpEcho, bytes_of("echo")));
        c.sent += 2;
      }
    }
    for (const char* from : {"", "::1", "::", "ff02::1"}) {
      const Path path{*from ? parse(from) : c.v6.to, c.v6.to};
      c.wire.send(tcp_packet(path, syn_to(kEcho)));
      c.wire.send(udp_packet(path, kUdpEcho, kUdpEcho, bytes_of("echo")));
      c.sent += 2;
    }
  });
  c.say("answers", uint64_t(answers));
}

// CVE-2019-12256, Nucleus 31344: source routes and malformed IP options, in what would be answered.
void ip_options(Context& c) {
  const std::vector<Bytes> options = {
      {131, 7, 4, 10, 77, 0, 99, 0},  // loose source route
      {137, 7, 4, 10, 77, 0, 99, 0},  // strict
      {131, 0, 4, 0},
      {131, 3, 4, 0},
      {131, 255, 4, 0},
      {137, 3, 0, 0},
      {137, 7, 0, 0, 0, 0, 0, 0},
      {7, 0, 4, 0},
      {7, 3, 4, 0},
      {7, 255, 4, 0},
      {7, 3, 0, 0},
      {68, 0, 5, 0},
      {68, 3, 5, 0},
      {68, 255, 5, 0},
      {68, 4, 0, 0},
      {1, 1, 1, 131},
      {0, 131, 255, 255},
      {148, 2, 0, 0},
      {130, 255, 0, 0},
  };
  uint32_t routed = 0;
  c.wire.seen = [&](const Received& r) {
    // From a port of ours no option comes back; a source route from nobody. (Linux copies a record
    // of the route into its answer for a closed port.)
    if (r.path.from.v6 || r.frame[14] == 0x45) return;
    const bool from_ours = r.protocol == 6 || r.protocol == 17;
    routed += from_ours || r.frame[34] == 131 || r.frame[34] == 137;
  };
  for (const Bytes& option : options) {
    IpOptions ip;
    ip.options = option;
    c.wire.send(tcp_packet(c.v4, syn_to(kEcho), ip));
    c.wire.send(udp_packet(c.v4, 24002, kUdpEcho, bytes_of("echo"), ip));
    c.wire.send(udp_packet(c.v4, 24002, 9, bytes_of("closed"), ip));
    ip.options.assign(40, option[0]);
    c.wire.send(udp_packet(c.v4, 24002, kUdpEcho, bytes_of("echo"), ip));
    c.sent += 4;
    c.wire.pump(2);
  }
  c.wire.pump(50);
  c.wire.seen = nullptr;
  c.say("options_sent_back", uint64_t(routed));
}

// Headers that lie: version, lengths, checksums, protocols inside protocols; every byte of a
// payload cut away. TTL 0 is answered, as by Linux.
void ip_headers(Context& c) {
  const Bytes syn = tcp_packet(c.v4, syn_to(kEcho));
  const Bytes datagram = udp_packet(c.v4, 24003, kUdpEcho, bytes_of("echo"));
  const uint32_t answers = answers_to(c, [&] {
    const auto broken = [&](Bytes packet, size_t at, uint32_t value, bool fix, bool wide = false) {
      if (wide)
        put16(&packet[at], value);
      else
        packet[at] = static_cast<uint8_t>(value);
      if (fix) fix_ip_checksum(packet);
      c.wire.send(packet);
      ++c.sent;
    };
    for (const Bytes& good : {syn, datagram}) {
      for (const uint32_t first : {0x35, 0x55, 0x75, 0x40, 0x41, 0x44, 0x4f}) {
        broken(good, 0, first, true);
      }
      for (const uint32_t total : {0, 1, 19, 20, 21, 27, 1500, 65535}) {
        broken(good, 2, total, true, true);
      }
      broken(good, 10, 0xbeef, false, true);
      for (const uint32_t protocol : {4, 41, 2, 0, 255, 47}) broken(good, 9, protocol, true);
      for (size_t length = 20; length < good.size(); ++length) {
        Bytes cut(good.begin(), good.begin() + static_cast<long>(length));
        c.wire.send(cut);  // the header still says the whole
        ++c.sent;
      }
    }
    for (const uint32_t length : {0, 7, 13, 100, 65535}) broken(datagram, 24, length, false, true);
    for (const uint32_t offset : {0x00, 0x40, 0x70, 0xf0}) broken(syn, 32, offset, false);
    // IP in IP, and a fragment within.
    c.wire.send(ip_packet(c.v4, 4, syn));
    c.wire.send(ip_packet(c.v4, 41, ip_packet(c.v6, 17, datagram)));
  });
  // An ICMP "protocol unreachable" may come for the strange protocols: those are the kernel's.
  c.say("answers", uint64_t(answers));
}

Bytes ipv6_with(const Path& path, uint8_t first, const Bytes& chain) {
  return ip_packet(path, first, chain);
}

// CVE-2020-17444 and others: extension headers that wrap, a hundred of them, routing header 0,
// lengths beyond the frame, atomic and overlapping fragments.
void ipv6_headers(Context& c) {
  Bytes udp = udp_packet(c.v6, 24004, kUdpEcho, bytes_of("echo"));
  udp.erase(udp.begin(), udp.begin() + 40);
  const auto send = [&](uint8_t first, Bytes chain) {
    chain.insert(chain.end(), udp.begin(), udp.end());
    c.wire.send(ipv6_with(c.v6, first, chain));
    ++c.sent;
  };
  for (const uint8_t first : {0, 43, 60, 51, 135, 139, 140, 253}) {
    for (const uint8_t length : {0, 1, 2, 31, 127, 255}) {
      send(first, {17, length, 1, 4, 0, 0, 0, 0});
      send(first, {first, length, 0, 0, 0, 0, 0, 0});
      send(first, {0, length, 194, 4, 255, 255, 255, 255});
    }
  }
  Bytes hundred;
  for (int i = 0; i < 100; ++i) {
    const Bytes one = {static_cast<uint8_t>(i == 99 ? 17 : 60), 0, 1, 4, 0, 0, 0, 0};
    hundred.insert(hundred.end(), one.begin(), one.end());
  }
  for (int i = 0; i < 20; ++i) send(60, hundred);
  for (uint32_t i = 0; i < 200 * c.scale; ++i) {
    Bytes fragment(8);
    fragment[0] = static_cast<uint8_t>(c.random.percent(50) ? 17 : 44);
    put16(&fragment[2], c.random.below(65536));
    put32(&fragment[4], c.random.below(4));
    send(44, fragment);
  }
  send(44, {17, 0, 0, 0, 0, 0, 0, 1});                          // atomic
  send(43, {17, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});  // routing header 0
  for (const uint32_t length : {0, 7, 1000, 65535}) {
    Bytes packet = udp_packet(c.v6, 24004, kUdpEcho, bytes_of("echo"));
    put16(&packet[4], length);
    c.wire.send(packet);
  }
  c.wire.pump(50);
  const uint32_t good =
      answers_to(c, [&] { c.wire.send(udp_packet(c.v6, 24004, kUdpEcho, bytes_of("echo"))); });
  c.say("good_answers", uint64_t(good));
}

// Ethernet: VLAN tags, padding, frames to a group with a packet to the host, types of nobody, RARP.
void ethernet(Context& c) {
  const Bytes datagram = udp_packet(c.v4, 24005, kUdpEcho, bytes_of("echo"));
  const auto tagged = [&](uint32_t tag, int tags = 1) {
    Bytes frame = c.wire.frame_of(datagram);
    for (int i = 0; i < tags; ++i) {
      frame.insert(frame.begin() + 12,
                   {0x81, 0, static_cast<uint8_t>(tag >> 8), static_cast<uint8_t>(tag)});
    }
    c.wire.send_frame(frame);
    ++c.sent;
  };
  c.say("vlan_answers", uint64_t(answers_to(c, [&] {
          for (const uint32_t tag : {1, 5, 4095, 0x6005}) tagged(tag);
          tagged(5, 2);
        })));
  c.say("priority_answers", uint64_t(answers_to(c, [&] { tagged(0xe000); })));
  // A datagram to the host in a frame to a group: Linux takes it. A segment: nobody does (RFC 1122
  // 3.3.6).
  c.say("group_tcp_answers", uint64_t(answers_to(c, [&] {
          for (const uint8_t first : {0x01, 0x33, 0xff}) {
            Bytes frame = c.wire.frame_of(tcp_packet(c.v4, syn_to(kEcho)));
            memset(&frame[0], first, 6);
            c.wire.send_frame(frame);
            ++c.sent;
          }
        })));
  answers_to(c, [&] {
    for (const uint32_t type : {0x8035, 0x0000, 0x0600, 0x88cc, 0xffff}) {
      Bytes frame = c.wire.frame_of(datagram);
      put16(&frame[12], type);
      c.wire.send_frame(frame);
      frame.resize(14);
      c.wire.send_frame(frame);
      c.sent += 2;
    }
    for (uint8_t type : {0x11, 0x16, 0x17, 0x22}) {  // IGMP junk
      Bytes igmp(1 + c.random.below(64), type);
      c.wire.send(ip_packet(c.v4, 2, igmp));
      ++c.sent;
    }
  });
}

// CVE-2003-0001: short frames are filled up with zeros, though the memory they are sent from has
// held other packets before.
void etherleak(Context& c) {
  Bytes secret(1400, 0xa5);
  uint32_t padded = 0, leaking = 0, dirty = 0;
  c.wire.seen = [&](const Received& r) {
    if (r.path.from.v6 || r.frame.size() != 60) {
      dirty += r.frame.size() > 1000;
      return;
    }
    const size_t end = 14 + get16(&r.frame[16]);
    if (end >= 60) return;
    ++padded;
    leaking += std::any_of(r.frame.begin() + static_cast<long>(end), r.frame.end(),
                           [](uint8_t b) { return b != 0; });
  };
  for (int i = 0; i < 500; ++i) {
    c.wire.send(udp_packet(c.v4, 24006, kUdpEcho, secret));
    c.wire.pump(0);
  }
  c.wire.pump(100);
  for (int i = 0; i < 1000; ++i) {
    c.wire.send(udp_packet(c.v4, 24006, kUdpEcho, {static_cast<uint8_t>(i)}));
    Tcp tcp = syn_to(9);  // reset by nobody's port: the kernel's; the echo port's ACK: ours
    tcp.flags = kAck;
    tcp.destination = kEcho;
    c.wire.send(tcp_packet(c.v4, tcp));
    c.sent += 2;
    c.wire.pump(0);
  }
  c.wire.pump(200);
  c.wire.seen = nullptr;
  c.say("dirty", uint64_t(dirty));
  c.say("padded", uint64_t(padded));
  c.say("leaking", uint64_t(leaking));
}

// SAD DNS (CVE-2020-25705): 60 spoofed probes every 20 ms to a port that answers to its peer only.
void icmp_budget(Context& c) {
  uint32_t errors = 0;
  std::set<uint32_t> budgets;
  c.wire.seen = [&](const Received& r) { errors += r.protocol == 1 && r.transport[0] == 3; };
  for (uint32_t round = 0; round < 50 * c.scale; ++round) {
    const uint32_t before = errors;
    for (uint32_t i = 0; i < 60; ++i) {
      const Path from{c.v4.from.plus(i % 60), c.v4.to};
      c.wire.send(udp_packet(from, 24007, kUdpConnected, bytes_of("probe")));
      ++c.sent;
    }
    c.wire.pump(20);
    budgets.insert(errors - before);
  }
  c.wire.seen = nullptr;
  c.say("errors", uint64_t(errors));
  c.say("different_budgets", uint64_t(budgets.size()));
}

}  // namespace

const std::vector<Row> kPacketRows = {
    {"land", land},
    {"ip-options", ip_options},
    {"ip-headers", ip_headers},
    {"ethernet", ethernet},
    {"ipv6-headers", ipv6_headers},
    {"etherleak", etherleak},
    {"icmp-budget", icmp_budget},
};

}  // namespace attack
