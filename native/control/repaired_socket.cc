// SPDX-License-Identifier: MIT
#include "control/repaired_socket.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace millrace::control {
namespace {

// <linux/tcp.h> and <netinet/tcp.h> exclude each other; these are the kernel's numbers.
constexpr int kRepairOn = 1, kRepairOff = 0;
constexpr uint32_t kNoQueue = 0, kReceiveQueue = 1, kSendQueue = 2;
constexpr uint32_t kOptionMss = 2, kOptionWindow = 3, kOptionSackPermitted = 4,
                   kOptionTimestamp = 8;
constexpr int kSoBufLock = 72;       // SO_BUF_LOCK, Linux 5.14
constexpr uint32_t kMssMin = 88;     // the least that TCP_MAXSEG takes
constexpr uint32_t kMssMax = 32767;  // and the most
constexpr size_t kBufferMax = 1u << 29;
constexpr int kRefusalsMax = 3;

Error last_error() {
  return Error{errno};
}

template <typename T>
Error set(int fd, int level, int option, const T& value) {
  return setsockopt(fd, level, option, &value, sizeof value) == 0 ? kOk : last_error();
}

int get(int fd, int level, int option) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, level, option, &value, &length) == 0 ? value : 0;
}

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// An IPv4 address on an IPv6 socket is an IPv4-mapped one (RFC 4291 2.5.5.2), as IpAddress holds
// it.
Address to_sockaddr(const wire::Endpoint& endpoint, int family) {
  Address a;
  if (family == AF_INET6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&a.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(endpoint.port);
    std::memcpy(&in6->sin6_addr, endpoint.address.data(), 16);
    a.length = sizeof *in6;
  } else {
    auto* in4 = reinterpret_cast<sockaddr_in*>(&a.storage);
    in4->sin_family = AF_INET;
    in4->sin_port = htons(endpoint.port);
    std::memcpy(&in4->sin_addr, endpoint.address.data() + 12, 4);
    a.length = sizeof *in4;
  }
  return a;
}

// Into the queue that TCP_REPAIR_QUEUE names, or, after the repair, to the peer. Returns the bytes
// taken.
size_t fill(int fd, const net::Pieces& pieces, Error& error) {
  size_t total = 0;
  int refusals = 0;
  for (std::span<const uint8_t> piece : pieces) {
    while (!piece.empty()) {
      const ssize_t n = send(fd, piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) {
        total += size_t(n);
        piece = piece.subspan(size_t(n));
        refusals = 0;
        continue;
      }
      if (n < 0 && errno == EINTR) continue;
      if (++refusals < kRefusalsMax) continue;
      error = Error{n < 0 && errno != EAGAIN ? errno : ENOBUFS};
      return total;
    }
  }
  return total;
}

Error fill_queue(int fd, uint32_t queue, const net::Pieces& pieces) {
  if (Error error = set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)) return error;
  Error error;
  fill(fd, pieces, error);
  return error;
}

Error set_sequence(int fd, uint32_t queue, uint32_t seq) {
  if (Error error = set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)) return error;
  return set(fd, IPPROTO_TCP, TCP_QUEUE_SEQ, seq);
}

// The buffers take what there is, whatever the system's limits for programs: these bytes have been
// acknowledged, or the program has been told that they are written. Twice, as they are counted with
// their overhead.
Error make_room(int fd, const net::ConnectionState& s, size_t received) {
  const size_t in = received + s.receive_window_bytes;
  const size_t out = net::total_bytes(s.sent) + net::total_bytes(s.unsent);
  const auto force = [fd](int option, int read, size_t bytes) {
    const int wanted = int(std::min(2 * bytes + 65536, kBufferMax));
    if (get(fd, SOL_SOCKET, read) >= 2 * wanted) return kOk;
    return set(fd, SOL_SOCKET, option, wanted);
  };
  if (Error error = force(SO_RCVBUFFORCE, SO_RCVBUF, in)) return error;
  return force(SO_SNDBUFFORCE, SO_SNDBUF, out);
}

Error set_sequences(int fd, const net::ConnectionState& s, size_t received) {
  // Our FIN is sent again where it lies: the kernel knows of one only by shutdown(2).
  const uint32_t send_seq = s.send_una - (s.fin_acked ? 1 : 0);
  // There is no way to tell the kernel of the peer's FIN, but its place in the sequence can be
  // counted: what is below RCV.NXT is acknowledged, and shutdown(2) ends the reading.
  const uint32_t receive_seq = s.receive_next + (s.fin_received ? 1 : 0) - uint32_t(received);
  if (Error error = set_sequence(fd, kReceiveQueue, receive_seq)) return error;
  return set_sequence(fd, kSendQueue, send_seq);
}

// The size of a segment is computed by connect() and not again when TCP_REPAIR_OPTIONS tells of the
// peer's MSS: until then TCP_MAXSEG stands for it.
Error connect_silently(int fd, const net::ConnectionState& s, int family) {
  const auto mss = int(std::clamp<uint32_t>(s.peer_mss_bytes, kMssMin, kMssMax));
  if (Error error = set(fd, IPPROTO_TCP, TCP_MAXSEG, mss)) return error;
  const Address local = to_sockaddr(s.flow.local, family);
  const Address remote = to_sockaddr(s.flow.remote, family);
  if (bind(fd, local.get(), local.length) != 0) return last_error();
  if (connect(fd, remote.get(), remote.length) != 0) return last_error();
  return set(fd, IPPROTO_TCP, TCP_MAXSEG, 0);
}

Error set_options(int fd, const net::ConnectionState& s) {
  tcp_repair_opt options[4];
  uint32_t count = 0;
  options[count++] = {kOptionMss, s.peer_mss_bytes};
  if (s.window_scaling) {
    options[count++] = {kOptionWindow, uint32_t(s.receive_shift) << 16 | s.send_shift};
  }
  if (s.sack) options[count++] = {kOptionSackPermitted, 0};
  if (s.timestamps) options[count++] = {kOptionTimestamp, 0};
  if (setsockopt(fd, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, count * sizeof options[0]) != 0) {
    return last_error();
  }
  if (!s.timestamps) return kOk;
  // Never back (RFC 7323 5); an odd number would mean microseconds to Linux 6.7 and later.
  return set(fd, IPPROTO_TCP, TCP_TIMESTAMP, (s.timestamp + 1) & ~1u);
}

Error set_window(int fd, const net::ConnectionState& s) {
  tcp_repair_window window{};
  window.snd_wl1 = s.window_update_seq;
  window.snd_wnd = s.send_window_bytes;
  window.max_window = std::max(s.send_window_max_bytes, s.send_window_bytes);
  window.rcv_wnd = s.receive_window_bytes;
  window.rcv_wup = s.receive_next + (s.fin_received ? 1 : 0);
  return set(fd, IPPROTO_TCP, TCP_REPAIR_WINDOW, window);
}

// None of it can make the connection wrong: what the kernel refuses stays as it is by default.
void set_preferences(int fd, const net::ConnectionState& s, int family) {
  const auto prefer = [fd](int level, int option, int value) {
    static_cast<void>(set(fd, level, option, value));
  };
  prefer(IPPROTO_TCP, TCP_NODELAY, s.nodelay);
  prefer(SOL_SOCKET, SO_KEEPALIVE, s.keepalive);
  prefer(IPPROTO_TCP, TCP_KEEPIDLE, int(s.keepalive_idle_s));
  prefer(IPPROTO_TCP, TCP_KEEPINTVL, int(s.keepalive_interval_s));
  prefer(IPPROTO_TCP, TCP_KEEPCNT, s.keepalive_probes);
  if (s.traffic_class == 0) return;
  if (family == AF_INET6) prefer(IPPROTO_IPV6, IPV6_TCLASS, s.traffic_class);
  if (s.flow.local.address.is_v4()) prefer(IPPROTO_IP, IP_TOS, s.traffic_class);
}

// A reservation of the port, our own or that of a listener of this program, does not stand in the
// way: a socket under repair may bind to what is bound (SK_FORCE_REUSE). To everybody else the port
// stays as taken as it is.
Error repair(int fd, const net::ConnectionState& s, const net::Pieces& before, int family) {
  const size_t received = net::total_bytes(before) + net::total_bytes(s.received);
  if (Error error = set(fd, IPPROTO_TCP, TCP_REPAIR, kRepairOn)) return error;
  if (family == AF_INET6) {
    if (Error error = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0)) return error;
  }
  if (Error error = make_room(fd, s, received)) return error;
  if (Error error = set_sequences(fd, s, received)) return error;
  if (Error error = connect_silently(fd, s, family)) return error;
  if (Error error = set_options(fd, s)) return error;
  set_preferences(fd, s, family);
  if (Error error = fill_queue(fd, kReceiveQueue, before)) return error;
  if (Error error = fill_queue(fd, kReceiveQueue, s.received)) return error;
  if (Error error = fill_queue(fd, kSendQueue, s.sent)) return error;
  if (Error error = set(fd, IPPROTO_TCP, TCP_REPAIR_QUEUE, kNoQueue)) return error;
  return set_window(fd, s);
}

// The kernel sizes the buffers itself again, that for sending from where it would have begun (the
// other one holds what has come). Before Linux 5.14 there is no way back: what was given stays.
void unlock_buffers(int fd, int send_buffer_bytes) {
  if (set(fd, SOL_SOCKET, kSoBufLock, 0)) return;
  // getsockopt(2) says twice what setsockopt(2) was told.
  static_cast<void>(set(fd, SOL_SOCKET, SO_SNDBUFFORCE, send_buffer_bytes / 2));
  static_cast<void>(set(fd, SOL_SOCKET, kSoBufLock, 0));
}

}  // namespace

RepairedSocket::RepairedSocket(RepairedSocket&& other) noexcept {
  *this = std::move(other);
}

RepairedSocket& RepairedSocket::operator=(RepairedSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(send_buffer_bytes_, other.send_buffer_bytes_);
  return *this;
}

// Closed under repair it vanishes.
RepairedSocket::~RepairedSocket() {
  if (fd_ >= 0) close(fd_);
}

Result<RepairedSocket> RepairedSocket::open(const net::ConnectionState& state,
                                            const net::Pieces& before, bool wide) {
  const int family = wide || !state.flow.local.address.is_v4() ? AF_INET6 : AF_INET;
  RepairedSocket made(socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));
  if (made.fd_ < 0) return last_error();
  made.send_buffer_bytes_ = get(made.fd_, SOL_SOCKET, SO_SNDBUF);
  if (Error error = repair(made.fd_, state, before, family)) return error;
  return made;
}

RepairedSocket::Started RepairedSocket::start(const net::ConnectionState& state) {
  Started started{std::exchange(fd_, -1), 0};
  const int fd = started.fd;
  // With the end of the repair goes a window probe, whose answer tells what the peer has.
  const Error off = set(fd, IPPROTO_TCP, TCP_REPAIR, kRepairOff);
  MR_ASSERT(!off);
  // As libuv sets it for the connections of a listener: the port can be listened on again while
  // they live.
  static_cast<void>(set(fd, SOL_SOCKET, SO_REUSEADDR, 1));
  Error error;
  started.unsent_bytes = net::total_bytes(state.unsent) - fill(fd, state.unsent, error);
  if (state.fin_queued && started.unsent_bytes == 0) shutdown(fd, SHUT_WR);
  if (state.fin_received) {
    shutdown(fd, SHUT_RD);
    // Behind our FIN the kernel will wait for the one that has come already: not for long, because
    // a new connection from the same port would be reset meanwhile.
    static_cast<void>(set(fd, IPPROTO_TCP, TCP_LINGER2, 1));
  }
  unlock_buffers(fd, send_buffer_bytes_);
  return started;
}

}  // namespace millrace::control
