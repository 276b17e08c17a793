// SPDX-License-Identifier: MIT
#include "control/netlink_follower.h"

#include <linux/fib_rules.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/close_fd.h"

namespace millrace::control {
namespace {

constexpr uint32_t kGroups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                             RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
constexpr uint32_t kDatagramsPerTurn = 64;
// Up to so many routes a table is read again at once; beyond, after this long for each of them.
constexpr uint32_t kSmallTable = 1000;
constexpr int64_t kPauseNsPerRoute = 20'000;

// Reads a table by `request`, again when it changed under the reader. `reset` forgets a half-read
// answer.
template <typename Body, typename Reset, typename Visit>
Error read_table(NetlinkSocket& socket, uint16_t type, const Body& body, Reset&& reset,
                 Visit&& visit) {
  Error error{EINTR};
  for (int attempt = 0; attempt < kDumpAttempts && error.code == EINTR; ++attempt) {
    reset();
    NetlinkRequest request(type, NLM_F_DUMP);
    request.body(body);
    error = socket.dump(request, visit);
  }
  return error;
}

}  // namespace

NetlinkFollower::NetlinkFollower(ControlSink& sink, const FollowerLimits& limits)
    : sink_(sink), limits_(limits) {
  routes_.reserve(limits.routes_max);
  fresh_routes_.reserve(limits.routes_max);
  addresses_.reserve(limits.addresses_max);
  fresh_addresses_.reserve(limits.addresses_max);
  neighbors_.reserve(limits.neighbors_max);
}

NetlinkFollower::~NetlinkFollower() {
  close();
}

Error NetlinkFollower::open() {
  if (Error error = events_.open(NETLINK_ROUTE, kGroups)) return error;
  if (Error error = tables_.open(NETLINK_ROUTE, 0)) return error;
  timer_fd_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  poll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  epoll_event event{};
  event.events = EPOLLIN;
  if (timer_fd_ < 0 || poll_fd_ < 0 ||
      epoll_ctl(poll_fd_, EPOLL_CTL_ADD, events_.fd(), &event) != 0 ||
      epoll_ctl(poll_fd_, EPOLL_CTL_ADD, timer_fd_, &event) != 0) {
    const Error error{errno};
    close();
    return error;
  }
  nothing_fd_ = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_NONE);
  const int hops = 1;  // to the neighbour, no further
  setsockopt(nothing_fd_, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &hops, sizeof(hops));
  return kOk;
}

void NetlinkFollower::close() {
  events_.close();
  tables_.close();
  for (int* fd : {&timer_fd_, &poll_fd_, &nothing_fd_}) close_fd(*fd);
}

Error NetlinkFollower::start(Instant now) {
  if (Error error = resync(now)) return error;
  if (Error error = read_neighbors(now)) return error;
  return count_policy_rules();
}

bool NetlinkFollower::followed(uint32_t ifindex) const {
  return std::find(followed_.begin(), followed_.end(), ifindex) != followed_.end();
}

// --- events

void NetlinkFollower::on_readable(Instant now) {
  if (events_.fd() < 0) return;
  const Error result =
      events_.receive(kDatagramsPerTurn, [&](const nlmsghdr& message) { on_event(now, message); });
  if (result.code == ENOBUFS) {
    ++counters_.overruns;
    stale_ = overrun_ = true;
  }
  uint64_t expirations;
  if (scheduled_ && read(timer_fd_, &expirations, sizeof(expirations)) > 0) scheduled_ = false;
  // More messages wait when the budget was used up: read the tables once, after the last of them.
  const bool drained = result.code == EAGAIN || result.code == ENOBUFS;
  if (!stale_ || scheduled_ || !drained) return;
  if (Error error = resync(now)) ++counters_.errors;
  if (overrun_ && !read_neighbors(now)) overrun_ = false;
  if (stale_ || overrun_ || routes_seen_ > kSmallTable) schedule_resync();
}

void NetlinkFollower::on_event(Instant now, const nlmsghdr& message) {
  ++counters_.events;
  switch (message.nlmsg_type) {
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      if (const auto fact = parse_neighbor(message)) on_neighbor(now, *fact);
      break;
    case RTM_DELLINK:
      // Told at once: until all is read anew another one may have the number.
      if (const auto link = parse_link(message); link && link->gone) leave(link->ifindex);
      stale_ = true;
      break;
    case RTM_NEWLINK:
    case RTM_NEWADDR:
    case RTM_DELADDR:
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      stale_ = true;
      break;
    case NLMSG_ERROR: {
      const int32_t* code = message_body<int32_t>(message);
      // ENOENT: asked for a neighbour that is gone again.
      if (code && *code != 0 && *code != -ENOENT) ++counters_.errors;
      break;
    }
    default:
      break;
  }
}

void NetlinkFollower::schedule_resync() {
  scheduled_ = true;
  const int64_t pause_ns = std::max<int64_t>(routes_seen_ * kPauseNsPerRoute, 10'000'000);
  itimerspec when{};
  when.it_value.tv_sec = pause_ns / 1'000'000'000;
  when.it_value.tv_nsec = pause_ns % 1'000'000'000;
  timerfd_settime(timer_fd_, 0, &when, nullptr);
}

// --- tables

Error NetlinkFollower::resync(Instant now) {
  ++counters_.resyncs;
  stale_ = false;
  Error error = read_links();
  if (!error) error = read_addresses();
  if (!error) error = read_routes();
  if (error) stale_ = true;
  return error;
}

Error NetlinkFollower::read_links() {
  std::vector<net::LinkConfig> fresh;
  const Error error = read_table(
      tables_, RTM_GETLINK, ifinfomsg{}, [&] { fresh.clear(); },
      [&](const nlmsghdr& message) {
        const auto link = parse_link(message);
        if (link && followed(link->ifindex)) fresh.push_back(*link);
      });
  if (error) return error;
  for (const net::LinkConfig& known : links_) {
    const auto same = [&](const net::LinkConfig& l) { return l.ifindex == known.ifindex; };
    if (!std::any_of(fresh.begin(), fresh.end(), same)) leave(known.ifindex);
  }
  for (const net::LinkConfig& link : fresh) sink_.link(link);
  links_ = std::move(fresh);
  return kOk;
}

// Deleted, or moved to another namespace. Its addresses and routes go with the next reading.
void NetlinkFollower::leave(uint32_t ifindex) {
  if (std::erase(followed_, ifindex) == 0) return;
  net::LinkConfig link;
  link.ifindex = ifindex;
  link.up = false;
  link.gone = true;
  sink_.link(link);
}

Error NetlinkFollower::read_addresses() {
  const Error error = read_table(
      tables_, RTM_GETADDR, ifaddrmsg{},
      [&] {
        fresh_addresses_.clear();
        link_locals_.clear();
      },
      [&](const nlmsghdr& message) {
        const auto fact = parse_address(message);
        if (!fact || !followed(fact->ifindex)) return;
        if (fact->link_local) {
          link_locals_.push_back(fact->ifindex);
          return;
        }
        if (fresh_addresses_.size() < limits_.addresses_max) fresh_addresses_.push_back(*fact);
      });
  if (error) return error;
  std::sort(fresh_addresses_.begin(), fresh_addresses_.end());
  const auto has = [](const std::vector<AddressFact>& list, const AddressFact& fact) {
    return std::binary_search(list.begin(), list.end(), fact);
  };
  for (const AddressFact& a : addresses_) {
    if (!has(fresh_addresses_, a)) sink_.address(a.ifindex, a.address, a.prefix_length, false);
  }
  for (const AddressFact& a : fresh_addresses_) {
    if (!has(addresses_, a)) sink_.address(a.ifindex, a.address, a.prefix_length, true);
  }
  std::swap(addresses_, fresh_addresses_);
  return kOk;
}

Error NetlinkFollower::read_routes() {
  uint64_t ignored = 0;
  uint32_t seen = 0;
  const Error error = read_table(
      tables_, RTM_GETROUTE, rtmsg{},
      [&] {
        fresh_routes_.clear();
        ignored = 0;
        seen = 0;
      },
      [&](const nlmsghdr& message) {
        ++seen;
        const auto route = parse_route(message, followed_);
        if (!route) return;
        if (fresh_routes_.size() < limits_.routes_max) {
          fresh_routes_.push_back(*route);
        } else {
          ++ignored;
        }
      });
  if (error) return error;
  routes_seen_ = seen;
  counters_.routes_ignored = ignored;
  tell_route_differences();
  return kOk;
}

void NetlinkFollower::tell_route_differences() {
  const auto less = [](const net::Route& a, const net::Route& b) {
    return compare_identity(a, b) < 0;
  };
  const auto same = [](const net::Route& a, const net::Route& b) {
    return compare_identity(a, b) == 0;
  };
  std::stable_sort(fresh_routes_.begin(), fresh_routes_.end(), less);
  fresh_routes_.erase(std::unique(fresh_routes_.begin(), fresh_routes_.end(), same),
                      fresh_routes_.end());
  const auto find = [&](const std::vector<net::Route>& list, const net::Route& route) {
    const auto at = std::lower_bound(list.begin(), list.end(), route, less);
    return at != list.end() && same(*at, route) ? &*at : nullptr;
  };
  // New ones first: at no moment is a destination without the route that is being replaced.
  for (const net::Route& route : fresh_routes_) {
    const net::Route* known = find(routes_, route);
    if (!known || !same_route(*known, route)) sink_.route(route, true);
  }
  for (const net::Route& route : routes_) {
    if (!find(fresh_routes_, route)) sink_.route(route, false);
  }
  std::swap(routes_, fresh_routes_);
}

Error NetlinkFollower::count_policy_rules() {
  uint32_t rules = 0;
  const Error error = read_table(
      tables_, RTM_GETRULE, fib_rule_hdr{}, [&] { rules = 0; },
      [&](const nlmsghdr& message) {
        const auto* rule = message_body<fib_rule_hdr>(message);
        if (!rule) return;
        const bool own = rule->action == FR_ACT_TO_TBL &&
                         (rule->table == RT_TABLE_LOCAL || rule->table == RT_TABLE_MAIN ||
                          rule->table == RT_TABLE_DEFAULT);
        if (!own) ++rules;
      });
  // A kernel without policy routing (CONFIG_IP_MULTIPLE_TABLES) has none.
  if (error && error.code != EOPNOTSUPP) return error;
  counters_.policy_rules = rules;
  return kOk;
}

// --- neighbours

void NetlinkFollower::on_neighbor(Instant now, const NeighborFact& fact) {
  if (!followed(fact.ifindex)) return;
  const auto known = std::find_if(neighbors_.begin(), neighbors_.end(), [&](const NeighborFact& n) {
    return n.ifindex == fact.ifindex && n.address == fact.address;
  });
  if (known == neighbors_.end()) {
    if (fact.state == net::NeighborState::kNone) return;
    if (neighbors_.size() < limits_.neighbors_max) {
      neighbors_.push_back(fact);
    } else {
      ++counters_.neighbors_ignored;
      if (!fact.fixed) return;
      // resolve() must know of it: in the place of one that need not be known.
      const auto other = std::find_if(neighbors_.begin(), neighbors_.end(),
                                      [](const NeighborFact& n) { return !n.fixed; });
      if (other == neighbors_.end()) return;
      *other = fact;
    }
  } else if (fact.state == net::NeighborState::kNone) {
    *known = neighbors_.back();
    neighbors_.pop_back();
  } else {
    *known = fact;
  }
  sink_.neighbor(now, fact.ifindex, fact.address, fact.mac, fact.state);
}

Error NetlinkFollower::read_neighbors(Instant now) {
  std::vector<NeighborFact> fresh;
  const Error error = read_table(
      tables_, RTM_GETNEIGH, ndmsg{}, [&] { fresh.clear(); },
      [&](const nlmsghdr& message) {
        const auto fact = parse_neighbor(message);
        if (fact && followed(fact->ifindex) && fresh.size() < limits_.neighbors_max) {
          fresh.push_back(*fact);
        }
      });
  if (error) return error;
  // Those that are gone: told as such. Copied first, on_neighbor() changes the list.
  const std::vector<NeighborFact> known = neighbors_;
  for (NeighborFact old : known) {
    const auto same = [&](const NeighborFact& n) {
      return n.ifindex == old.ifindex && n.address == old.address;
    };
    if (std::any_of(fresh.begin(), fresh.end(), same)) continue;
    old.state = net::NeighborState::kNone;
    old.mac = {};
    on_neighbor(now, old);
  }
  for (const NeighborFact& fact : fresh) on_neighbor(now, fact);
  return kOk;
}

bool NetlinkFollower::is_fixed(uint32_t ifindex, const wire::IpAddress& address) const {
  return std::any_of(neighbors_.begin(), neighbors_.end(), [&](const NeighborFact& n) {
    return n.fixed && n.ifindex == ifindex && n.address == address;
  });
}

void NetlinkFollower::resolve(uint32_t ifindex, const wire::IpAddress& address) {
  if (events_.fd() < 0) return;
  ++counters_.resolutions;
  ndmsg body{};
  body.ndm_family = address.is_v4() ? AF_INET : AF_INET6;
  body.ndm_ifindex = int(ifindex);
  const std::span<const uint8_t> destination =
      address.is_v4() ? std::span(address.v4_data(), 4) : std::span(address.data(), 16);

  // "Somebody uses this entry": the kernel makes it if need be, and solicits or confirms as it does
  // for packets of its own. The states that follow arrive as events. A permanent entry would lose
  // its address by that (NTF_USE takes the mark of permanence away, and the entry is solicited).
  if (!is_fixed(ifindex, address)) {
    ndmsg use = body;
    use.ndm_flags = NTF_USE;
    NetlinkRequest solicit(RTM_NEWNEIGH, NLM_F_CREATE);
    solicit.body(use).attribute(NDA_DST, destination);
    if (Error error = events_.send(solicit)) ++counters_.errors;
    if (!address.is_v4() && !has_link_local(ifindex)) send_nothing(ifindex, address);
  }
  // An entry that is reachable already changes in nothing and gives no event: ask for it.
  NetlinkRequest query(RTM_GETNEIGH, 0);
  query.body(body).attribute(NDA_DST, destination);
  if (Error error = events_.send(query)) ++counters_.errors;
}

bool NetlinkFollower::has_link_local(uint32_t ifindex) const {
  return std::find(link_locals_.begin(), link_locals_.end(), ifindex) != link_locals_.end();
}

// The kernel solicits an IPv6 neighbour from the source of a packet that waits for it, or without
// one from a link-local address; with neither it tells nobody and the entry fails. Interfaces are
// without while duplicate address detection runs, and for good with addrgenmode none. "No next
// header" is what every receiver ignores (RFC 8200 4.7).
void NetlinkFollower::send_nothing(uint32_t ifindex, const wire::IpAddress& address) {
  const int interface = int(ifindex);
  sockaddr_in6 to{};
  to.sin6_family = AF_INET6;
  to.sin6_scope_id = ifindex;
  std::memcpy(&to.sin6_addr, address.data(), sizeof(to.sin6_addr));
  if (nothing_fd_ < 0 ||
      setsockopt(nothing_fd_, SOL_SOCKET, SO_BINDTOIFINDEX, &interface, sizeof(interface)) != 0 ||
      sendto(nothing_fd_, "", 0, 0, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) < 0) {
    ++counters_.errors;
  }
}

}  // namespace millrace::control
