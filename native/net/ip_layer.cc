// SPDX-License-Identifier: MIT
// Wiring, the facts that the control plane tells, and the resolution of paths.
#include "net/ip_layer.h"

#include <algorithm>

namespace millrace::net {

IpLayer::IpLayer(FramePool& pool, TimerWheel& timers, Random& random, const Limits& limits)
    : pool_(pool),
      timers_(timers),
      random_(random),
      path_mtu_min_bytes_(limits.path_mtu_min_bytes),
      routes_(limits.routes_max),
      addresses_(limits.addresses_max),
      groups_(limits.groups_max),
      mtu_expiry_(&IpLayer::on_mtu_expiry, this),
      neighbors_(pool, timers, random, counters_, *this, limits.neighbors_max,
                 limits.waiting_frames_max),
      icmp_limiter_(random),
      identifications_(random) {}

IpLayer::~IpLayer() {
  close();
}

uint8_t IpLayer::attach(Port& port, const LinkConfig& link, bool local_everywhere) {
  MR_ASSERT(interface_count_ < kInterfacesMax);
  const uint8_t index = interface_count_++;
  Interface& interface = interfaces_[index];
  interface.port = &port;
  interface.link = link;
  interface.link.mtu_bytes = std::min(link.mtu_bytes, port.info().mtu_bytes);
  interface.ethernet = port.info().link == LinkType::kEthernet;
  interface.local_everywhere = local_everywhere;
  interface.offloads = &port.info().offloads;
  if (local_everywhere) everywhere_ = index;
  tables_changed();
  return index;
}

void IpLayer::set_handler(uint8_t protocol, TransportHandler* handler) {
  handlers_[protocol] = handler;
}

void IpLayer::set_resolver(NeighborResolver* resolver) {
  neighbors_.set_resolver(resolver);
}

void IpLayer::close() {
  timers_.cancel(mtu_expiry_);
  neighbors_.close();
  tables_changed();  // no path may use an index into the neighbour table any more
  for (uint8_t i = 0; i < interface_count_; ++i) interfaces_[i].batch.release_all(pool_);
}

void IpLayer::tables_changed() {
  if (++generation_ == 0) generation_ = 1;  // 0 is the generation of a path that was never resolved
}

Interface* IpLayer::interface_of(uint32_t ifindex) {
  for (uint8_t i = 0; i < interface_count_; ++i) {
    if (interfaces_[i].link.ifindex == ifindex) return &interfaces_[i];
  }
  return nullptr;
}

bool IpLayer::is_attached(uint32_t ifindex) const {
  for (uint8_t i = 0; i < interface_count_; ++i) {
    if (interfaces_[i].link.ifindex == ifindex) return true;
  }
  return false;
}

void IpLayer::link_changed(const LinkConfig& link) {
  Interface* interface = interface_of(link.ifindex);
  if (!interface) return;
  interface->link = link;
  interface->link.mtu_bytes = std::min(link.mtu_bytes, interface->port->info().mtu_bytes);
  // The kernel's number may become another interface's, whose routes are the kernel's.
  if (link.gone) interface->link.ifindex = kGoneIfindex;
  tables_changed();
}

void IpLayer::address_changed(uint32_t ifindex, const IpAddress& address, uint8_t prefix_length,
                              bool present) {
  if (prefix_length > (address.is_v4() ? 32 : 128)) return;
  const Error error = addresses_.change({address, ifindex, prefix_length}, present);
  if (error.code == ENOBUFS) ++counters_.table_full;
  tables_changed();
}

Error IpLayer::route_changed(const Route& route, bool present) {
  const Error error = routes_.change(route, present);
  if (error.code == ENOBUFS) ++counters_.table_full;
  if (!error) tables_changed();
  return error;
}

void IpLayer::neighbor_changed(Instant now, uint32_t ifindex, const IpAddress& address,
                               const MacAddress& mac, NeighborState state) {
  const Interface* interface = interface_of(ifindex);
  if (!interface || !interface->ethernet) return;
  neighbors_.update(now, uint8_t(interface - interfaces_.data()), ifindex, address, mac, state);
}

Error IpLayer::join_group(uint8_t interface, const IpAddress& group) {
  if (interface >= interface_count_ || !group.is_multicast()) return {EINVAL};
  const Error error = groups_.join(interface, group);
  if (error) ++counters_.table_full;
  return error;
}

void IpLayer::leave_group(uint8_t interface, const IpAddress& group) {
  groups_.leave(interface, group);
  tables_changed();  // nothing that was let in before is remembered as such
}

uint8_t IpLayer::interface_index(uint32_t ifindex) {
  const Interface* found = interface_of(ifindex);
  return found ? uint8_t(found - interfaces_.data()) : kInterfacesMax;
}

uint8_t IpLayer::group_interface(const IpAddress& address, const IpAddress& group) {
  if (!address.is_unspecified()) {
    const LocalAddress* own = addresses_.find(address);
    return own ? interface_index(own->ifindex) : kInterfacesMax;
  }
  const Route* route = routes_.lookup(group);
  return route ? interface_index(route->ifindex) : kInterfacesMax;
}

void IpLayer::learn_path_mtu(Instant now, const IpAddress& remote, uint32_t mtu_bytes,
                             bool may_be_cut) {
  if (!path_mtus_.learn(now, remote, mtu_bytes, may_be_cut)) return;
  timers_.arm(mtu_expiry_, path_mtus_.next_expiry());
  tables_changed();
}

void IpLayer::on_mtu_expiry(Timer& timer, void* owner, Instant now) {
  IpLayer& ip = *static_cast<IpLayer*>(owner);
  if (ip.path_mtus_.expire(now)) ip.tables_changed();
  if (!ip.path_mtus_.next_expiry().is_never()) {
    ip.timers_.arm(timer, ip.path_mtus_.next_expiry());
  }
}

void IpLayer::confirm(Instant now, Path& path) {
  if (path.generation != generation_ || path.neighbor == UINT32_MAX) return;
  neighbors_.confirm(now, neighbors_.at(path.neighbor));
}

bool IpLayer::is_local(const IpAddress& address) const {
  if (everywhere_ != kInterfacesMax) {
    return !address.is_multicast() && !address.is_limited_broadcast() && !address.is_unspecified();
  }
  for (const LocalAddress& known : addresses_.all()) {
    if (known.address == address && is_attached(known.ifindex)) return true;
  }
  return false;
}

Result<Path> IpLayer::resolve(const IpAddress& local, const IpAddress& remote) {
  Path path;
  path.local = local;
  path.remote = remote;
  if (const Error error = route(path)) return error;
  return path;
}

bool IpLayer::refresh(Path& path) {
  return path.generation == generation_ || !route(path);
}

// Fills `path` from its `local` and `remote`. On an error nothing of it changes.
Error IpLayer::route(Path& path) {
  const IpAddress& remote = path.remote;
  if (remote.is_unspecified() || remote.is_multicast() || remote.is_limited_broadcast()) {
    return Error{ENETUNREACH};
  }
  const bool source_given = !path.local.is_unspecified();
  if (source_given && path.local.is_v4() != remote.is_v4()) return Error{ENETUNREACH};
  if (everywhere_ != kInterfacesMax) return route_locally(path, everywhere_);

  if (source_given && !is_local(path.local)) return Error{EADDRNOTAVAIL};
  // Our own addresses are the kernel's loopback; so is a broadcast, which needs its permission.
  if (addresses_.find(remote) || addresses_.is_subnet_broadcast(remote)) return Error{ENETUNREACH};
  const Route* best = routes_.lookup(remote);
  if (!best) return Error{ENETUNREACH};
  Interface* interface = interface_of(best->ifindex);
  if (!interface || !interface->link.up) return Error{ENETUNREACH};
  const IpAddress next_hop = best->gateway.is_unspecified() ? remote : best->gateway;
  // RFC 5549: an IPv4 route by way of an IPv6 gateway works, the neighbour just has an IPv6
  // address.
  if (!source_given) {
    if (best->preferred_source.is_unspecified()) {
      if (!addresses_.choose_source(best->ifindex, remote, next_hop, path.local)) {
        return Error{ENETUNREACH};
      }
    } else if (is_local(best->preferred_source)) {
      path.local = best->preferred_source;
    } else {
      return Error{ENETUNREACH};  // an address of another interface: the answers would go there
    }
  }
  uint32_t mtu = std::min(interface->link.mtu_bytes, kIpPacketMaxBytes);
  if (best->mtu_bytes != 0) mtu = std::min(mtu, best->mtu_bytes);
  path.next_hop = next_hop;
  const PathMtuCache::Known known = path_mtus_.find(remote);
  path.mtu_bytes = std::min(mtu, known.mtu_bytes);
  path.may_be_cut = known.may_be_cut;
  path.interface = uint8_t(interface - interfaces_.data());
  path.neighbor = UINT32_MAX;
  path.generation = generation_;
  return kOk;
}

// Every address is ours: the source is what Linux would take for a connection to itself.
Error IpLayer::route_locally(Path& path, uint8_t index) {
  const Interface& interface = interfaces_[index];
  if (!interface.link.up) return Error{ENETUNREACH};
  if (path.local.is_unspecified()) {
    path.local =
        path.remote.is_v4() && path.remote.is_loopback() ? IpAddress::v4(0x7f000001) : path.remote;
  }
  path.next_hop = path.remote;
  path.mtu_bytes = std::min(interface.link.mtu_bytes, kIpPacketMaxBytes);
  path.interface = index;
  path.neighbor = UINT32_MAX;
  path.generation = generation_;
  return kOk;
}

}  // namespace millrace::net
