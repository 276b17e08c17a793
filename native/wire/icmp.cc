// SPDX-License-Identifier: MIT
#include "wire/icmp.h"

#include <cerrno>
#include <iterator>

#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::wire {

namespace {

constexpr uint32_t kQuotedTransportMinBytes = 8;

struct Row {
  int errno_code;
  bool hard;
};

// By code of "destination unreachable" (RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1).
constexpr Row kUnreachable4[] = {
    {ENETUNREACH, false},   // network
    {EHOSTUNREACH, false},  // host
    {ENOPROTOOPT, true},    // protocol
    {ECONNREFUSED, true},   // port
    {EMSGSIZE, false},      // fragmentation needed
    {EOPNOTSUPP, false},    // source route failed
    {ENETUNREACH, true},    // network unknown
    {EHOSTDOWN, true},      // host unknown
    {ENONET, true},         // source host isolated
    {ENETUNREACH, true},    // network administratively prohibited
    {EHOSTUNREACH, true},   // host administratively prohibited
    {ENETUNREACH, false},   // network unreachable for this type of service
    {EHOSTUNREACH, false},  // host unreachable for this type of service
    {EHOSTUNREACH, true},   // communication administratively prohibited
    {EHOSTUNREACH, true},   // host precedence violation
    {EHOSTUNREACH, true},   // precedence cutoff
};

// RFC 4443 3.1.
constexpr Row kUnreachable6[] = {
    {ENETUNREACH, false},   // no route
    {EACCES, true},         // administratively prohibited
    {EHOSTUNREACH, false},  // beyond the scope of the source
    {EHOSTUNREACH, false},  // address
    {ECONNREFUSED, true},   // port
    {EACCES, true},         // source failed ingress or egress policy
    {EACCES, true},         // reject route
};

}  // namespace

IcmpMeaning meaning_of_icmp4(uint8_t type, uint8_t code) {
  switch (type) {
    case icmp4::kUnreachable:
      if (code >= std::size(kUnreachable4)) return {};
      return {kUnreachable4[code].errno_code, kUnreachable4[code].hard,
              code == icmp4::kCodeFragmentationNeeded};
    case icmp4::kTimeExceeded:
      return {EHOSTUNREACH, false, false};
    case icmp4::kParameterProblem:
      return {EPROTO, true, false};
    default:
      return {};
  }
}

IcmpMeaning meaning_of_icmp6(uint8_t type, uint8_t code) {
  switch (type) {
    case icmp6::kUnreachable:
      if (code >= std::size(kUnreachable6)) return {EPROTO, true, false};
      return {kUnreachable6[code].errno_code, kUnreachable6[code].hard, false};
    case icmp6::kPacketTooBig:
      return {EMSGSIZE, false, true};
    case icmp6::kTimeExceeded:
      return {EHOSTUNREACH, false, false};
    case icmp6::kParameterProblem:
      return {EPROTO, true, false};
    default:
      // RFC 4443 2.4 (a): an error of an unknown type is for the upper layer, too.
      return type < icmp6::kFirstInformational ? IcmpMeaning{EPROTO, false, false} : IcmpMeaning{};
  }
}

bool parse_quote4(std::span<const uint8_t> quoted, IcmpQuote& out) {
  Ipv4View ip;
  if (parse_ipv4(quoted, ip, true) != IpProblem::kNone || !ip.first) return false;
  if (quoted.size() < ip.header_bytes + kQuotedTransportMinBytes) return false;
  if (ip.total_bytes < ip.header_bytes + kQuotedTransportMinBytes) return false;
  if (quoted.size() > ip.total_bytes) quoted = quoted.first(ip.total_bytes);
  out = {ip.source, ip.destination, ip.protocol, ip.total_bytes, quoted.subspan(ip.header_bytes)};
  return true;
}

bool parse_quote6(std::span<const uint8_t> quoted, IcmpQuote& out) {
  // We send no extension headers, so a quote that has any is not of ours.
  Ipv6View ip;
  if (parse_ipv6(quoted, ip, true) != IpProblem::kNone) return false;
  if (quoted.size() < kIpv6HeaderBytes + kQuotedTransportMinBytes) return false;
  if (ip.total_bytes < kIpv6HeaderBytes + kQuotedTransportMinBytes) return false;
  if (quoted.size() > ip.total_bytes) quoted = quoted.first(ip.total_bytes);
  out = {ip.source, ip.destination, ip.next_header, ip.total_bytes,
         quoted.subspan(kIpv6HeaderBytes)};
  return true;
}

}  // namespace millrace::wire
