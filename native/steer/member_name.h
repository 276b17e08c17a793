// SPDX-License-Identifier: MIT
// Names of the stacks that share an interface, in the abstract Unix namespace: it is the network
// namespace's own, and forgets a name the moment its process dies. Each stack has two: one to talk
// to, one to send packets to.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <cstdint>

namespace millrace::steer {

struct MemberName {
  sockaddr_un address{};
  socklen_t bytes = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// "@millrace/<ifindex>/<member>"
MemberName talk_name(uint32_t ifindex, uint8_t member);
// "@millrace/<ifindex>/<member>/frames"
MemberName frames_name(uint32_t ifindex, uint8_t member);
// The member that has a name to talk to; 0: it is no member's.
uint8_t member_of(const sockaddr_un& address, socklen_t bytes);

// Only processes of the same user, and root's, are listened to.
bool is_trusted(uid_t uid);

}  // namespace millrace::steer
