// SPDX-License-Identifier: MIT
#include "control/facts.h"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "control/netlink_socket.h"

namespace millrace::control {
namespace {

// IFF_LOWER_UP and IFF_DORMANT (netdevice(7)), which only the kernel's own header has.
constexpr uint32_t kLowerUp = 1u << 16;
constexpr uint32_t kDormant = 1u << 17;

using wire::IpAddress;

constexpr uint32_t kLoopbackIfindex = 1;  // "lo" is the first device of every namespace

IpAddress unspecified(uint8_t family) {
  return family == AF_INET ? IpAddress::v4(0) : IpAddress();
}

IpAddress address_of(uint8_t family, std::span<const uint8_t> value) {
  if (family == AF_INET && value.size() >= 4) return IpAddress::v4_bytes(value.data());
  if (family == AF_INET6 && value.size() >= 16) return IpAddress::v6_bytes(value.data());
  return unspecified(family);
}

// RFC 4007: a link-local IPv6 address means something only together with its link, which nothing
// above the interfaces keeps; they are left to the kernel.
bool needs_scope(const IpAddress& address) {
  return !address.is_v4() && address.is_link_local();
}

bool internet(uint8_t family) {
  return family == AF_INET || family == AF_INET6;
}

// RTA_VIA: a gateway of the other family (RFC 5549).
IpAddress via_address(std::span<const uint8_t> value) {
  if (value.size() < sizeof(uint16_t)) return IpAddress();
  return address_of(uint8_t(attribute_as<uint16_t>(value)), value.subspan(sizeof(uint16_t)));
}

uint32_t route_mtu(std::span<const uint8_t> metrics) {
  uint32_t mtu = 0;
  for_each_attribute(metrics, [&](uint16_t type, std::span<const uint8_t> value) {
    if (type == RTAX_MTU) mtu = attribute_as<uint32_t>(value);
  });
  return mtu;
}

bool contains(std::span<const uint32_t> list, uint32_t value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// Of a multipath route's next hops: one through an interface of ours if there is one, else the
// first.
void choose_hop(std::span<const uint8_t> hops, std::span<const uint32_t> attached, uint8_t family,
                net::Route& route) {
  bool chosen = false;
  while (hops.size() >= sizeof(rtnexthop)) {
    rtnexthop hop;
    std::memcpy(&hop, hops.data(), sizeof(hop));
    if (hop.rtnh_len < sizeof(hop) || hop.rtnh_len > hops.size()) return;
    const auto ifindex = uint32_t(hop.rtnh_ifindex);
    const bool ours = contains(attached, ifindex);
    const bool usable = !(hop.rtnh_flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN));
    if (usable && (!chosen || (ours && !contains(attached, route.ifindex)))) {
      chosen = true;
      route.ifindex = ifindex;
      route.gateway = unspecified(family);
      for_each_attribute(hops.subspan(sizeof(hop), hop.rtnh_len - sizeof(hop)),
                         [&](uint16_t type, std::span<const uint8_t> value) {
                           if (type == RTA_GATEWAY) route.gateway = address_of(family, value);
                           if (type == RTA_VIA) route.gateway = via_address(value);
                         });
    }
    const size_t step = NLMSG_ALIGN(hop.rtnh_len);
    if (step >= hops.size()) return;
    hops = hops.subspan(step);
  }
}

bool table_matters(uint32_t table) {
  return table == RT_TABLE_MAIN || table == RT_TABLE_LOCAL || table == RT_TABLE_DEFAULT;
}

}  // namespace

std::optional<net::LinkConfig> parse_link(const nlmsghdr& message) {
  const auto* info = message_body<ifinfomsg>(message);
  if (!info || info->ifi_index <= 0) return std::nullopt;
  net::LinkConfig link;
  link.ifindex = uint32_t(info->ifi_index);
  // The carrier itself: IFF_RUNNING says the same up to a second later, when the kernel has come to
  // it, and connections until then would be the kernel's.
  link.up = message.nlmsg_type == RTM_NEWLINK && (info->ifi_flags & IFF_UP) &&
            (info->ifi_flags & kLowerUp) && !(info->ifi_flags & kDormant);
  // Of another family: a bridge, say, that has let go of one of its ports.
  link.gone = message.nlmsg_type == RTM_DELLINK && info->ifi_family == AF_UNSPEC;
  for_each_attribute(message_attributes(message, sizeof(*info)),
                     [&](uint16_t type, std::span<const uint8_t> value) {
                       if (type == IFLA_MTU) link.mtu_bytes = attribute_as<uint32_t>(value, 1500);
                       if (type == IFLA_ADDRESS && value.size() == link.mac.size()) {
                         std::copy(value.begin(), value.end(), link.mac.begin());
                       }
                     });
  return link;
}

std::optional<AddressFact> parse_address(const nlmsghdr& message) {
  const auto* info = message_body<ifaddrmsg>(message);
  if (!info || !internet(info->ifa_family)) return std::nullopt;
  AddressFact fact;
  fact.ifindex = info->ifa_index;
  fact.prefix_length = info->ifa_prefixlen;
  uint32_t flags = info->ifa_flags;
  bool have_local = false;
  bool have_any = false;
  for_each_attribute(message_attributes(message, sizeof(*info)),
                     [&](uint16_t type, std::span<const uint8_t> value) {
                       // On point-to-point links IFA_ADDRESS is the peer's and IFA_LOCAL ours.
                       if (type == IFA_LOCAL || (type == IFA_ADDRESS && !have_local)) {
                         fact.address = address_of(info->ifa_family, value);
                         have_local |= type == IFA_LOCAL;
                         have_any = true;
                       }
                       if (type == IFA_FLAGS) flags = attribute_as<uint32_t>(value, flags);
                     });
  fact.link_local = needs_scope(fact.address);
  // RFC 4862 5.4: not ours before duplicate address detection has passed (RFC 4429: unless
  // optimistic, but then the kernel solicits nobody from it, 3.3).
  const bool optimistic = (flags & IFA_F_OPTIMISTIC) && !fact.link_local;
  const bool tentative = (flags & IFA_F_TENTATIVE) && !optimistic;
  if (!have_any || tentative || (flags & IFA_F_DADFAILED)) return std::nullopt;
  return fact;
}

std::optional<NeighborFact> parse_neighbor(const nlmsghdr& message) {
  const auto* info = message_body<ndmsg>(message);
  if (!info || !internet(info->ndm_family) || (info->ndm_flags & NTF_PROXY)) return std::nullopt;
  NeighborFact fact;
  fact.ifindex = uint32_t(info->ndm_ifindex);
  bool have_address = false;
  bool have_mac = false;
  for_each_attribute(message_attributes(message, sizeof(*info)),
                     [&](uint16_t type, std::span<const uint8_t> value) {
                       if (type == NDA_DST) {
                         fact.address = address_of(info->ndm_family, value);
                         have_address = true;
                       }
                       if (type == NDA_LLADDR && value.size() == fact.mac.size()) {
                         std::copy(value.begin(), value.end(), fact.mac.begin());
                         have_mac = true;
                       }
                     });
  if (!have_address) return std::nullopt;
  using enum net::NeighborState;
  const uint16_t state = message.nlmsg_type == RTM_DELNEIGH ? 0 : info->ndm_state;
  fact.fixed = state & (NUD_PERMANENT | NUD_NOARP);
  if (have_mac && (state & (NUD_REACHABLE | NUD_PERMANENT | NUD_NOARP))) {
    fact.state = kReachable;
  } else if (have_mac && (state & (NUD_STALE | NUD_DELAY | NUD_PROBE))) {
    fact.state = kStale;
  } else if (state & NUD_FAILED) {
    fact.state = kFailed;
  } else if (state & NUD_INCOMPLETE) {
    fact.state = kIncomplete;
  }
  return fact;
}

std::optional<net::Route> parse_route(const nlmsghdr& message, std::span<const uint32_t> attached) {
  const auto* info = message_body<rtmsg>(message);
  if (!info || !internet(info->rtm_family)) return std::nullopt;
  if (info->rtm_flags & (RTM_F_CLONED | RTNH_F_DEAD)) return std::nullopt;
  if (info->rtm_tos != 0 || info->rtm_src_len != 0 || info->rtm_type == RTN_THROW)
    return std::nullopt;
  const uint8_t family = info->rtm_family;
  net::Route route;
  route.destination = route.gateway = route.preferred_source = unspecified(family);
  route.prefix_length = info->rtm_dst_len;
  uint32_t table = info->rtm_table;
  std::span<const uint8_t> hops;
  for_each_attribute(message_attributes(message, sizeof(*info)),
                     [&](uint16_t type, std::span<const uint8_t> value) {
                       switch (type) {
                         case RTA_DST:
                           route.destination = address_of(family, value);
                           break;
                         case RTA_GATEWAY:
                           route.gateway = address_of(family, value);
                           break;
                         case RTA_VIA:
                           route.gateway = via_address(value);
                           break;
                         case RTA_PREFSRC:
                           route.preferred_source = address_of(family, value);
                           break;
                         case RTA_OIF:
                           route.ifindex = attribute_as<uint32_t>(value);
                           break;
                         case RTA_PRIORITY:
                           route.metric = attribute_as<uint32_t>(value);
                           break;
                         case RTA_METRICS:
                           route.mtu_bytes = route_mtu(value);
                           break;
                         case RTA_TABLE:
                           table = attribute_as<uint32_t>(value);
                           break;
                         case RTA_MULTIPATH:
                           hops = value;
                           break;
                         default:
                           break;
                       }
                     });
  if (!table_matters(table)) return std::nullopt;
  if (info->rtm_type != RTN_UNICAST || needs_scope(route.destination)) {
    route.ifindex = kLoopbackIfindex;
    route.gateway = unspecified(family);
  } else if (!hops.empty()) {
    choose_hop(hops, attached, family, route);
  }
  // A next hop object that the kernel does not spell out (net.ipv4.nexthop_compat_mode=0).
  if (route.ifindex == 0) route.ifindex = kLoopbackIfindex;
  return route;
}

int compare_identity(const net::Route& a, const net::Route& b) {
  const auto by = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  if (const int c = std::memcmp(a.destination.data(), b.destination.data(), 16); c != 0) return c;
  if (const int c = by(a.prefix_length, b.prefix_length); c != 0) return c;
  if (const int c = by(a.metric, b.metric); c != 0) return c;
  if (const int c = by(a.ifindex, b.ifindex); c != 0) return c;
  return std::memcmp(a.gateway.data(), b.gateway.data(), 16);
}

bool same_route(const net::Route& a, const net::Route& b) {
  return compare_identity(a, b) == 0 && a.preferred_source == b.preferred_source &&
         a.mtu_bytes == b.mtu_bytes;
}

}  // namespace millrace::control
