// SPDX-License-Identifier: MIT
// Options of the socket and of the Internet layer, with Linux's bounds (net/core/sock.c as seen
// from outside), and fcntl().
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/time.h>

#include "testing/door.h"
#include "testing/option_value.h"

namespace millrace::testing {

namespace {

constexpr int kBufferMax = 212992;  // Linux's rmem_max and wmem_max
constexpr int kReceiveBufferMin = 1152;
constexpr int kSendBufferMin = 2304;  // after the doubling 4608

int take_timeout(Duration& target, const void* value, socklen_t length) {
  timeval time;
  if (const int error = take(time, value, length)) return error;
  if (time.tv_usec < 0 || time.tv_usec >= 1'000'000) return -EDOM;
  target = time.tv_sec < 0 ? Duration{}
                           : Duration::seconds(time.tv_sec) + Duration::micros(time.tv_usec);
  return 0;
}

timeval to_timeval(Duration d) {
  return {d.ns / 1'000'000'000, d.micros() % 1'000'000};
}

}  // namespace

void Door::apply(Socket& s, tcp::Option option, uint32_t value) {
  if (s.connection) tcp_->set_option(now_, *s.connection, option, value);
  if (s.listener) s.listener->options = s.options;
}

int Door::get_option(int fd, int level, int name, void* value, socklen_t* length) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  if (level == SOL_SOCKET) return get_socket_level(*s, name, value, length);
  if (level == IPPROTO_TCP && s->stream) return get_tcp_level(*s, name, value, length);
  if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
    return get_ip_level(*s, level, name, value, length);
  }
  return -ENOPROTOOPT;
}

int Door::set_option(int fd, int level, int name, const void* value, socklen_t length) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  int result = -ENOPROTOOPT;
  if (level == SOL_SOCKET) {
    result = set_socket_level(*s, name, value, length);
  } else if (level == IPPROTO_TCP && s->stream) {
    result = set_tcp_level(*s, name, value, length);
  } else if (level == IPPROTO_IP || level == IPPROTO_IPV6) {
    result = set_ip_level(*s, level, name, value, length);
  }
  settle();
  return result;
}

int Door::get_socket_level(Socket& s, int name, void* value, socklen_t* length) {
  switch (name) {
    case SO_ERROR: {
      // Like Linux's: what ICMP told a connection that goes on, where nothing worse has happened.
      tcp::Connection* c = s.connection;
      const int soft = s.error == 0 && c ? c->soft_error : 0;
      const int result = give(soft ? soft : s.error, value, length);
      if (result == 0) s.error = 0;
      if (result == 0 && soft) c->soft_error = 0;
      return result;
    }
    case SO_TYPE:
      return give(int(s.stream ? SOCK_STREAM : SOCK_DGRAM), value, length);
    case SO_DOMAIN:
      return give(s.family, value, length);
    case SO_PROTOCOL:
      return give(int(s.stream ? IPPROTO_TCP : IPPROTO_UDP), value, length);
    case SO_ACCEPTCONN:
      return give(int(s.phase == Phase::kListening), value, length);
    case SO_REUSEADDR:
      return give(int(s.reuse), value, length);
    case SO_KEEPALIVE:
      return give(int(s.stream ? s.options.keepalive : s.keepalive), value, length);
    case SO_BROADCAST:
      return give(int(s.broadcast), value, length);
    case SO_LINGER:
      return give(::linger{s.linger.on, s.linger.seconds}, value, length);
    case SO_RCVTIMEO:
      return give(to_timeval(s.receive_timeout), value, length);
    case SO_SNDTIMEO:
      return give(to_timeval(s.send_timeout), value, length);
    case SO_RCVLOWAT:
      return give(s.receive_low_water, value, length);
    case SO_SNDLOWAT:
      return give(1, value, length);
    case SO_OOBINLINE:
      return give(int(s.stream), value, length);  // urgent data never leaves the stream
    case SO_RCVBUF: {
      const uint32_t now = s.connection ? s.connection->rcv.buffer_bytes : kBufferMax / 2;
      const uint32_t fixed = s.options.receive_buffer_bytes;
      return give(int(2 * (fixed ? fixed : now)), value, length);
    }
    case SO_SNDBUF: {
      const uint32_t now = s.connection ? tcp_->send_buffer_bytes(*s.connection) : kBufferMax / 2;
      const uint32_t fixed = s.options.send_buffer_bytes;
      return give(int(fixed ? fixed : 2 * now), value, length);
    }
    default:
      return -ENOPROTOOPT;
  }
}

int Door::set_socket_level(Socket& s, int name, const void* value, socklen_t length) {
  if (name == SO_RCVTIMEO) return take_timeout(s.receive_timeout, value, length);
  if (name == SO_SNDTIMEO) return take_timeout(s.send_timeout, value, length);
  if (name == SO_LINGER) {
    ::linger l;
    if (const int error = take(l, value, length)) return error;
    s.linger = {l.l_onoff != 0, l.l_linger};
    return 0;
  }
  int number = 0;
  if (const int error = take(number, value, length)) return error;
  switch (name) {
    case SO_REUSEADDR:
      s.reuse = number != 0;
      return 0;
    case SO_BROADCAST:
      s.broadcast = number != 0;
      return 0;
    case SO_KEEPALIVE:
      s.keepalive = s.options.keepalive = number != 0;
      if (s.stream) apply(s, tcp::Option::kKeepalive, s.keepalive);
      return 0;
    case SO_RCVLOWAT:
      s.receive_low_water = number < 0 ? INT32_MAX : std::max(number, 1);
      return 0;
    case SO_OOBINLINE:
      return 0;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
      // Unsigned comparison, as Linux: a negative number asks for the largest.
      if (name == SO_RCVBUF) number = int(std::min<uint32_t>(uint32_t(number), kBufferMax));
      s.options.receive_buffer_bytes = uint32_t(std::max(number, kReceiveBufferMin));
      if (s.stream) apply(s, tcp::Option::kReceiveBuffer, s.options.receive_buffer_bytes);
      if (s.datagrams) udp_->set_receive_buffer(*s.datagrams, 2 * s.options.receive_buffer_bytes);
      return 0;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
      if (name == SO_SNDBUF) number = int(std::min<uint32_t>(uint32_t(number), kBufferMax));
      // Linux doubles it for its overhead, but little of that is spent on data to be sent.
      s.options.send_buffer_bytes =
          uint32_t(std::max(2 * std::min(number, INT32_MAX / 2), 2 * kSendBufferMin));
      if (s.stream) apply(s, tcp::Option::kSendBuffer, s.options.send_buffer_bytes);
      return 0;
    default:
      return -ENOPROTOOPT;
  }
}

int Door::get_ip_level(Socket& s, int level, int name, void* value, socklen_t* length) {
  const bool v6 = level == IPPROTO_IPV6;
  if (v6 && s.family != AF_INET6) return -ENOPROTOOPT;
  if (v6 && name == IPV6_V6ONLY) return give(int(s.v6only), value, length);
  if (name == (v6 ? IPV6_MTU : IP_MTU)) {
    if (!s.connection) return -ENOTCONN;
    return give(int(s.connection->path.mtu_bytes), value, length);
  }
  if (name == (v6 ? IPV6_UNICAST_HOPS : IP_TTL)) return give(int(s.options.ttl), value, length);
  if (s.stream && name == (v6 ? IPV6_TCLASS : IP_TOS)) {
    return give(int(s.options.traffic_class), value, length);
  }
  return -ENOPROTOOPT;
}

int Door::set_ip_level(Socket& s, int level, int name, const void* value, socklen_t length) {
  const bool v6 = level == IPPROTO_IPV6;
  if (v6 && s.family != AF_INET6) return -ENOPROTOOPT;
  int number = 0;
  if (const int error = take(number, value, length)) return error;
  if (v6 && name == IPV6_V6ONLY) {
    if (s.bound) return -EINVAL;
    s.v6only = number != 0;
    return 0;
  }
  if (name == (v6 ? IPV6_UNICAST_HOPS : IP_TTL)) {
    if (number == -1) number = 64;
    if (number < (v6 ? 0 : 1) || number > 255) return -EINVAL;
    s.options.ttl = uint8_t(number);
    if (s.connection) s.connection->ttl = s.options.ttl;
    if (s.listener) s.listener->options.ttl = s.options.ttl;
    if (s.datagrams) udp_->set_ttl(*s.datagrams, s.options.ttl);
    return 0;
  }
  if (s.stream && name == (v6 ? IPV6_TCLASS : IP_TOS)) {
    // The two lowest bits are ECN's and not the user's (Linux).
    s.options.traffic_class = uint8_t(std::max(number, 0) & 0xfc);
    apply(s, tcp::Option::kTrafficClass, s.options.traffic_class);
    return 0;
  }
  return -ENOPROTOOPT;
}

int Door::control(int fd, int command, int argument) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  if (command == F_GETFD) return 0;
  if (command == F_SETFD) return 0;
  if (command == F_GETFL) return O_RDWR | (s->nonblocking ? O_NONBLOCK : 0);
  if (command != F_SETFL) return -EINVAL;
  s->nonblocking = (argument & O_NONBLOCK) != 0;
  return 0;
}

// Linux's tcp_inq(): the FIN does not count.
int Door::io_control(int fd, unsigned long request, int* value) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  if (!value) return -EFAULT;
  if (request == FIONBIO) {
    s->nonblocking = *value != 0;
    return 0;
  }
  const bool open = s->connection && s->phase == Phase::kConnected;
  if (s->phase == Phase::kListening) return -EINVAL;
  switch (request) {
    case SIOCINQ:
      if (!s->stream) {
        const bool any = s->datagrams && udp_->readable(*s->datagrams);
        *value = any ? int(s->datagrams->queue.front()->length) : 0;
      } else {
        *value = open ? int(tcp_->readable_bytes(*s->connection)) : 0;
      }
      return 0;
    case SIOCOUTQ:
      *value = open ? int(s->connection->snd.queue.bytes) : 0;
      return 0;
    case SIOCOUTQNSD:
      if (!s->stream) return -ENOTTY;
      *value = open ? int(s->connection->snd.queue.unsent_bytes) : 0;
      return 0;
    case SIOCATMARK:
      *value = 0;
      return s->stream ? 0 : -ENOTTY;
    default:
      return -ENOTTY;
  }
}

// An end that has been reached counts as one byte, so that the user reads once more.
int Door::queue_hint(int fd) const {
  const Socket* s = find(fd);
  if (!s || !s->connection || !s->tell_queue) return -1;
  const int bytes = int(tcp_->readable_bytes(*s->connection));
  return bytes == 0 && s->connection->rcv.fin_received ? 1 : bytes;
}

}  // namespace millrace::testing
