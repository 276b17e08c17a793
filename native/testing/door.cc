// SPDX-License-Identifier: MIT
#include "testing/door.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "net/route_table.h"
#include "wire/ipv4.h"

namespace millrace::testing {

using wire::IpAddress;

namespace {

constexpr uint32_t kIfindex = 1;
constexpr uint32_t kHeadersMax = 256;  // in front of a payload, or behind a packet that fits

constexpr net::MacAddress kOurMac{2, 0, 0, 0, 0, 1};
constexpr net::MacAddress kTheirMac{2, 0, 0, 0, 0, 2};

uint32_t frame_bytes(uint32_t mtu_bytes) {
  return std::max(2048u, std::bit_ceil(mtu_bytes + kHeadersMax));
}

tcp::StackOptions tcp_options(const mrt_options& o) {
  tcp::StackOptions tcp;
  tcp.connections_max = o.connections_max;
  if (o.defaults == MRT_DEFAULTS_RFC) {
    tcp.rto_min = Duration::seconds(1);
    tcp.rto_max = Duration::seconds(60);
    tcp.time_wait = Duration::seconds(240);
    tcp.timestamps_required = true;
  }
  tcp.cubic_reno_slope = o.defaults == MRT_DEFAULTS_RFC;
  if (o.rto_min_ms) tcp.rto_min = Duration::millis(o.rto_min_ms);
  if (o.rto_max_ms) tcp.rto_max = Duration::millis(o.rto_max_ms);
  if (o.time_wait_ms) tcp.time_wait = Duration::millis(o.time_wait_ms);
  if (o.fin_timeout_ms) tcp.fin_timeout = Duration::millis(o.fin_timeout_ms);
  tcp.ecn = o.ecn == MRT_ECN_ON    ? tcp::Ecn::kOn
            : o.ecn == MRT_ECN_OFF ? tcp::Ecn::kOff
                                   : tcp::Ecn::kPassive;
  tcp.mtu_probing = o.mtu_probing == 1   ? tcp::MtuProbing::kBlackHole
                    : o.mtu_probing == 2 ? tcp::MtuProbing::kAlways
                                         : tcp::MtuProbing::kOff;
  tcp.fixed_isn = o.fixed_isn != 0;
  tcp.isn = o.isn;
  return tcp;
}

net::Limits limits_of(const mrt_options& o) {
  net::Limits limits;
  if (o.defaults == MRT_DEFAULTS_RFC) limits.path_mtu_min_bytes = 68;
  return limits;
}

}  // namespace

Door::Door(const mrt_options& options, mrt_stack* handle)
    : options_(options),
      handle_(handle),
      now_{options.start_ns},
      random_(Random::from_seed(options.seed)),
      pool_(options.frames, frame_bytes(options.mtu_bytes)),
      timers_(now_),
      port_(options.mtu_bytes, options.ethernet != 0) {
  ip_ = std::make_unique<net::IpLayer>(pool_, timers_, random_, limits_of(options));
  link_ = {.ifindex = kIfindex, .mac = kOurMac, .mtu_bytes = options.mtu_bytes, .up = true};
  ip_->set_resolver(this);
  ip_->attach(port_, link_, false);
  tcp_ = std::make_unique<tcp::Tcp>(pool_, *ip_, timers_, random_, *this, tcp_options(options));
  udp_ = std::make_unique<udp::Udp>(pool_, *ip_, *this, udp::Options{});
  ip_->set_handler(wire::kProtocolTcp, tcp_.get());
  ip_->set_handler(wire::kProtocolUdp, udp_.get());
}

Door::~Door() = default;

uint32_t Door::close_all() {
  sockets_.clear();
  ip_->set_handler(wire::kProtocolTcp, nullptr);
  ip_->set_handler(wire::kProtocolUdp, nullptr);
  tcp_->close_all(now_, false);
  udp_->close_all();
  ip_->close();
  port_.close();
  udp_.reset();
  tcp_.reset();
  ip_.reset();
  return pool_.capacity() - pool_.available();
}

int Door::address_change(const char* text, bool present) {
  Result<Prefix> prefix = parse_prefix(text);
  if (!prefix) return -prefix.error().code;
  const auto same = [&](const Prefix& p) { return p.address == prefix->address; };
  const auto known = std::find_if(addresses_.begin(), addresses_.end(), same);
  if (present == (known != addresses_.end())) return present ? -EEXIST : -EADDRNOTAVAIL;
  if (present) {
    addresses_.push_back(*prefix);
  } else {
    addresses_.erase(known);
  }
  ip_->address_changed(kIfindex, prefix->address, prefix->length, present);
  net::Route route;
  route.destination = net::prefix_of(prefix->address, prefix->length);
  route.prefix_length = prefix->length;
  route.ifindex = kIfindex;
  // Two addresses may share a prefix: it goes with the last of them.
  for (const Prefix& p : addresses_) {
    if (!present && p.length == prefix->length &&
        net::same_prefix(p.address, prefix->address, p.length))
      return 0;
  }
  return -ip_->route_changed(route, present).code;
}

int Door::route_change(const char* text, const char* gateway, uint32_t mtu_bytes, bool present) {
  Result<Prefix> prefix = parse_prefix(text);
  if (!prefix) return -prefix.error().code;
  net::Route route;
  route.destination = net::prefix_of(prefix->address, prefix->length);
  route.prefix_length = prefix->length;
  route.ifindex = kIfindex;
  route.mtu_bytes = mtu_bytes;
  if (gateway) {
    Result<IpAddress> address = parse_address(gateway);
    if (!address) return -address.error().code;
    route.gateway = *address;
  }
  const auto same = [&](const net::Route& r) {
    return r.destination == route.destination && r.prefix_length == route.prefix_length;
  };
  const auto known = std::find_if(routes_.begin(), routes_.end(), same);
  if (known != routes_.end()) {
    if (const Error error = ip_->route_changed(*known, false)) return -error.code;
    routes_.erase(known);
  } else if (!present) {
    return -ESRCH;
  }
  if (!present) return 0;
  routes_.push_back(route);
  return -ip_->route_changed(route, true).code;
}

int Door::link_set(uint32_t mtu_bytes, bool up) {
  if (mtu_bytes < 68 || mtu_bytes > options_.mtu_bytes) return -EINVAL;
  link_.mtu_bytes = mtu_bytes;
  link_.up = up;
  ip_->link_changed(link_);
  return 0;
}

int Door::neighbor_set(const char* text, bool answers) {
  Result<IpAddress> address = parse_address(text);
  if (!address) return -address.error().code;
  std::erase(silent_, *address);
  if (!answers) silent_.push_back(*address);
  return 0;
}

void Door::resolve(uint32_t, const IpAddress& address) {
  if (std::find(silent_.begin(), silent_.end(), address) == silent_.end())
    resolving_.push_back(address);
}

void Door::settle() {
  while (!resolving_.empty()) {
    const IpAddress address = resolving_.back();
    resolving_.pop_back();
    ip_->neighbor_changed(now_, kIfindex, address, kTheirMac, net::NeighborState::kReachable);
  }
  ip_->flush(now_);
}

int Door::packet_in(std::span<const uint8_t> packet) {
  Frame* frame = pool_.alloc();
  if (!frame) return -ENOBUFS;
  if (packet.size() > frame->tailroom()) {
    pool_.release(frame);
    return -EMSGSIZE;
  }
  frame->length = uint32_t(packet.size());
  if (!packet.empty()) std::memcpy(frame->data(), packet.data(), packet.size());
  if (options_.ethernet) {
    uint8_t* header = frame->push_front(WirePort::kEthernetHeaderBytes);
    std::copy(kOurMac.begin(), kOurMac.end(), header);
    std::copy(kTheirMac.begin(), kTheirMac.end(), header + 6);
    wire::store16(header + 12, !packet.empty() && packet[0] >> 4 == 6 ? 0x86dd : 0x0800);
  }
  ip_->input(now_, 0, frame);
  settle();
  return 0;
}

size_t Door::packet_out(std::span<uint8_t> buffer, int64_t* time_ns) {
  if (port_.waiting() == 0) return 0;
  const SentPacket& packet = port_.front();
  const size_t length = packet.bytes.size();
  if (!buffer.empty()) {
    std::memcpy(buffer.data(), packet.bytes.data(), std::min(length, buffer.size()));
  }
  if (time_ns) *time_ns = packet.at.ns;
  port_.pop();
  return length;
}

Instant Door::next_timer() const {
  const Instant next = timers_.next_deadline();
  return next.is_never() ? next : std::max(next, now_);
}

// From timer to timer, so that each sees its own time and not the end of the caller's leap.
int Door::advance(Instant to) {
  if (to < now_) return -EINVAL;
  while (true) {
    timers_.advance(now_);
    settle();
    const Instant next = timers_.next_deadline();
    if (next > to || next.is_never()) break;
    now_ = std::max(next, now_);
  }
  now_ = to;
  return 0;
}

void Door::advance_until_event(Instant to) {
  const uint64_t before = activity_;
  while (true) {
    timers_.advance(now_);
    settle();
    if (port_.waiting() > 0 || activity_ != before || now_ >= to) return;
    const Instant next = std::min(timers_.next_deadline(), to);
    if (next.is_never()) return;  // nothing will ever happen by itself
    now_ = std::max(next, now_);
  }
}

Socket* Door::find(int fd) const {
  const size_t index = size_t(fd) - kFirstFd;
  return fd >= kFirstFd && index < sockets_.size() ? sockets_[index].get() : nullptr;
}

Socket* Door::of(const tcp::Connection& connection) const {
  Socket* socket = find(int(tcp_->user(connection)));
  return socket && socket->connection == &connection ? socket : nullptr;
}

void Door::on_connected(tcp::Connection& connection) {
  ++activity_;
  if (Socket* s = of(connection)) {
    if (s->phase == Phase::kConnecting) s->phase = Phase::kConnected;
  }
}

void Door::on_error(tcp::Connection& connection, Error error) {
  ++activity_;
  if (Socket* s = of(connection)) s->error = error.code;
}

void Door::on_error(udp::Socket& socket, Error error) {
  ++activity_;
  Socket* s = find(int(udp_->user(socket)));
  if (s && s->datagrams == &socket) s->error = error.code;
}

}  // namespace millrace::testing
