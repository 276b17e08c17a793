// SPDX-License-Identifier: MIT
#include "sim/host.h"

#include <algorithm>
#include <array>

#include "sim/content.h"
#include "sim/world.h"
#include "support/connection_rules.h"

namespace millrace::sim {

namespace {
constexpr uint32_t kIfindex = 7;

wire::IpAddress address_of(bool v6, uint32_t number) {
  if (!v6) return wire::IpAddress::v4(0x0a010001u + number);
  uint8_t bytes[16] = {0xfd, 0, 0, 1};
  bytes[15] = uint8_t(1 + number);
  return wire::IpAddress::v6_bytes(bytes);
}

net::MacAddress mac_of(uint32_t number) {
  return {2, 0, 0, 0, 1, uint8_t(number)};
}
}  // namespace

Host::Host(World& world, uint32_t number, SimNetwork& network)
    : world_(world),
      number_(number),
      plan_(world.scenario().hosts[number]),
      address_(address_of(world.scenario().v6, number)),
      random_(Random::from_seed(mix(world.scenario().seed) + number)),
      pool_(plan_.pool_frames, plan_.frame_bytes),
      timers_(Instant{}),
      udp_(world, *this) {
  attach_port(network, plan_);
  tcp_ = std::make_unique<tcp::Tcp>(pool_, *ip_, timers_, random_, *this, plan_.tcp);
  ip_->set_handler(6, tcp_.get());
  start_listening();
  udp_.start();
}

void Host::attach_port(SimNetwork& network, const HostPlan& plan) {
  const bool ethernet = world_.scenario().ethernet;
  SimPortOptions options;
  options.link = ethernet ? LinkType::kEthernet : LinkType::kIp;
  options.mtu_bytes = plan.mtu_bytes;
  options.tx_hold = plan.tx_hold;
  options.tx_ring_frames = plan.tx_ring_frames;
  port_ = network.add_port(pool_, options);
  const net::MacAddress mac = mac_of(number_);
  port_->set_mac(mac);
  port_->add_address(address_);
  network.set_conditions(number_, plan.weather);
  ip_ = std::make_unique<net::IpLayer>(pool_, timers_, random_, net::Limits{});
  link_ = {.ifindex = kIfindex, .mac = mac, .mtu_bytes = plan.mtu_bytes, .up = true};
  ip_->attach(*port_, link_, false);
  ip_->set_resolver(this);
  const uint8_t prefix = address_.is_v4() ? 24 : 64;
  ip_->address_changed(kIfindex, address_, prefix, true);
  net::Route route;
  route.destination = address_of(world_.scenario().v6, UINT32_MAX);  // the network itself
  route.prefix_length = prefix;
  route.ifindex = kIfindex;
  if (ip_->route_changed(route, true)) world_.fail("route_changed() failed");
}

void Host::start_listening() {
  for (const ListenerPlan& plan : plan_.listeners) {
    auto listener = tcp_->listen({address_, plan.port}, false, plan.backlog, plan.options,
                                 uint32_t(listening_.size()));
    if (!listener) {
      world_.fail("listen() failed");
      return;
    }
    listening_.push_back({*listener, &plan, false, Instant::never()});
  }
}

Host::~Host() = default;

Frame* Host::alloc_for_application() {
  // Received frames and control segments keep a share for themselves, as a program's stack does it.
  if (pool_.available() < pool_.capacity() / 4) return nullptr;
  return pool_.alloc();
}

uint32_t Host::adopt(Endpoint* endpoint) {
  endpoints_.push_back(endpoint);
  return uint32_t(endpoints_.size() - 1);
}

bool Host::connect(Instant world_now, Endpoint& endpoint, uint16_t local_port,
                   const wire::Endpoint& remote, const tcp::ConnectionOptions& options) {
  const Instant now = world_now + ahead_;
  const uint32_t user = adopt(&endpoint);
  auto connection = tcp_->connect(now, {address_, local_port}, remote, options, user);
  if (!connection) {
    endpoints_.pop_back();
    if (connection.error().code == EADDRINUSE) return false;
    world_.fail("connect() failed with " + std::to_string(connection.error().code));
    return true;
  }
  core_ = &(*connection)->core;
  endpoint.attach(now, *this, *connection, false);
  return true;
}

Endpoint* Host::of(tcp::Connection& connection) {
  const uint32_t user = tcp_->user(connection);
  if (user >= endpoints_.size() || !endpoints_[user]) return nullptr;
  Endpoint* endpoint = endpoints_[user];
  return endpoint->connection() == &connection ? endpoint : nullptr;
}

void Host::on_connected(tcp::Connection& connection) {
  Endpoint* endpoint = of(connection);
  if (!endpoint) return world_.fail("on_connected() for an unknown connection");
  endpoint->connected();
  endpoint->touch();
}

void Host::on_acceptable(tcp::Listener& listener) {
  for (Listening& l : listening_) {
    if (l.listener == &listener) l.acceptable = true;
  }
}

void Host::on_readable(tcp::Connection& connection) {
  if (Endpoint* endpoint = of(connection)) endpoint->touch();
}

void Host::on_acked(tcp::Connection& connection) {
  if (Endpoint* endpoint = of(connection)) endpoint->touch();
}

void Host::on_error(tcp::Connection& connection, Error error) {
  if (Endpoint* endpoint = of(connection)) {
    endpoint->failed(error);
    endpoint->touch();
  }
}

void Host::resolve(uint32_t ifindex, const wire::IpAddress& address) {
  for (const Resolving& r : resolving_) {
    if (r.address == address) return;
  }
  // The world's time is that of the turn we are in.
  resolving_.push_back({address, Instant::never()});
}

void Host::answer_resolver(Instant now) {
  const Duration delay = world_.scenario().resolve_delay;
  for (size_t i = 0; i < resolving_.size();) {
    Resolving& r = resolving_[i];
    if (r.at.is_never()) r.at = now + delay;
    if (r.at > now) {
      ++i;
      continue;
    }
    const wire::IpAddress address = r.address;
    resolving_.erase(resolving_.begin() + int64_t(i));
    const uint32_t number = address.data()[15] - 1u;
    ip_->neighbor_changed(now, kIfindex, address, mac_of(number), net::NeighborState::kReachable);
  }
}

void Host::accept_all(Instant now, Listening& l) {
  if (l.acceptable && l.accept_at.is_never()) l.accept_at = now + l.plan->accept_delay;
  l.acceptable = false;
  if (l.accept_at > now) return;
  l.accept_at = Instant::never();
  while (true) {
    const uint32_t user = adopt(nullptr);
    tcp::Connection* connection = tcp_->accept(*l.listener, user);
    if (!connection) {
      endpoints_.pop_back();
      return;
    }
    const wire::FlowKey flow = tcp_->flow(*connection);
    Endpoint* endpoint = world_.server_endpoint(flow);
    if (!endpoint || endpoint->attached()) {
      // That a cookie makes one connection only is best effort (SynCookies::spend).
      const bool cookies = cookies_sent() > 0;
      if (!world_.scenario().hostile && !cookies && !(endpoint && endpoint->may_break())) {
        world_.fail("accepted a connection that nobody made, from port " +
                    std::to_string(flow.remote.port));
      }
      tcp_->abort(now, connection);
      continue;
    }
    core_ = &connection->core;
    endpoints_[user] = endpoint;
    endpoint->attach(now, *this, connection, true);
    if (const Error error = tcp_->error(*connection)) endpoint->failed(error);
    endpoint->step(now);
  }
}

void Host::turn(Instant world_now) {
  const Instant now = world_now + ahead_;
  if (now < not_before_) return;
  timers_.advance(now);
  std::array<Frame*, 32> burst;
  // Bounded, as in a program: what is left is served by the next turn.
  for (int round = 0; round < 8; ++round) {
    const uint32_t count = port_->receive(now, burst);
    ip_->input(now, 0, {burst.data(), count});
    if (count < burst.size()) break;
  }
  answer_resolver(now);
  for (Listening& l : listening_) accept_all(now, l);
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    Endpoint* endpoint = endpoints_[i];
    if (endpoint && (endpoint->dirty() || endpoint->wake_at() <= now)) endpoint->step(now);
  }
  udp_.step(now);
  answer_resolver(now);
  ip_->flush(now);
  check_after_turn(now);
  if (plan_.busy_chance && random_.chance(plan_.busy_chance)) {
    not_before_ = now + Duration::micros(1 + random_.below(uint32_t(plan_.busy_for.micros())));
  }
}

Instant Host::next_event() const {
  Instant next = std::min(timers_.next_deadline(), port_->next_event());
  next = std::min(next, udp_.next_event());
  for (const Listening& l : listening_) next = std::min(next, l.accept_at);
  for (const Resolving& r : resolving_) next = std::min(next, r.at);
  for (const Endpoint* endpoint : endpoints_) {
    if (endpoint && !endpoint->finished()) next = std::min(next, endpoint->wake_at());
  }
  if (next.is_never()) return next;
  return Instant{std::max(next, not_before_).ns - ahead_.ns};
}

void Host::check_connection(Instant now, Endpoint& endpoint) {
  tcp::Connection& c = *endpoint.connection();
  const tcp::Info info = tcp_->info(c);
  const tcp::StackOptions& o = plan_.tcp;
  if (info.bytes_acked > endpoint.written() + 2 || info.bytes_received > UINT32_MAX) {
    world_.fail("impossible byte counts");
  }
  if (info.rto_us < uint64_t(o.rto_min.micros()) || info.rto_us > uint64_t(o.rto_max.micros())) {
    world_.fail("retransmission timeout of " + std::to_string(info.rto_us) + " us");
  }
  if (info.state == 1 && (info.cwnd_bytes == 0 || info.mss_bytes == 0)) {
    world_.fail("no congestion window");
  }
  const uint32_t readable = tcp_->readable_bytes(c);
  if (readable > o.receive_buffer_max_bytes) {
    world_.fail(std::to_string(readable) + " bytes are readable, more than the buffer holds");
  }
  const char* broken = test::broken_deadline_rule(c, now);
  // Long queues are walked now and then only, or a run would cost their square.
  if (!broken && (c.snd.queue.frames + c.rcv.queue.size() < 32 || turns_ % 16 == 0)) {
    broken = test::broken_rule(c);
  }
  if (broken) world_.fail(endpoint.describe() + ": broken rule: " + broken);
}

// What is not free belongs to somebody: a queue of TCP or UDP, the device, or a batch for it, or a
// packet that waits for its neighbour. Frames may belong to two of them, so this is a bound.
void Host::check_frames() {
  if (!core_) return;
  uint64_t held = hogged_.size() + plan_.tx_ring_frames + net::TransmitBatch::kFramesMax;
  held += net::Limits{}.waiting_frames_max * world_.scenario().hosts.size();
  for (tcp::FlowNode* node = core_->all.front(); node; node = core_->all.next(node)) {
    if (node->half_open) continue;
    const auto& c = static_cast<const tcp::Connection&>(*node);
    held += c.snd.queue.frames + c.rcv.queue.size() + c.rcv.ooo_frames;
  }
  const uint32_t used = pool_.capacity() - pool_.available();
  if (used > held) {
    world_.fail(std::to_string(used) + " frames are in use, at most " + std::to_string(held) +
                " have an owner");
  }
}

void Host::check_after_turn(Instant now) {
  const Instant deadline = timers_.next_deadline();
  if (deadline <= now) world_.fail("a timer that was due did not fire");
  if (port_->changed_while_pending()) {
    world_.fail("a frame was changed while the device still read from it");
  }
  ++turns_;
  for (Endpoint* endpoint : endpoints_) {
    if (endpoint && endpoint->connection()) check_connection(now, *endpoint);
  }
  if (turns_ % 16 == 0) check_frames();
}

void Host::change_mtu(uint32_t mtu_bytes) {
  port_->set_mtu(mtu_bytes);
  link_.mtu_bytes = mtu_bytes;
  ip_->link_changed(link_);
}

bool Host::quiet(std::string& what) const {
  const std::string who = "host " + std::to_string(number_) + ": ";
  if (tcp_->connection_count() != 0) {
    what = who + std::to_string(tcp_->connection_count()) + " connections left";
  } else if (timers_.armed_count() != 0) {
    what = who + std::to_string(timers_.armed_count()) + " timers left armed";
  } else if (pool_.available() != pool_.capacity()) {
    what = who + std::to_string(pool_.capacity() - pool_.available()) + " frames leaked";
  } else {
    return true;
  }
  return false;
}

void Host::jump_clock(Duration by) {
  ahead_ = ahead_ + by;
  port_->set_clock_ahead(ahead_);
}

void Host::hog(uint32_t left) {
  while (pool_.available() > left) hogged_.push_back(pool_.alloc());
}

void Host::give_back() {
  pool_.release_all(hogged_);
}

void Host::close(Instant world_now) {
  const Instant now = world_now + ahead_;
  give_back();
  for (Listening& l : listening_) tcp_->close(now, l.listener);
  listening_.clear();
  ip_->set_handler(6, nullptr);
  ip_->set_handler(17, nullptr);
  udp_.close();
  tcp_->close_all(now, false);
  ip_->close();
  port_->close();
  if (pool_.available() != pool_.capacity()) world_.fail("frames leaked at close");
  if (timers_.armed_count() != 0) world_.fail("timers armed at close");
  tcp_.reset();
  ip_.reset();
  port_.reset();
}

}  // namespace millrace::sim
