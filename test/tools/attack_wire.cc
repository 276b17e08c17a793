// SPDX-License-Identifier: MIT
// Frames by hand: building, sending, taking apart.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "attack.h"

namespace attack {

namespace {

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(2);
}

uint16_t fold(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

bool parse_tcp(const Bytes& b, Tcp& out) {
  if (b.size() < 20) return false;
  const size_t header = static_cast<size_t>(b[12] >> 4) * 4;
  if (header < 20 || header > b.size()) return false;
  const uint8_t* p = b.data();
  out.source = static_cast<uint16_t>(get16(p));
  out.destination = static_cast<uint16_t>(get16(p + 2));
  out.seq = get32(p + 4);
  out.ack = get32(p + 8);
  out.flags = b[13];
  out.window = static_cast<uint16_t>(get16(p + 14));
  out.options.assign(b.begin() + 20, b.begin() + static_cast<long>(header));
  out.payload.assign(b.begin() + static_cast<long>(header), b.end());
  return true;
}

bool parse_frame(Bytes frame, Received& out) {
  if (frame.size() < 34) return false;
  const uint32_t type = get16(&frame[12]);
  const uint8_t* ip = &frame[14];
  const size_t room = frame.size() - 14;
  size_t header = 0, total = 0;
  if (type == 0x0800) {
    header = (ip[0] & 15u) * 4;
    total = get16(ip + 2);
    out.protocol = ip[9];
    memcpy(out.path.from.bytes, ip + 12, 4);
    memcpy(out.path.to.bytes, ip + 16, 4);
    out.path.from.v6 = out.path.to.v6 = false;
  } else if (type == 0x86dd && room >= 40) {
    header = 40;
    total = 40 + get16(ip + 4);
    out.protocol = ip[6];
    memcpy(out.path.from.bytes, ip + 8, 16);
    memcpy(out.path.to.bytes, ip + 24, 16);
    out.path.from.v6 = out.path.to.v6 = true;
  } else {
    return false;
  }
  if (header > total || total > room) return false;
  out.transport.assign(ip + header, ip + total);
  out.frame = std::move(frame);
  return out.protocol != IPPROTO_TCP || parse_tcp(out.transport, out.tcp);
}

}  // namespace

uint64_t now_us() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000u + static_cast<uint64_t>(t.tv_nsec) / 1000;
}

void sleep_us(uint32_t us) {
  const timespec pause{us / 1000000, static_cast<long>(us % 1000000) * 1000};
  nanosleep(&pause, nullptr);
}

Bytes bytes_of(std::string_view text) {
  return {text.begin(), text.end()};
}

Address parse(const char* text) {
  Address a;
  a.v6 = strchr(text, ':') != nullptr;
  if (inet_pton(a.v6 ? AF_INET6 : AF_INET, text, a.bytes) != 1) {
    fprintf(stderr, "not an address: %s\n", text);
    exit(2);
  }
  return a;
}

Address Address::plus(uint32_t n) const {
  Address a = *this;
  uint8_t* low = a.bytes + a.size() - 4;
  put32(low, get32(low) + n);
  return a;
}

bool Address::operator==(const Address& other) const {
  return v6 == other.v6 && memcmp(bytes, other.bytes, size()) == 0;
}

void fix_ip_checksum(Bytes& packet) {
  const size_t header = (packet[0] & 15u) * 4;
  if (packet[0] >> 4 != 4 || header > packet.size() || header < 12) return;
  put16(&packet[10], 0);
  put16(&packet[10], fold(sum16(packet.data(), header)));
}

Bytes ip_packet(const Path& path, uint8_t protocol, const Bytes& payload,
                const IpOptions& options) {
  if (path.to.v6) {
    Bytes packet(40);
    packet[0] = 0x60;
    put16(&packet[4], static_cast<uint32_t>(payload.size()));
    packet[6] = protocol;
    packet[7] = options.ttl;
    memcpy(&packet[8], path.from.bytes, 16);
    memcpy(&packet[24], path.to.bytes, 16);
    packet.insert(packet.end(), payload.begin(), payload.end());
    return packet;
  }
  Bytes packet(20);
  packet[0] = static_cast<uint8_t>(0x45 + options.options.size() / 4);
  put16(&packet[2], static_cast<uint32_t>(20 + options.options.size() + payload.size()));
  put16(&packet[4], options.id);
  put16(&packet[6], options.fragment);
  packet[8] = options.ttl;
  packet[9] = protocol;
  memcpy(&packet[12], path.from.bytes, 4);
  memcpy(&packet[16], path.to.bytes, 4);
  packet.insert(packet.end(), options.options.begin(), options.options.end());
  packet.insert(packet.end(), payload.begin(), payload.end());
  fix_ip_checksum(packet);
  return packet;
}

void put_checksum(Bytes& transport, size_t at, const Path& path, uint8_t protocol) {
  put16(&transport[at], 0);
  uint32_t sum = sum16(path.from.bytes, path.from.size()) + sum16(path.to.bytes, path.to.size()) +
                 protocol + static_cast<uint32_t>(transport.size()) +
                 sum16(transport.data(), transport.size());
  put16(&transport[at], fold(sum));
}

Bytes tcp_packet(const Path& path, const Tcp& tcp, const IpOptions& ip) {
  Bytes b(20);
  put16(&b[0], tcp.source);
  put16(&b[2], tcp.destination);
  put32(&b[4], tcp.seq);
  put32(&b[8], tcp.ack);
  b[13] = tcp.flags;
  put16(&b[14], tcp.window);
  put16(&b[18], tcp.urgent);
  b.insert(b.end(), tcp.options.begin(), tcp.options.end());
  while (b.size() % 4) b.push_back(0);
  b[12] = static_cast<uint8_t>(b.size() / 4 << 4);
  b.insert(b.end(), tcp.payload.begin(), tcp.payload.end());
  put_checksum(b, 16, path, IPPROTO_TCP);
  return ip_packet(path, IPPROTO_TCP, b, ip);
}

Bytes udp_packet(const Path& path, uint16_t source, uint16_t destination, const Bytes& payload,
                 const IpOptions& ip) {
  Bytes b(8);
  put16(&b[0], source);
  put16(&b[2], destination);
  put16(&b[4], static_cast<uint32_t>(8 + payload.size()));
  b.insert(b.end(), payload.begin(), payload.end());
  put_checksum(b, 6, path, IPPROTO_UDP);
  return ip_packet(path, IPPROTO_UDP, b, ip);
}

Bytes icmp_error(const Path& path, uint8_t type, uint8_t code, uint32_t argument,
                 const Bytes& quoted) {
  Bytes b(8);
  b[0] = type;
  b[1] = code;
  put32(&b[4], argument);
  b.insert(b.end(), quoted.begin(), quoted.end());
  if (path.to.v6) {
    put_checksum(b, 2, path, IPPROTO_ICMPV6);
    return ip_packet(path, IPPROTO_ICMPV6, b);
  }
  put16(&b[2], fold(sum16(b.data(), b.size())));
  return ip_packet(path, IPPROTO_ICMP, b);
}

Wire::Wire(const char* interface, const char* mill_mac) {
  unsigned m[6];
  if (sscanf(mill_mac, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6) {
    fail("not a MAC address");
  }
  for (int i = 0; i < 6; ++i) mill_[i] = static_cast<uint8_t>(m[i]);
  fd_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
  if (fd_ < 0) fail("socket");
  ifindex_ = static_cast<int>(if_nametoindex(interface));
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = ifindex_;
  if (ifindex_ == 0 || bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at) < 0) fail(interface);
  ifreq request{};
  snprintf(request.ifr_name, sizeof request.ifr_name, "%s", interface);
  if (ioctl(fd_, SIOCGIFHWADDR, &request) < 0) fail("SIOCGIFHWADDR");
  memcpy(own_, request.ifr_hwaddr.sa_data, 6);
  const int room = 8 << 20;
  setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
}

Wire::~Wire() {
  close(fd_);
}

void Wire::send_frame(const Bytes& frame) {
  for (int tries = 0; tries < 100; ++tries) {
    if (::send(fd_, frame.data(), frame.size(), 0) >= 0) return;
    if (errno != EAGAIN && errno != ENOBUFS) return;  // longer than the link: not a packet at all
    sleep_us(100);
  }
}

Bytes Wire::frame_of(const Bytes& ip) const {
  Bytes frame(14);
  memcpy(&frame[0], mill_, 6);
  memcpy(&frame[6], own_, 6);
  put16(&frame[12], !ip.empty() && ip[0] >> 4 == 6 ? 0x86dd : 0x0800);
  frame.insert(frame.end(), ip.begin(), ip.end());
  return frame;
}

void Wire::send(const Bytes& ip) {
  send_frame(frame_of(ip));
}

bool Wire::read_one() {
  Bytes frame(65536);
  sockaddr_ll from{};
  socklen_t length = sizeof from;
  const ssize_t n =
      recvfrom(fd_, frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
  if (n <= 0) return false;
  if (from.sll_pkttype == PACKET_OUTGOING) return true;
  frame.resize(static_cast<size_t>(n));
  Received received;
  if (!parse_frame(std::move(frame), received)) return true;
  if (seen) seen(received);
  if (received.protocol != IPPROTO_TCP) return true;
  const auto peer = peers_.find(received.tcp.destination);
  if (peer != peers_.end() && peer->second->path.from == received.path.to) {
    peer->second->on_segment(received.tcp);
  }
  return true;
}

void Wire::pump(uint32_t ms, const std::function<bool()>& done) {
  const uint64_t until = now_us() + uint64_t(ms) * 1000;
  for (;;) {
    while (read_one()) {
      if (done && done()) return;
    }
    const uint64_t now = now_us();
    if ((done && done()) || now >= until) return;
    pollfd ready{fd_, POLLIN, 0};
    poll(&ready, 1, static_cast<int>((until - now) / 1000 + 1));
  }
}

}  // namespace attack
