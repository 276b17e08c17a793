// SPDX-License-Identifier: MIT
#include "steer/member_name.h"

#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstring>

#include "steer/xdp_abi.h"

namespace millrace::steer {
namespace {

MemberName make_name(uint32_t ifindex, uint8_t member, const char* end) {
  MemberName name;
  name.address.sun_family = AF_UNIX;
  char* path = name.address.sun_path + 1;
  const int n = std::snprintf(path, sizeof(name.address.sun_path) - 1, "millrace/%u/%u%s", ifindex,
                              unsigned(member), end);
  name.bytes = socklen_t(offsetof(sockaddr_un, sun_path) + 1 + size_t(n));
  return name;
}

}  // namespace

MemberName talk_name(uint32_t ifindex, uint8_t member) {
  return make_name(ifindex, member, "");
}

MemberName frames_name(uint32_t ifindex, uint8_t member) {
  return make_name(ifindex, member, "/frames");
}

uint8_t member_of(const sockaddr_un& address, socklen_t bytes) {
  char text[sizeof(address.sun_path)] = "";
  const size_t skip = offsetof(sockaddr_un, sun_path) + 1;
  if (bytes <= skip || address.sun_path[0] != '\0') return 0;
  std::memcpy(text, address.sun_path + 1, bytes - skip);
  unsigned ifindex = 0, member = 0;
  int end = 0;
  if (std::sscanf(text, "millrace/%u/%u%n", &ifindex, &member, &end) != 2) return 0;
  if (text[end] != '\0' || member == 0 || member > MR_MEMBERS_MAX) return 0;
  return uint8_t(member);
}

bool is_trusted(uid_t uid) {
  return uid == 0 || uid == geteuid();
}

}  // namespace millrace::steer
