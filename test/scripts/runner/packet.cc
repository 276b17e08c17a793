// SPDX-License-Identifier: MIT
#include "scripts/runner/packet.h"

#include <arpa/inet.h>

#include <cstring>

namespace millrace::scripts {

namespace {

void put16(Bytes& out, size_t at, uint32_t value) {
  out[at] = uint8_t(value >> 8);
  out[at + 1] = uint8_t(value);
}
void put32(Bytes& out, size_t at, uint32_t value) {
  put16(out, at, value >> 16);
  put16(out, at + 2, value & 0xffff);
}
uint16_t get16(const Bytes& in, size_t at) {
  return uint16_t(in[at] << 8 | in[at + 1]);
}
uint32_t get32(const Bytes& in, size_t at) {
  return uint32_t(get16(in, at)) << 16 | get16(in, at + 2);
}
Bytes slice(const Bytes& in, size_t from, size_t to) {
  return Bytes(in.begin() + long(from), in.begin() + long(to));
}

uint32_t raw_sum(const Bytes& bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes.size(); ++i) sum += i % 2 ? bytes[i] : uint32_t(bytes[i]) << 8;
  return sum;
}

uint32_t pseudo_sum(const Address& from, const Address& to, uint8_t protocol, size_t length) {
  return raw_sum(from) + raw_sum(to) + protocol + uint32_t(length >> 16) +
         uint32_t(length & 0xffff);
}

Bytes build_tcp(const Fields& f) {
  Bytes out(20);
  put16(out, 0, f.from_port);
  put16(out, 2, f.to_port);
  put32(out, 4, f.seq);
  put32(out, 8, f.ack);
  Bytes options = f.options;
  while (options.size() % 4 != 0) options.push_back(options.size() % 4 == 3 ? 0 : 1);
  const int words = f.data_offset >= 0 ? f.data_offset : int(5 + options.size() / 4);
  out[12] = uint8_t(words << 4);
  out[13] = f.flags;
  put16(out, 14, f.window);
  put16(out, 18, f.urgent);
  out.insert(out.end(), options.begin(), options.end());
  out.insert(out.end(), f.payload.begin(), f.payload.end());
  return out;
}

Bytes build_udp(const Fields& f) {
  Bytes out(8);
  put16(out, 0, f.from_port);
  put16(out, 2, f.to_port);
  put16(out, 4, uint32_t(f.udp_length >= 0 ? size_t(f.udp_length) : 8 + f.payload.size()));
  out.insert(out.end(), f.payload.begin(), f.payload.end());
  return out;
}

Bytes build_icmp(const Fields& f) {
  Bytes out(8);
  out[0] = f.type;
  out[1] = f.code;
  put32(out, 4, f.rest);
  out.insert(out.end(), f.payload.begin(), f.payload.end());
  return out;
}

Bytes build_ip4(const Fields& f, size_t payload) {
  Bytes out(20 + f.ip_options.size());
  out[0] = uint8_t(0x40 | out.size() / 4);
  out[1] = f.tos;
  put16(out, 2, uint32_t(f.total_bytes >= 0 ? size_t(f.total_bytes) : out.size() + payload));
  put16(out, 4, f.id);
  put16(out, 6, f.fragment);
  out[8] = f.ttl;
  out[9] = f.protocol;
  std::copy(f.source.begin(), f.source.end(), out.begin() + 12);
  std::copy(f.destination.begin(), f.destination.end(), out.begin() + 16);
  std::copy(f.ip_options.begin(), f.ip_options.end(), out.begin() + 20);
  return out;
}

Bytes build_ip6(const Fields& f, size_t payload) {
  Bytes out(40);
  put32(out, 0, 0x60000000u | uint32_t(f.tos) << 20);
  const size_t length = f.ip_options.size() + payload;
  put16(out, 4, uint32_t(f.total_bytes >= 0 ? size_t(f.total_bytes) : length));
  out[6] = uint8_t(f.ip_next >= 0 ? f.ip_next : f.protocol);
  out[7] = f.ttl;
  std::copy(f.source.begin(), f.source.end(), out.begin() + 8);
  std::copy(f.destination.begin(), f.destination.end(), out.begin() + 24);
  out.insert(out.end(), f.ip_options.begin(), f.ip_options.end());
  return out;
}

size_t checksum_offset(uint8_t protocol) {
  return protocol == kTcp ? 16 : protocol == kUdp ? 6 : 2;
}

bool has_pseudo_header(uint8_t protocol) {
  return protocol == kTcp || protocol == kUdp || protocol == kIcmp6;
}

void finish_transport(const Fields& f, Bytes& packet, size_t at) {
  const size_t field = at + checksum_offset(f.protocol);
  if (f.no_checksum || field + 2 > packet.size()) return;
  const Bytes transport = slice(packet, at, packet.size());
  const uint32_t pseudo = has_pseudo_header(f.protocol)
                              ? pseudo_sum(f.source, f.destination, f.protocol, transport.size())
                              : 0;
  uint16_t sum = internet_checksum(transport, pseudo);
  if (sum == 0 && f.protocol == kUdp) sum = 0xffff;
  put16(packet, field, f.bad_checksum ? sum ^ 0x5555u : sum);
}

bool parse_transport(const Bytes& t, View& v, std::string& problem) {
  if (t.size() < 8) {
    problem = "a transport header that is cut off";
    return false;
  }
  if (v.protocol == kIcmp4 || v.protocol == kIcmp6) {
    v.type = t[0];
    v.code = t[1];
    v.rest = get32(t, 4);
    v.payload = slice(t, 8, t.size());
    return true;
  }
  v.from_port = get16(t, 0);
  v.to_port = get16(t, 2);
  size_t header = 8;
  if (v.protocol == kTcp) {
    header = t.size() >= 20 ? size_t(t[12] >> 4) * 4 : 0;
    if (header < 20 || header > t.size()) {
      problem = "an impossible data offset";
      return false;
    }
    v.seq = get32(t, 4);
    v.ack = get32(t, 8);
    v.flags = t[13];
    v.window = get16(t, 14);
    v.urgent = get16(t, 18);
    v.options = slice(t, 20, header);
  } else if (v.protocol == kUdp && get16(t, 4) != t.size()) {
    problem = "a UDP length that is not the datagram's";
    return false;
  }
  v.payload = slice(t, header, t.size());
  return true;
}

bool parse_ip(const Bytes& p, View& v, size_t& header, std::string& problem) {
  const uint8_t version = p.empty() ? 0 : p[0] >> 4;
  if (version == 4 && p.size() >= 20) {
    header = size_t(p[0] & 15) * 4;
    v.tos = p[1];
    v.id = get16(p, 4);
    v.dont_fragment = (p[6] & 0x40) != 0;
    v.ttl = p[8];
    v.protocol = p[9];
    v.source = slice(p, 12, 16);
    v.destination = slice(p, 16, 20);
    if (get16(p, 2) != p.size()) problem = "an IPv4 total length that is not the packet's";
    if (internet_checksum(slice(p, 0, header)) != 0) problem = "a wrong IPv4 header checksum";
  } else if (version == 6 && p.size() >= 40) {
    header = 40;
    v.tos = uint8_t(get32(p, 0) >> 20);
    v.protocol = p[6];
    v.ttl = p[7];
    v.source = slice(p, 8, 24);
    v.destination = slice(p, 24, 40);
    if (get16(p, 4) + 40u != p.size()) problem = "an IPv6 payload length that is not the packet's";
  } else {
    problem = "no IP packet";
  }
  return problem.empty();
}

struct FlagName {
  const char* name;
  uint8_t bit;
};
constexpr FlagName kFlagNames[] = {{"SYN", kSyn}, {"FIN", kFin}, {"RST", kRst}, {"PSH", kPsh},
                                   {"URG", kUrg}, {"ECE", kEce}, {"CWR", kCwr}, {"ACK", kAck}};

}  // namespace

uint16_t internet_checksum(const Bytes& bytes, uint32_t sum) {
  sum += raw_sum(bytes);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return uint16_t(~sum);
}

std::optional<Address> parse_address(const std::string& text) {
  uint8_t bytes[16];
  if (inet_pton(AF_INET, text.c_str(), bytes) == 1) return Address(bytes, bytes + 4);
  if (inet_pton(AF_INET6, text.c_str(), bytes) == 1) return Address(bytes, bytes + 16);
  return std::nullopt;
}

std::string format_address(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "?";
  inet_ntop(address.size() == 4 ? AF_INET : AF_INET6, address.data(), text, sizeof text);
  return text;
}

Bytes build(const Fields& f) {
  const Bytes transport = f.protocol == kTcp                             ? build_tcp(f)
                          : f.protocol == kUdp                           ? build_udp(f)
                          : f.protocol == kIcmp4 || f.protocol == kIcmp6 ? build_icmp(f)
                                                                         : f.payload;
  const bool v4 = f.source.size() == 4;
  Bytes packet = v4 ? build_ip4(f, transport.size()) : build_ip6(f, transport.size());
  const size_t header = packet.size();
  packet.insert(packet.end(), transport.begin(), transport.end());
  // Before the checksums: what is patched is what they cover.
  for (const Patch& patch : f.patches) {
    for (size_t i = 0; i < patch.bytes.size() && patch.at + i < packet.size(); ++i) {
      packet[patch.at + i] = patch.bytes[i];
    }
  }
  if (v4) {
    const uint16_t sum = internet_checksum(slice(packet, 0, header));
    put16(packet, 10, f.bad_ip_checksum ? sum ^ 0x5555u : sum);
  }
  finish_transport(f, packet, header);
  packet.resize(packet.size() - std::min(f.cut_bytes, packet.size()));
  packet.insert(packet.end(), f.pad_bytes, 0x77);
  return packet;
}

bool take_apart(const Bytes& packet, View& view, std::string& problem) {
  size_t header = 0;
  problem.clear();
  if (!parse_ip(packet, view, header, problem)) return false;
  const Bytes transport = slice(packet, header, packet.size());
  if (!parse_transport(transport, view, problem)) return false;
  const bool udp_without = view.protocol == kUdp && get16(transport, 6) == 0;
  const uint32_t pseudo =
      has_pseudo_header(view.protocol)
          ? pseudo_sum(view.source, view.destination, view.protocol, transport.size())
          : 0;
  if (!udp_without && internet_checksum(transport, pseudo) != 0) {
    problem = "a wrong transport checksum";
    return false;
  }
  return true;
}

std::string format_flags(uint8_t flags) {
  std::string text;
  for (const FlagName& f : kFlagNames) {
    if (flags & f.bit) text += (text.empty() ? "" : " ") + std::string(f.name);
  }
  return text.empty() ? "NULL" : text;
}

std::optional<uint8_t> parse_flag(const std::string& word) {
  for (const FlagName& f : kFlagNames) {
    if (word == f.name) return f.bit;
  }
  if (word == "NULL") return uint8_t(0);
  return std::nullopt;
}

}  // namespace millrace::scripts
