// SPDX-License-Identifier: MIT
// IP packets of the scripts: built from fields, taken apart into fields, written as the language
// writes them. Deliberately not the stack's own parsers and builders: a test that shares the code
// under test shares its mistakes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::scripts {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32, kEce = 64,
                  kCwr = 128;
constexpr uint8_t kIcmp4 = 1, kTcp = 6, kUdp = 17, kIcmp6 = 58;

// An address of either family, 4 or 16 bytes.
using Address = Bytes;
std::optional<Address> parse_address(const std::string& text);
std::string format_address(const Address& address);

struct Patch {
  size_t at = 0;  // from the first byte of the IP header
  Bytes bytes;
};

// What is to be built. Numbers are absolute here.
struct Fields {
  uint8_t protocol = kTcp;
  Address source, destination;
  uint8_t ttl = 64, tos = 0;
  uint16_t id = 0;
  uint16_t fragment = 0;  // IPv4: the flags and offset field
  bool bad_checksum = false, no_checksum = false, bad_ip_checksum = false;
  int64_t total_bytes = -1;  // overrides the IP length field
  size_t pad_bytes = 0;      // behind the packet
  size_t cut_bytes = 0;      // taken off its end
  Bytes ip_options;          // IPv4 options, or IPv6 extension headers
  int ip_next = -1;          // IPv6: the first next-header value, with extension headers
  std::vector<Patch> patches;
  // TCP and UDP
  uint16_t from_port = 0, to_port = 0;
  uint32_t seq = 0, ack = 0;
  uint8_t flags = 0;
  uint16_t window = 0, urgent = 0;
  int data_offset = -1;  // overrides, in words
  int udp_length = -1;   // overrides
  Bytes options;
  // ICMP
  uint8_t type = 0, code = 0;
  uint32_t rest = 0;
  Bytes payload;
};

Bytes build(const Fields& fields);
uint16_t internet_checksum(const Bytes& bytes, uint32_t sum = 0);

// A packet that the stack sent.
struct View {
  uint8_t protocol = 0;
  Address source, destination;
  uint8_t ttl = 0, tos = 0;
  uint16_t id = 0;
  bool dont_fragment = false;
  uint16_t from_port = 0, to_port = 0;
  uint32_t seq = 0, ack = 0;
  uint8_t flags = 0;
  uint16_t window = 0, urgent = 0;
  Bytes options;
  uint8_t type = 0, code = 0;
  uint32_t rest = 0;
  Bytes payload;
};

// False, with what is wrong: lengths and checksums must be right in whatever the stack sends.
bool take_apart(const Bytes& packet, View& view, std::string& problem);

std::string format_flags(uint8_t flags);
std::optional<uint8_t> parse_flag(const std::string& word);

}  // namespace millrace::scripts
