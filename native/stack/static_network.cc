// SPDX-License-Identifier: MIT
#include "stack/static_network.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdio>

namespace millrace {
namespace {

constexpr size_t kAskedMax = 1024;

bool parse_ip(const std::string& text, wire::IpAddress& out) {
  uint8_t bytes[16];
  if (inet_pton(AF_INET, text.c_str(), bytes) == 1) {
    out = wire::IpAddress::v4_bytes(bytes);
    return true;
  }
  if (inet_pton(AF_INET6, text.c_str(), bytes) != 1) return false;
  out = wire::IpAddress::v6_bytes(bytes);
  return true;
}

template <typename Each>
bool each_item(const std::string& text, std::string& wrong, Each&& each) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string item = text.substr(begin, end - begin);
    begin = end + 1;
    if (item.empty() || each(item)) continue;
    wrong = item;
    return false;
  }
  return true;
}

}  // namespace

bool StaticNetwork::parse_addresses(const std::string& text, std::vector<Address>& out,
                                    std::string& wrong) {
  return each_item(text, wrong, [&out](const std::string& item) {
    const size_t slash = item.find('/');
    Address address;
    if (slash == item.npos || !parse_ip(item.substr(0, slash), address.address)) return false;
    unsigned length = 0;
    char rest = 0;
    if (std::sscanf(item.c_str() + slash + 1, "%3u%c", &length, &rest) != 1) return false;
    if (length == 0 || length > (address.address.is_v4() ? 32u : 128u)) return false;
    address.prefix_length = uint8_t(length);
    out.push_back(address);
    return true;
  });
}

bool StaticNetwork::parse_neighbors(const std::string& text, std::vector<Neighbor>& out,
                                    std::string& wrong) {
  return each_item(text, wrong, [&out](const std::string& item) {
    const size_t equals = item.find('=');
    Neighbor neighbor;
    if (equals == item.npos || !parse_ip(item.substr(0, equals), neighbor.address)) return false;
    unsigned b[6];
    char rest = 0;
    if (std::sscanf(item.c_str() + equals + 1, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2],
                    &b[3], &b[4], &b[5], &rest) != 6) {
      return false;
    }
    std::transform(std::begin(b), std::end(b), neighbor.mac.begin(),
                   [](unsigned byte) { return uint8_t(byte); });
    out.push_back(neighbor);
    return true;
  });
}

StaticNetwork::StaticNetwork(net::IpLayer& ip, TimerWheel& timers, uint32_t ifindex,
                             std::vector<Address> addresses, std::vector<Neighbor> neighbors)
    : ip_(ip),
      timers_(timers),
      ifindex_(ifindex),
      neighbors_(std::move(neighbors)),
      soon_(
          [](Timer&, void* owner, Instant now) { static_cast<StaticNetwork*>(owner)->answer(now); },
          this) {
  for (const Address& one : addresses) {
    ip_.address_changed(ifindex_, one.address, one.prefix_length, true);
    net::Route route;
    route.destination = one.address;
    route.prefix_length = one.prefix_length;
    route.preferred_source = one.address;
    route.ifindex = ifindex_;
    static_cast<void>(ip_.route_changed(route, true));
  }
  for (const Neighbor& one : neighbors_) {
    ip_.neighbor_changed(Instant{}, ifindex_, one.address, one.mac, net::NeighborState::kReachable);
  }
  ip_.set_resolver(this);
}

StaticNetwork::~StaticNetwork() {
  timers_.cancel(soon_);
  ip_.set_resolver(nullptr);
}

// The layer asks in the middle of its work: the answer comes with the next turn's timers.
void StaticNetwork::resolve(uint32_t ifindex, const wire::IpAddress& address) {
  if (ifindex != ifindex_ || asked_.size() >= kAskedMax) return;
  asked_.push_back(address);
  if (!soon_.armed()) timers_.arm(soon_, Instant{});
}

void StaticNetwork::answer(Instant now) {
  std::vector<wire::IpAddress> asked;
  asked.swap(asked_);
  for (const wire::IpAddress& address : asked) {
    const auto known = std::find_if(neighbors_.begin(), neighbors_.end(),
                                    [&](const Neighbor& n) { return n.address == address; });
    const bool found = known != neighbors_.end();
    ip_.neighbor_changed(now, ifindex_, address, found ? known->mac : net::MacAddress{},
                         found ? net::NeighborState::kReachable : net::NeighborState::kFailed);
  }
}

}  // namespace millrace
