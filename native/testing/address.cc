// SPDX-License-Identifier: MIT
#include "testing/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <string>

namespace millrace::testing {

using wire::Endpoint;
using wire::IpAddress;

Result<IpAddress> parse_address(const char* text) {
  uint8_t bytes[16];
  if (inet_pton(AF_INET, text, bytes) == 1) return IpAddress::v4_bytes(bytes);
  if (inet_pton(AF_INET6, text, bytes) == 1) return IpAddress::v6_bytes(bytes);
  return Error{EINVAL};
}

Result<Prefix> parse_prefix(const char* text) {
  const char* slash = text ? std::strchr(text, '/') : nullptr;
  if (!slash) return Error{EINVAL};
  Result<IpAddress> address = parse_address(std::string(text, slash).c_str());
  if (!address) return address.error();
  const uint8_t most = address->is_v4() ? 32 : 128;
  Prefix prefix{*address, 0};
  const char* end = slash + std::strlen(slash);
  const auto [stop, error] = std::from_chars(slash + 1, end, prefix.length);
  if (error != std::errc() || stop != end || prefix.length > most) return Error{EINVAL};
  return prefix;
}

IpAddress any_of(int family) {
  return family == AF_INET ? IpAddress::v4(0) : IpAddress();
}

Result<Endpoint> from_sockaddr(int family, const sockaddr* address, socklen_t length) {
  if (!address) return Error{EFAULT};
  if (length < sizeof(sa_family_t)) return Error{EINVAL};
  if (family == AF_INET) {
    if (length < sizeof(sockaddr_in)) return Error{EINVAL};
    if (address->sa_family != AF_INET) return Error{EAFNOSUPPORT};
    sockaddr_in in;
    std::memcpy(&in, address, sizeof in);
    return Endpoint{IpAddress::v4(ntohl(in.sin_addr.s_addr)), ntohs(in.sin_port)};
  }
  if (address->sa_family != AF_INET6) return Error{EAFNOSUPPORT};
  if (length < sizeof(sockaddr_in6)) return Error{EINVAL};
  sockaddr_in6 in;
  std::memcpy(&in, address, sizeof in);
  // An IPv4-mapped address is an IPv4 address here, and its wildcard that of the family.
  return Endpoint{IpAddress::v6_bytes(in.sin6_addr.s6_addr), ntohs(in.sin6_port)};
}

void to_sockaddr(int family, const Endpoint& endpoint, sockaddr* address, socklen_t* length) {
  if (!address || !length) return;
  sockaddr_storage full{};
  socklen_t bytes = 0;
  if (family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    std::memcpy(&in.sin_addr, endpoint.address.v4_data(), 4);
    std::memcpy(&full, &in, bytes = sizeof in);
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(endpoint.port);
    std::memcpy(&in.sin6_addr, endpoint.address.data(), 16);
    std::memcpy(&full, &in, bytes = sizeof in);
  }
  std::memcpy(address, &full, std::min(*length, bytes));
  *length = bytes;
}

}  // namespace millrace::testing
