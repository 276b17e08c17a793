// SPDX-License-Identifier: MIT
// Hostile packets for the end-to-end tests, at a rate and for a time that are both bounded:
//
//   flood syn|broken <address> <port> <source-network> <packets-a-second> <seconds> [seed]
//
// Sources are random addresses of the /16 of <source-network>, which must lead nowhere on this
// machine (a blackhole route), or it would reset what it never asked for. "syn": well-formed SYNs
// as Linux sends them. "broken": what no honest host sends: random bytes, headers cut short or
// lying about their length, impossible flags and options, fragments that never become whole, ACKs
// for nothing. Ends with a line of JSON. For network namespaces of tests only.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "big_endian.h"
#include "random.h"

namespace {

using tools::put16;
using tools::put32;
using tools::sum16;

constexpr uint32_t kIpBytes = 20;
constexpr uint32_t kTcpBytes = 20;
constexpr uint32_t kRateMax = 50000;
constexpr double kSecondsMax = 30;

struct Target {
  uint32_t address = 0;  // host order, as all numbers here
  uint32_t sources = 0;
  uint16_t port = 0;
};

using Bytes = std::vector<uint8_t>;

[[noreturn]] void fail(const char* what) {
  perror(what);
  exit(2);
}

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000u + static_cast<uint64_t>(t.tv_nsec);
}

/** The IPv4 header; length and checksum are the kernel's to fill in. `fragment`: flags and offset.
 */
void put_ip(Bytes& packet, const Target& to, tools::Random& random, uint32_t fragment) {
  packet[0] = 0x45;
  put16(&packet[4], 1 + random.below(65535));
  put16(&packet[6], fragment);
  packet[8] = 64;
  packet[9] = IPPROTO_TCP;
  put32(&packet[12], to.sources | (1 + random.below(65000)));
  put32(&packet[16], to.address);
}

void put_checksum(Bytes& packet) {
  uint8_t* tcp = &packet[kIpBytes];
  const size_t length = packet.size() - kIpBytes;
  put16(tcp + 16, 0);
  uint32_t sum =
      sum16(&packet[12], 8) + IPPROTO_TCP + static_cast<uint32_t>(length) + sum16(tcp, length);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  put16(tcp + 16, ~sum & 0xffff);
}

/** A packet whose TCP header is right but for what the caller changes. */
Bytes segment(const Target& to, tools::Random& random, uint32_t options, uint32_t payload,
              uint8_t flags) {
  Bytes packet(kIpBytes + kTcpBytes + options + payload);
  put_ip(packet, to, random, 0x4000);
  uint8_t* tcp = &packet[kIpBytes];
  put16(tcp, 1024 + random.below(64000));
  put16(tcp + 2, to.port);
  put32(tcp + 4, static_cast<uint32_t>(random.next()));
  put32(tcp + 8, (flags & 0x10) ? static_cast<uint32_t>(random.next()) : 0);
  tcp[12] = static_cast<uint8_t>((kTcpBytes + options) / 4 << 4);
  tcp[13] = flags;
  put16(tcp + 14, 64240);
  for (uint32_t i = 0; i < payload; ++i)
    tcp[kTcpBytes + options + i] = static_cast<uint8_t>(random.next());
  return packet;
}

Bytes make_syn(const Target& to, tools::Random& random) {
  const uint8_t options[20] = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7};
  Bytes packet = segment(to, random, sizeof options, 0, 0x02);
  memcpy(&packet[kIpBytes + kTcpBytes], options, sizeof options);
  put32(&packet[kIpBytes + kTcpBytes + 8], static_cast<uint32_t>(random.next()));
  put_checksum(packet);
  return packet;
}

Bytes make_random_bytes(const Target& to, tools::Random& random, uint32_t length,
                        uint32_t fragment) {
  Bytes packet(kIpBytes + length);
  put_ip(packet, to, random, fragment);
  for (uint32_t i = kIpBytes; i < packet.size(); ++i)
    packet[i] = static_cast<uint8_t>(random.next());
  if (length >= 4) put16(&packet[kIpBytes + 2], to.port);
  return packet;
}

Bytes make_broken(const Target& to, tools::Random& random) {
  switch (random.below(8)) {
    case 0:
      return make_random_bytes(to, random, random.below(1400), 0x4000);
    case 1:  // no TCP header at all, or a part of one
      return make_random_bytes(to, random, random.below(kTcpBytes), 0x4000);
    case 2:  // more to come, which never does
      return make_random_bytes(to, random, 8 * (1 + random.below(150)), 0x2000);
    case 3:  // pieces from anywhere, some past the largest datagram
      return make_random_bytes(to, random, 8 * (1 + random.below(150)), random.below(0x4000));
    case 4: {  // a SYN, or something with any flags, whose options are random bytes
      const bool syn = random.percent(50);
      Bytes packet = segment(to, random, 40, 0, syn ? 0x02 : static_cast<uint8_t>(random.next()));
      for (uint32_t i = 0; i < 40; ++i) {
        packet[kIpBytes + kTcpBytes + i] =
            static_cast<uint8_t>(random.percent(50) ? random.below(9) : random.next());
      }
      put_checksum(packet);
      return packet;
    }
    case 5: {  // a header length that is none
      Bytes packet = segment(to, random, 0, random.below(8), 0x02);
      packet[kIpBytes + 12] = static_cast<uint8_t>(random.next());
      put_checksum(packet);
      return packet;
    }
    case 6: {  // an ACK of nothing, with data
      Bytes packet = segment(to, random, 0, random.below(1000), 0x18);
      put_checksum(packet);
      return packet;
    }
    default: {  // the right header with the wrong checksum
      Bytes packet = make_syn(to, random);
      packet[kIpBytes + 16] ^= 0x55;
      return packet;
    }
  }
}

uint64_t flood(const Target& to, bool syn, uint32_t rate, double seconds, tools::Random& random) {
  const int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);  // with headers of our own
  if (fd < 0) fail("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(to.address);
  const uint64_t start = now_ns();
  const uint64_t total = static_cast<uint64_t>(rate * seconds);
  uint64_t made = 0, sent = 0;
  while (made < total) {
    const double elapsed = static_cast<double>(now_ns() - start) / 1e9;
    if (elapsed > seconds) break;
    const uint64_t due = std::min(total, static_cast<uint64_t>(elapsed * rate) + 1);
    for (; made < due; ++made) {
      const Bytes packet = syn ? make_syn(to, random) : make_broken(to, random);
      const ssize_t n = sendto(fd, packet.data(), packet.size(), MSG_DONTWAIT,
                               reinterpret_cast<const sockaddr*>(&address), sizeof address);
      if (n >= 0) {
        ++sent;
      } else if (errno != EAGAIN && errno != ENOBUFS && errno != EINVAL && errno != EMSGSIZE) {
        fail("sendto");
      }
    }
    const timespec pause{0, 1000000};
    nanosleep(&pause, nullptr);
  }
  return sent;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 7 || (strcmp(argv[1], "syn") != 0 && strcmp(argv[1], "broken") != 0)) {
    fprintf(
        stderr,
        "flood syn|broken <address> <port> <source-network> <packets-a-second> <seconds> [seed]\n");
    return 2;
  }
  in_addr address, sources;
  if (inet_pton(AF_INET, argv[2], &address) != 1 || inet_pton(AF_INET, argv[4], &sources) != 1) {
    fprintf(stderr, "addresses must be IPv4\n");
    return 2;
  }
  const Target to{ntohl(address.s_addr), ntohl(sources.s_addr) & 0xffff0000u,
                  static_cast<uint16_t>(atoi(argv[3]))};
  const uint32_t rate = std::min(static_cast<uint32_t>(std::max(1, atoi(argv[5]))), kRateMax);
  const double seconds = std::clamp(atof(argv[6]), 0.0, kSecondsMax);
  tools::Random random(argc > 7 ? strtoull(argv[7], nullptr, 10) : 1);
  const uint64_t start = now_ns();
  const uint64_t sent = flood(to, strcmp(argv[1], "syn") == 0, rate, seconds, random);
  printf("{\"sent\":%lu,\"seconds\":%.3f}\n", sent, static_cast<double>(now_ns() - start) / 1e9);
  return 0;
}
