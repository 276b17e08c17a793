// SPDX-License-Identifier: MIT
// The life of sockets: socket, bind, listen, accept, connect, shutdown, close. The errors and their
// order are those of Linux (net/ipv4/af_inet.c and tcp.c as seen from outside).
#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "testing/door.h"

namespace millrace::testing {

using tcp::State;
using wire::Endpoint;
using wire::IpAddress;

namespace {

constexpr uint16_t kEphemeralFirst = 32768;  // Linux's ip_local_port_range
constexpr uint32_t kEphemeralCount = 60999 - 32768 + 1;
constexpr int kBacklogMax = 4096;  // somaxconn

bool overlap(const IpAddress& a, bool a_dual, const IpAddress& b, bool b_dual) {
  if (a == b) return true;
  const bool same_family = a.is_v4() == b.is_v4();
  if (a.is_unspecified()) return same_family || a_dual || (b.is_unspecified() && b_dual);
  if (b.is_unspecified()) return same_family || b_dual;
  return false;
}

// States in which a closed socket still has something to get through.
bool closing(State state) {
  return state == State::kFinWait1 || state == State::kClosing || state == State::kLastAck;
}

}  // namespace

Socket& Door::create(int family, bool stream) {
  size_t index = 0;
  while (index < sockets_.size() && sockets_[index]) ++index;
  if (index == sockets_.size()) sockets_.emplace_back();
  sockets_[index] = std::make_unique<Socket>();
  Socket& s = *sockets_[index];
  s.fd = int(index) + kFirstFd;
  s.family = family;
  s.stream = stream;
  s.options = defaults_;
  s.unsent_low_water = unsent_low_water_;
  s.options.keepalive = false;  // Linux's default, whatever the stack's own
  return s;
}

int Door::socket(int domain, int type, int protocol) {
  const int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (domain != AF_INET && domain != AF_INET6) return -EAFNOSUPPORT;
  if (kind != SOCK_STREAM && kind != SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  const bool stream = kind == SOCK_STREAM;
  if (protocol != 0 && protocol != (stream ? IPPROTO_TCP : IPPROTO_UDP)) return -EPROTONOSUPPORT;
  if (sockets_.size() >= kSocketsMax) return -EMFILE;
  Socket& s = create(domain, stream);
  s.local.address = any_of(domain);
  s.nonblocking = (type & SOCK_NONBLOCK) != 0;
  return s.fd;
}

bool Door::port_taken(const Socket& self, const Endpoint& local) const {
  for (const auto& other : sockets_) {
    if (!other || other.get() == &self || !other->bound || other->stream != self.stream) continue;
    if (other->local.port != local.port) continue;
    if (!overlap(local.address, self.dual_stack(), other->local.address, other->dual_stack()))
      continue;
    if (!(self.reuse && other->reuse) || other->phase == Phase::kListening) return true;
  }
  if (!self.stream) return false;
  // Connections whose socket is closed: orphans and TIME-WAIT.
  return std::any_of(flows_.begin(), flows_.end(), [&](const auto& entry) {
    const auto& [flow, reuse] = entry;
    return flow.local.port == local.port && !(self.reuse && reuse) &&
           overlap(local.address, self.dual_stack(), flow.local.address, false);
  });
}

// A free port for socket.local, which has none. RFC 6056: not to be guessed.
int Door::choose_port(Socket& s) {
  const uint32_t start = random_.below(kEphemeralCount);
  for (uint32_t i = 0; i < kEphemeralCount; ++i) {
    const uint16_t port = uint16_t(kEphemeralFirst + (start + i) % kEphemeralCount);
    if (port_taken(s, {s.local.address, port})) continue;
    s.local.port = port;
    return 0;
  }
  return -EADDRINUSE;
}

int Door::bind(int fd, const sockaddr* address, socklen_t length) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  Result<Endpoint> local = from_sockaddr(s->family, address, length);
  if (!local) return -local.error().code;
  if (s->bound || s->phase != Phase::kNew) return -EINVAL;
  if (!local->address.is_unspecified() && !ip_->is_local(local->address)) return -EADDRNOTAVAIL;
  const Endpoint before = s->local;
  s->local = *local;
  int error = 0;
  if (local->port == 0) {
    error = choose_port(*s);
  } else if (port_taken(*s, *local)) {
    error = -EADDRINUSE;
  }
  if (error == 0 && !s->stream) error = open_datagrams(*s);
  if (error != 0) {
    s->local = before;
    return error;
  }
  s->bound = true;
  return 0;
}

int Door::open_datagrams(Socket& s) {
  Result<udp::Socket*> opened = udp_->bind(s.local, s.dual_stack(), uint32_t(s.fd));
  if (!opened) return -opened.error().code;
  s.datagrams = *opened;
  udp_->set_ttl(*s.datagrams, s.options.ttl);
  if (s.options.receive_buffer_bytes) {
    udp_->set_receive_buffer(*s.datagrams, 2 * s.options.receive_buffer_bytes);
  }
  return 0;
}

int Door::listen(int fd, int backlog) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  if (!s->stream) return -EOPNOTSUPP;
  // As an unsigned number, so a negative backlog is the largest.
  const uint32_t limit = std::min<uint32_t>(uint32_t(backlog), kBacklogMax);
  if (s->phase == Phase::kListening) {
    tcp_->set_backlog(*s->listener, limit);
    return 0;
  }
  if (s->phase != Phase::kNew) return -EINVAL;
  if (!s->bound) {
    if (const int error = choose_port(*s)) return error;
  }
  Result<tcp::Listener*> opened =
      tcp_->listen(s->local, s->dual_stack(), limit, s->options, uint32_t(fd));
  if (!opened) return -opened.error().code;
  s->bound = true;
  s->listener = *opened;
  s->phase = Phase::kListening;
  return 0;
}

int Door::accept_one(Socket& listening, Socket*& accepted) {
  if (listening.phase != Phase::kListening) return -EINVAL;
  if (listening.listener->ready == 0) return -EAGAIN;
  if (sockets_.size() >= kSocketsMax) return -EMFILE;
  Socket& s = create(listening.family, true);
  s.connection = tcp_->accept(*listening.listener, uint32_t(s.fd));
  s.phase = Phase::kConnected;
  s.options = listening.options;
  s.linger = listening.linger;
  s.reuse = listening.reuse;
  s.receive_timeout = listening.receive_timeout;
  s.receive_low_water = listening.receive_low_water;
  s.unsent_low_water = listening.unsent_low_water;
  s.tell_queue = listening.tell_queue;
  s.send_timeout = listening.send_timeout;
  const wire::FlowKey flow = tcp_->flow(*s.connection);
  s.local = flow.local;
  s.remote = flow.remote;
  s.error = tcp_->error(*s.connection).code;  // reset while it waited
  if (s.connection->state != State::kClosed) flows_[flow] = s.reuse;
  accepted = &s;
  return 0;
}

int Door::accept(int fd, sockaddr* address, socklen_t* length, int flags) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  if (!s->stream) return -EOPNOTSUPP;
  if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) return -EINVAL;
  Socket* accepted = nullptr;
  const ssize_t error = wait_for(fd, s->nonblocking, s->receive_timeout, [&](Socket& listening) {
    return accept_one(listening, accepted);
  });
  if (error) return int(error);
  accepted->nonblocking = (flags & SOCK_NONBLOCK) != 0;
  to_sockaddr(accepted->family, accepted->remote, address, length);
  return accepted->fd;
}

int Door::connect(int fd, const sockaddr* address, socklen_t length) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  if (!address) return -EFAULT;
  if (length < sizeof(sa_family_t)) return -EINVAL;
  if (address->sa_family == AF_UNSPEC) return dissolve(*s);
  Result<Endpoint> remote = from_sockaddr(s->family, address, length);
  if (!remote) return -remote.error().code;
  const int result = s->stream ? connect_stream(*s, *remote) : connect_datagram(*s, *remote);
  settle();
  return result;
}

int Door::connect_datagram(Socket& s, const Endpoint& remote) {
  if (is_broadcast(remote.address) && !s.broadcast) return -EACCES;
  if (!s.datagrams) {
    if (const int error = choose_port(s)) return error;
    if (const int error = open_datagrams(s)) return error;
    s.bound = true;
  }
  if (const Error error = udp_->connect(*s.datagrams, remote)) return -error.code;
  s.phase = Phase::kConnected;
  s.remote = remote;
  return 0;
}

int Door::connect_stream(Socket& s, const Endpoint& remote) {
  const int fd = s.fd;
  switch (s.phase) {
    case Phase::kListening:
      return -EISCONN;
    case Phase::kConnected:
      return std::exchange(s.unconfirmed, false) ? 0 : -EISCONN;
    case Phase::kConnecting:
      if (s.nonblocking) {
        const int result = connection_result(s);
        return result == -EAGAIN ? -EALREADY : result;
      }
      break;
    case Phase::kNew: {
      if (const int error = start_connection(s, remote)) return error;
      break;
    }
  }
  settle();
  const ssize_t result = wait_for(fd, s.nonblocking, s.send_timeout,
                                  [&](Socket& now) { return connection_result(now); });
  return result == -EAGAIN ? -EINPROGRESS : int(result);
}

int Door::start_connection(Socket& s, const Endpoint& remote) {
  if (s.v6only && remote.address.is_v4()) return -ENETUNREACH;
  const bool port_given = s.local.port != 0;
  const uint32_t start = random_.below(kEphemeralCount);
  for (uint32_t i = 0; i < kEphemeralCount; ++i) {
    Endpoint local = s.local;
    if (!port_given) local.port = uint16_t(kEphemeralFirst + (start + i) % kEphemeralCount);
    Result<tcp::Connection*> opened = tcp_->connect(now_, local, remote, s.options, uint32_t(s.fd));
    if (!opened) {
      if (opened.error().code != EADDRINUSE) return -opened.error().code;
      if (port_given) return -EADDRNOTAVAIL;  // as Linux: the 4-tuple is alive
      continue;
    }
    s.connection = *opened;
    s.phase = Phase::kConnecting;
    s.unconfirmed = true;
    s.error = 0;
    s.written = 0;
    s.read_shut = s.write_shut = false;
    s.remote = remote;
    const wire::FlowKey flow = tcp_->flow(*s.connection);
    s.local = flow.local;
    s.bound = true;
    flows_[flow] = s.reuse;
    return 0;
  }
  return -EADDRNOTAVAIL;
}

// 0: connected; -EAGAIN: not yet; otherwise why not, and the socket may try again.
int Door::connection_result(Socket& s) {
  if (s.phase == Phase::kConnected) {
    s.unconfirmed = false;
    return 0;
  }
  if (s.phase != Phase::kConnecting) return -ECONNABORTED;
  if (s.connection->state != State::kClosed) return -EAGAIN;
  tcp_->close(now_, s.connection);
  s.connection = nullptr;
  s.phase = Phase::kNew;
  const int error = s.error ? s.error : ECONNABORTED;
  s.error = 0;
  return -error;
}

// connect() to nobody.
int Door::dissolve(Socket& s) {
  if (!s.stream) {
    if (s.datagrams) udp_->disconnect(*s.datagrams);
    s.phase = Phase::kNew;
    s.remote = {};
    return 0;
  }
  if (s.listener) tcp_->close(now_, s.listener);
  if (s.connection) tcp_->abort(now_, s.connection);
  s.listener = nullptr;
  s.connection = nullptr;
  s.phase = Phase::kNew;
  s.remote = {};
  s.error = 0;
  settle();
  return 0;
}

int Door::name(int fd, bool peer, sockaddr* address, socklen_t* length) {
  const Socket* s = find(fd);
  if (!s) return -EBADF;
  if (!address || !length) return -EFAULT;
  if (!peer) {
    to_sockaddr(s->family, s->local, address, length);
    return 0;
  }
  const bool dead = s->connection && s->connection->state == State::kClosed;
  if (s->phase != Phase::kConnected || dead) return -ENOTCONN;
  to_sockaddr(s->family, s->remote, address, length);
  return 0;
}

int Door::shutdown(int fd, int how) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  const bool reading = how != SHUT_WR;
  const bool writing = how != SHUT_RD;
  if (s->phase == Phase::kNew) return -ENOTCONN;
  ++activity_;
  if (s->phase == Phase::kListening) {
    if (reading) (void)dissolve(*s);
    return 0;
  }
  if (s->stream && s->phase == Phase::kConnecting) return dissolve(*s);
  const bool dead = s->stream && s->connection->state == State::kClosed;
  if (reading) s->read_shut = true;
  if (reading && s->stream && !dead) apply(*s, tcp::Option::kReadShut, 1);
  if (writing && !s->write_shut) {
    s->write_shut = true;
    if (s->stream && !dead) {
      tcp_->push(now_, *s->connection);
      tcp_->shutdown_write(now_, *s->connection);
    }
  }
  settle();
  return dead ? -ENOTCONN : 0;
}

// SO_LINGER with a time: FIN first, then wait for the peer to have everything.
void Door::linger(Socket& s) {
  tcp_->shutdown_write(now_, *s.connection);
  const Instant deadline = now_ + Duration::seconds(s.linger.seconds);
  while (closing(s.connection->state) && now_ < deadline && options_.wait) {
    settle();
    if (options_.wait(options_.wait_context, handle_, deadline.ns) != 0) return;
  }
}

int Door::close(int fd) {
  if (!find(fd)) return -EBADF;
  // From now on the descriptor is nobody's, even while we linger.
  const std::unique_ptr<Socket> s = std::move(sockets_[size_t(fd) - kFirstFd]);
  ++activity_;
  if (s->listener) tcp_->close(now_, s->listener);
  if (s->datagrams) udp_->close(s->datagrams);
  if (s->connection) {
    if (s->linger.on && s->linger.seconds == 0) {
      tcp_->abort(now_, s->connection);
    } else {
      tcp_->push(now_, *s->connection);
      if (s->linger.on && tcp_->readable_bytes(*s->connection) == 0) linger(*s);
      tcp_->close(now_, s->connection);
    }
  }
  settle();
  return 0;
}

}  // namespace millrace::testing
