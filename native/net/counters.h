// SPDX-License-Identifier: MIT
// Counters of the Internet layer: name and meaning in one place, read by `stats()` and the docs.
#pragma once

#include <cstdint>

// X(name, meaning)
#define MILLRACE_NET_COUNTERS(X)                                                                \
  X(ip_received, "frames that a port handed up")                                                \
  X(ip_delivered, "IP datagrams handed to TCP or UDP")                                          \
  X(ip_sent, "IP packets put into a port's batch")                                              \
  X(ip_sent_joined, "of these, TCP segments in a longer packet, which the device cuts up")      \
  X(ip_bad_header, "IP packets dropped for an impossible version, length or option")            \
  X(ip_bad_checksum, "IPv4 packets dropped for a wrong header checksum")                        \
  X(ip_bad_source, "IP packets dropped for a source that nobody may send from")                 \
  X(ip_not_ours, "IP packets dropped because their destination is none of our addresses")       \
  X(ip_source_routed, "IPv4 packets dropped because they ask for a source route")               \
  X(ip_fragments, "fragments dropped (the kernel joins them; they are not steered here)")       \
  X(ip_unknown_protocol, "IP datagrams dropped because nothing here speaks their protocol")     \
  X(ip_bad_extension, "IPv6 packets dropped for their extension headers")                       \
  X(ip_send_no_route, "sends refused: no way to the destination, or no longer")                 \
  X(ip_send_too_big, "sends refused: longer than the MTU of the path")                          \
  X(ip_send_queue_full, "packets dropped because the port took none for too long")              \
  X(ip_fragments_sent, "fragments sent because a datagram was longer than its IPv6 path takes") \
  X(link_bad_frame, "frames dropped for a truncated link header")                               \
  X(link_not_ours, "Ethernet frames dropped: another host's, or sent to a group")               \
  X(link_unknown_vlan, "Ethernet frames dropped because they carry a VLAN identifier")          \
  X(link_unknown_type, "Ethernet frames dropped because they carry neither IPv4 nor IPv6")      \
  X(neighbor_asked, "times the kernel was asked to resolve or confirm a neighbour")             \
  X(neighbor_failed, "neighbours that did not answer in time")                                  \
  X(neighbor_waiting, "packets that waited for a neighbour's link address")                     \
  X(neighbor_queue_full, "packets refused because too many wait for the same neighbour")        \
  X(neighbor_table_full, "packets refused because the neighbour table is full of busy entries") \
  X(neighbor_evicted, "idle neighbours forgotten to make room")                                 \
  X(neighbor_unreachable, "packets refused or dropped because their neighbour does not answer") \
  X(table_full, "addresses or routes told by the kernel that did not fit")                      \
  X(icmp_received, "ICMP and ICMPv6 messages received")                                         \
  X(icmp_bad, "ICMP and ICMPv6 messages dropped for length or checksum")                        \
  X(icmp_ignored, "ICMP and ICMPv6 messages of kinds that mean nothing to us")                  \
  X(icmp_bad_quote, "ICMP errors dropped: the packet they quote is not one of ours")            \
  X(icmp_errors_delivered, "ICMP errors handed to TCP or UDP")                                  \
  X(icmp_echo_replies, "echo replies sent")                                                     \
  X(icmp_errors_sent, "ICMP errors sent")                                                       \
  X(icmp_rate_limited, "ICMP messages not sent because of the rate limit")

namespace millrace::net {

struct Counters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_NET_COUNTERS(X)
#undef X
};

}  // namespace millrace::net
