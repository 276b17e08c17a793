// SPDX-License-Identifier: MIT
// What boxes on the way do to a TCP or UDP packet of the simulated network: translate a port, or
// cut a segment in two. They see packets as any box does: bytes on a wire, IPv4 without options or
// IPv6 without extension headers; everything else they leave alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace millrace {

enum class PortSide : uint8_t { kSource, kDestination };

// The ports of clients that a translating box knows: at most 1,000 of them. Behind it, port
// `p` shows as `p + shift`, where `shift` is a multiple of 1,000.
constexpr uint16_t kNatFirst = 20'000;
constexpr uint16_t kNatPorts = 1'000;
// The client's own port, whatever mapping it shows.
constexpr uint16_t nat_inside(uint16_t port) {
  return port >= kNatFirst && port < 30'000 ? uint16_t(kNatFirst + (port - kNatFirst) % kNatPorts)
                                            : port;
}

// Outward: the source port of a client becomes its mapping. Inward: the mapping becomes the port;
// false when the packet is for a mapping that is gone.
bool translate_port(std::span<uint8_t> frame, bool ethernet, PortSide side, uint16_t shift);

// Cuts the payload of the TCP segment in `first` at a place that `number` chooses; the rest goes to
// `second`. False, and nothing is changed, when there is nothing to cut.
bool split_segment(std::vector<uint8_t>& first, bool ethernet, uint32_t number,
                   std::vector<uint8_t>& second);

}  // namespace millrace
