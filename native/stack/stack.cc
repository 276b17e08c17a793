// SPDX-License-Identifier: MIT
#include "stack/stack.h"

#include <algorithm>

#include "wire/ipv4.h"

namespace millrace {

namespace {
constexpr uint32_t kBurst = 64;
// A port that was full is tried again after this, if nothing else causes a turn before.
constexpr Duration kRetryAfter = Duration::micros(200);
// RFC 6056: ports for flows that no director steers (the loopback port), Linux's default range.
constexpr uint16_t kEphemeralFirst = 32768;
constexpr uint16_t kEphemeralLast = 60999;
constexpr uint32_t kEphemeralPorts = kEphemeralLast - kEphemeralFirst + 1;
constexpr uint32_t kPortTries = 32;

// Addresses that mean something only together with an interface (RFC 4007) are the kernel's.
bool is_scoped(const wire::IpAddress& address) {
  return !address.is_v4() && address.is_link_local();
}

// Two for each connection, one for each handshake and neighbour; the others are a handful.
uint32_t timers_max(const StackConfig& config) {
  return 2 * config.tcp.connections_max + config.tcp.half_open_max + config.net.neighbors_max + 64;
}
}  // namespace

Stack::Stack(const StackConfig& config, Random random, Instant now)
    : pool_(config.frames, config.frame_bytes),
      random_(std::move(random)),
      timers_(now, timers_max(config)),
      ip_(pool_, timers_, random_, config.net),
      tcp_(pool_, ip_, timers_, random_, *this, config.tcp),
      udp_(pool_, ip_, *this, config.udp),
      shared_(config.shared),
      slots_(config.shared.sockets),
      clock_(config.clock) {
  ip_.set_handler(wire::kProtocolTcp, &tcp_);
  ip_.set_handler(wire::kProtocolUdp, &udp_);
  offer_frames();
}

Stack::~Stack() {
  tcp_.close_all(Instant{}, false);
  udp_.close_all();
  slots_.close_all();
  ip_.close();
  director_.reset();  // rules go before the sockets that they lead to
  for (uint32_t i = 0; i < port_count_; ++i) ports_[i]->close();
}

void Stack::add_port(std::unique_ptr<Port> port, const net::LinkConfig& link,
                     bool local_everywhere) {
  MR_ASSERT(port_count_ < ports_.size());
  ip_.attach(*port, link, local_everywhere);
  local_everywhere_ |= local_everywhere;
  ports_[port_count_++] = std::move(port);
}

void Stack::set_director(std::unique_ptr<FlowDirector> director) {
  director_ = std::move(director);
}

bool Stack::turn(Instant now, uint32_t frames_budget) {
  ++counters_.turns;
  last_turn_ = now;
  bulk_frames_ = 0;
  any_ended_ = false;
  take_commands(now);
  timers_.advance(now);
  // What arrived in the last turn has been seen by now: an answer takes the ACK along.
  push_written(now);
  tcp_.send_held_acks(now, tcp::Tcp::HeldAcks::kSeen);
  bool more = false;
  // What is sent over an in-process port can be received at once: go round until nothing moves.
  for (uint32_t left = frames_budget;;) {
    const uint32_t received = receive_burst(now, std::min(left, kBurst));
    push_written(now);
    ip_.flush(now);
    left -= received;
    if (left == 0) {
      more = rx_ready();
      break;
    }
    if (!rx_ready()) break;
    if (clock_) now = clock_();
  }
  const bool waiting = !publish(now);
  ip_.flush(now);  // window updates for what publish() read
  offer_frames();
  return more || waiting || tcp_.has_held_acks();
}

uint32_t Stack::receive_burst(Instant now, uint32_t budget) {
  Frame* frames[kBurst];
  uint32_t total = 0;
  for (uint32_t i = 0; i < port_count_; ++i) {
    const uint32_t share = std::min(kBurst, budget - total);
    if (share == 0) break;
    const uint32_t n = ports_[i]->receive(now, {frames, share});
    ip_.input(now, uint8_t(i), {frames, n});
    total += n;
  }
  return total;
}

void Stack::push_written(Instant now) {
  while (Slot* slot = written_.pop_front()) tcp_.push(now, *slot->connection);
}

Instant Stack::next_deadline() const {
  Instant next = timers_.next_deadline();
  for (uint32_t i = 0; i < port_count_; ++i) next = std::min(next, ports_[i]->next_event());
  if (ip_.tx_backlogged()) next = std::min(next, last_turn_ + kRetryAfter);
  return next;
}

bool Stack::rx_ready() const {
  for (uint32_t i = 0; i < port_count_; ++i) {
    if (ports_[i]->rx_ready()) return true;
  }
  return false;
}

bool Stack::has_unsettled() const {
  return tcp_.unsettled_count() > 0;
}

void Stack::close_sockets(Instant now) {
  for (uint32_t i = 0; i < shared_.sizes().sockets; ++i) {
    if (Slot* slot = slots_.at(i)) release_slot(now, *slot, false);
  }
}

// --- opening

Result<wire::Endpoint> Stack::choose_local(Instant now, const wire::Endpoint& local,
                                           const wire::Endpoint& remote, PortSearch& search) {
  auto path = ip_.resolve(local.address, remote.address);
  if (!path) return path.error();
  wire::Endpoint chosen{path->local, local.port};
  if (chosen.port != 0) {
    // The program bound this port in the kernel: one exact rule for the flow.
    const Error error = director_ ? director_->take_flow({chosen, remote}) : kOk;
    if (error) return error;
    return chosen;
  }
  if (director_) {
    auto port = director_->reserve_port(now, path->interface, path->local, remote);
    if (!port) return port.error();
    chosen.port = *port;
    return chosen;
  }
  // As Linux: never a port on which somebody listens. (A connection to that very port would
  // otherwise meet itself, a simultaneous open with one end.)
  while (search.looked < kEphemeralPorts) {
    chosen.port = uint16_t(kEphemeralFirst + (search.first + search.looked++) % kEphemeralPorts);
    if (!tcp_.find_listener(chosen)) return chosen;
  }
  return Error{EADDRNOTAVAIL};
}

Result<Stack::Opened> Stack::connect(Instant now, const wire::Endpoint& local,
                                     const wire::Endpoint& remote) {
  Slot* slot = slots_.open(SlotKind::kConnection);
  if (!slot) {
    ++counters_.sockets_refused;
    return Error{ENOBUFS};
  }
  Error error{EADDRNOTAVAIL};
  // RFC 6056 3.3.1: from a random port on, the whole range. A director's ports are reserved, hence
  // free but for what still lingers.
  PortSearch search{random_.below(kEphemeralPorts)};
  const uint32_t tries_max = director_ ? kPortTries : kEphemeralPorts;
  for (uint32_t tries = 0; tries < tries_max; ++tries) {
    auto from = choose_local(now, local, remote, search);
    if (!from) {
      error = from.error();
      break;
    }
    const wire::FlowKey flow{*from, remote};
    auto connection = tcp_.connect(now, *from, remote, tcp_.defaults(), slot->index);
    if (connection) {
      slot->connection = *connection;
      ++counters_.connections_opened;
      refresh_socket_line(*slot);
      return Opened{slot->index, flow};
    }
    error = connection.error();
    if (director_) director_->gone(flow);
    // Another of our connections has this 4-tuple: try another port, if it is ours to choose.
    if (error.code != EADDRINUSE) break;
    error = Error{EADDRNOTAVAIL};
    if (local.port != 0) break;
  }
  slots_.close(slot);
  return error;
}

bool Stack::tcp_reaches(const wire::Endpoint& remote) {
  if (is_scoped(remote.address)) return false;
  // In-process port: only what one of our own listeners would answer; the rest is the kernel's.
  if (local_everywhere_) return tcp_.find_listener(remote) != nullptr;
  if (director_ && !director_->connects()) return false;
  return ip_.resolve({}, remote.address).ok() && !ip_.is_local(remote.address);
}

std::optional<tcp::Info> Stack::tcp_info(Instant now, uint32_t index) {
  take_commands(now);
  const Slot* slot = slots_.at(index);
  if (!slot || slot->kind != SlotKind::kConnection) return std::nullopt;
  return tcp_.info(*slot->connection);
}

void Stack::set_listener_congestion(uint32_t index, tcp::CongestionControl algorithm) {
  const Slot* slot = slots_.at(index);
  if (slot && slot->kind == SlotKind::kListener) {
    tcp_.set_congestion_control(*slot->listener, algorithm);
  }
}

namespace {
// One that is bound to an address of its family has nothing of the other's, IPV6_V6ONLY or not.
bool serves_both(const wire::Endpoint& local, bool dual_stack) {
  return dual_stack && !local.address.is_v4() && local.address.is_unspecified();
}
}  // namespace

Result<uint32_t> Stack::listen(Instant now, const wire::Endpoint& local, bool dual_stack,
                               uint32_t backlog) {
  dual_stack = serves_both(local, dual_stack);
  Slot* slot = slots_.open(SlotKind::kListener);
  if (!slot) {
    ++counters_.sockets_refused;
    return Error{ENOBUFS};
  }
  auto listener = tcp_.listen(local, dual_stack, backlog, tcp_.defaults(), slot->index);
  Error error = listener.ok() ? kOk : listener.error();
  if (!error && director_) {
    error = director_->take_local(now, wire::kProtocolTcp, local, dual_stack);
    if (error) tcp_.close(now, *listener);
  }
  if (error) {
    slots_.close(slot);
    return error;
  }
  slot->listener = *listener;
  slot->local = local;
  slot->dual_stack = dual_stack;
  refresh_socket_line(*slot);
  return slot->index;
}

Result<uint32_t> Stack::bind(Instant now, const wire::Endpoint& local, bool dual_stack) {
  dual_stack = serves_both(local, dual_stack);
  Slot* slot = slots_.open(SlotKind::kDatagram);
  if (!slot) {
    ++counters_.sockets_refused;
    return Error{ENOBUFS};
  }
  auto socket = udp_.bind(local, dual_stack, slot->index);
  Error error = socket.ok() ? kOk : socket.error();
  if (!error && director_) {
    error = director_->take_local(now, wire::kProtocolUdp, local, dual_stack);
    if (error) udp_.close(*socket);
  }
  if (error) {
    slots_.close(slot);
    return error;
  }
  slot->datagram = *socket;
  next_epoch();
  slot->local = local;
  slot->dual_stack = dual_stack;
  refresh_socket_line(*slot);
  return slot->index;
}

Error Stack::udp_connect(uint32_t index, const wire::Endpoint& remote) {
  return udp_.connect(*slots_.at(index)->datagram, remote);
}

void Stack::udp_disconnect(uint32_t index) {
  udp_.disconnect(*slots_.at(index)->datagram);
}

Result<udp::Group> Stack::group_of(const Membership& wanted) {
  const uint8_t interface = wanted.ifindex != 0 ? ip_.interface_index(wanted.ifindex)
                                                : ip_.group_interface(wanted.by, wanted.group);
  if (interface == net::kInterfacesMax) return Error{ENODEV};
  return udp::Group{wanted.group, wanted.source, interface};
}

Error Stack::udp_join(Instant now, uint32_t index, const Membership& wanted) {
  Slot& slot = *slots_.at(index);
  const auto group = group_of(wanted);
  if (!group.ok()) return group.error();
  const bool first = !udp_.in_group(*slot.datagram, wanted.group);
  if (const Error error = udp_.join(*slot.datagram, *group)) return error;
  if (!first || !director_) return kOk;
  const Error error =
      director_->take_local(now, wire::kProtocolUdp, {wanted.group, slot.local.port}, false);
  if (error) static_cast<void>(udp_.leave(*slot.datagram, *group));
  return error;
}

Error Stack::udp_leave(uint32_t index, const Membership& wanted) {
  Slot& slot = *slots_.at(index);
  const auto group = group_of(wanted);
  if (!group.ok()) return group.error();
  if (const Error error = udp_.leave(*slot.datagram, *group)) return error;
  if (!udp_.in_group(*slot.datagram, wanted.group)) release_group(slot, wanted.group);
  return kOk;
}

void Stack::release_group(const Slot& slot, const wire::IpAddress& group) {
  if (director_) director_->release_local(wire::kProtocolUdp, {group, slot.local.port}, false);
}

uint32_t Stack::udp_limit_bytes(uint32_t index, const wire::Endpoint& remote) {
  const Slot& slot = *slots_.at(index);
  if (remote.address.is_multicast() || remote.address.is_limited_broadcast()) return 0;
  if (is_scoped(remote.address) || !udp_.speaks(*slot.datagram, remote.address)) return 0;
  if (local_everywhere_ && !udp_.would_receive(remote, slot.local)) return 0;
  if (!local_everywhere_ && ip_.is_local(remote.address)) return 0;
  const auto path = ip_.resolve({}, remote.address);
  if (!path.ok()) return 0;
  const uint32_t headers = (remote.address.is_v4() ? 20 : 40) + 8;
  return std::min(path->mtu_bytes - headers, pool_.frame_bytes() - FramePool::kTxHeadroom);
}

void Stack::next_epoch() {
  shared_.store(header::kEpoch, shared_.load(header::kEpoch) + 1);
}

void Stack::follow_kernel(Instant now) {
  if (!director_) return;
  director_->on_readable(now);
  for (uint8_t i = 0; i < port_count_; ++i) {
    if (!ip_.is_gone(i) || told_gone_[i]) continue;
    told_gone_[i] = true;
    tcp_.interface_gone(i);
    any_ended_ = true;
  }
  next_epoch();
}

// --- closing

void Stack::release_slot(Instant now, Slot& slot, bool abort) {
  switch (slot.kind) {
    case SlotKind::kConnection:
      if (abort) {
        tcp_.abort(now, slot.connection);
      } else {
        tcp_.close(now, slot.connection);
      }
      break;
    case SlotKind::kListener:
      if (director_) director_->release_local(wire::kProtocolTcp, slot.local, slot.dual_stack);
      tcp_.close(now, slot.listener);
      break;
    case SlotKind::kDatagram:
      if (director_) director_->release_local(wire::kProtocolUdp, slot.local, slot.dual_stack);
      udp_.leave_all(*slot.datagram,
                     [&](const wire::IpAddress& group) { release_group(slot, group); });
      udp_.close(slot.datagram);
      next_epoch();
      break;
  }
  shared_.socket(slot.index)[socket_word::kGeneration] = 0;
  slots_.close(&slot);
}

void Stack::close_now(Instant now, uint32_t index) {
  take_commands(now);  // what was sent before it closed is sent
  if (Slot* slot = slots_.at(index)) release_slot(now, *slot, false);
}

// --- upcalls of the protocols: only marks

void Stack::mark(uint32_t index, uint8_t what) {
  Slot* slot = slots_.at(index);
  if (!slot) return;
  slot->pending |= what;
  if (!slot->ready_node().linked()) ready_.push_back(slot);
}

void Stack::on_connected(tcp::Connection& connection) {
  mark(tcp_.user(connection), Slot::kConnected);
}
void Stack::on_acceptable(tcp::Listener& listener) {
  mark(tcp_.user(listener), Slot::kReadable);
}
void Stack::on_readable(tcp::Connection& connection) {
  mark(tcp_.user(connection), Slot::kReadable);
}
void Stack::on_acked(tcp::Connection& connection) {
  Slot* slot = slots_.at(tcp_.user(connection));
  if (!slot) return;
  refresh_socket_line(*slot);
  wake_writer(*slot);
}
void Stack::on_error(tcp::Connection& connection, Error error) {
  Slot* slot = slots_.at(tcp_.user(connection));
  if (!slot) return;
  slot->error = error.code;
  refresh_socket_line(*slot);
  mark(slot->index, Slot::kFailed);
}
void Stack::on_freed(const wire::FlowKey& flow) {
  if (director_) director_->gone(flow);
}
void Stack::on_no_route_back(const wire::FlowKey& flow) {
  if (director_) director_->leave_to_kernel(last_turn_, flow);
}
bool Stack::is_kernels(const wire::FlowKey& flow) {
  return director_ && director_->is_kernels(flow);
}
void Stack::on_readable(udp::Socket& socket) {
  mark(udp_.user(socket), Slot::kReadable);
}
void Stack::on_error(udp::Socket& socket, Error error) {
  Slot* slot = slots_.at(udp_.user(socket));
  if (!slot) return;
  slot->error = error.code;
  mark(slot->index, Slot::kFailed);
}

}  // namespace millrace
