// SPDX-License-Identifier: MIT
// Addresses between the three forms that the door meets: text, struct sockaddr, wire::Endpoint.
#pragma once

#include <sys/socket.h>

#include "base/result.h"
#include "wire/ip_address.h"

namespace millrace::testing {

struct Prefix {
  wire::IpAddress address;  // with the host bits as given
  uint8_t length = 0;
};

// "192.0.2.1/24", "2001:db8::1/64". EINVAL.
Result<Prefix> parse_prefix(const char* text);
// "192.0.2.1". EINVAL.
Result<wire::IpAddress> parse_address(const char* text);

// Of a socket of `family`. EFAULT, EINVAL: too short; EAFNOSUPPORT.
Result<wire::Endpoint> from_sockaddr(int family, const sockaddr* address, socklen_t length);
// As the system calls do it: cut off at *length, which becomes the full length. A null `address`
// asks for nothing.
void to_sockaddr(int family, const wire::Endpoint& endpoint, sockaddr* address, socklen_t* length);

// ANY of the family.
wire::IpAddress any_of(int family);

}  // namespace millrace::testing
