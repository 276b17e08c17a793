// SPDX-License-Identifier: MIT
// What a router answers when a packet does not fit its next link: ICMP "fragmentation needed" (RFC
// 1191 4) or ICMPv6 "packet too big" (RFC 4443 3.2), quoting the packet.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace millrace {

// `frame`: what did not fit, with its link header when `ethernet`. Fills `answer` with a frame to
// its sender; false when the frame is not IP, or an ICMP message itself (RFC 1122 3.2.2: no errors
// about errors).
bool build_too_big(std::span<const uint8_t> frame, bool ethernet, uint32_t mtu_bytes,
                   std::vector<uint8_t>& answer);

}  // namespace millrace
