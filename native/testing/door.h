// SPDX-License-Identifier: MIT
// One stack behind the C interface of millrace_testing.h: pool, timers, Internet layer, TCP, UDP
// and a table of sockets with POSIX meanings. Calls return 0 or a count, or minus an errno; the C
// functions turn that into -1 and errno. What is here is for tests: memory is allocated as needed.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <map>
#include <memory>
#include <string_view>
#include <vector>

#include "net/ip_layer.h"
#include "tcp/connection.h"
#include "tcp/tcp.h"
#include "testing/address.h"
#include "testing/millrace_testing.h"
#include "testing/wire_port.h"
#include "udp/udp.h"

namespace millrace::testing {

enum class Phase : uint8_t { kNew, kListening, kConnecting, kConnected };

struct Linger {
  bool on = false;
  int seconds = 0;
};

struct Socket {
  int fd = -1;
  int family = AF_INET;
  bool stream = true;
  bool nonblocking = false;
  bool bound = false;      // has a port
  bool reuse = false;      // SO_REUSEADDR
  bool v6only = false;     // IPV6_V6ONLY
  bool broadcast = false;  // SO_BROADCAST
  bool read_shut = false;
  bool write_shut = false;
  bool unconfirmed = false;  // connected, but no connect() has said so yet
  Phase phase = Phase::kNew;
  int error = 0;  // SO_ERROR
  Linger linger;
  Duration receive_timeout{};  // 0: none
  Duration send_timeout{};
  int receive_low_water = 1;               // SO_RCVLOWAT
  uint32_t unsent_low_water = UINT32_MAX;  // TCP_NOTSENT_LOWAT
  bool tell_queue = false;                 // TCP_INQ
  uint64_t written = 0;                    // bytes given to Tcp::write()
  wire::Endpoint local;
  wire::Endpoint remote;
  tcp::ConnectionOptions options;
  bool keepalive = false;
  tcp::Connection* connection = nullptr;
  tcp::Listener* listener = nullptr;
  udp::Socket* datagrams = nullptr;

  bool dual_stack() const { return family == AF_INET6 && !v6only; }
};

class Door final : public tcp::Handler, public udp::Handler, public net::NeighborResolver {
 public:
  Door(const mrt_options& options, mrt_stack* handle);
  ~Door() override;
  // The number of frames that leaked. Nothing may be called afterwards.
  uint32_t close_all();

  // --- network: door.cc
  int address_change(const char* text, bool present);
  int route_change(const char* prefix, const char* gateway, uint32_t mtu_bytes, bool present);
  int link_set(uint32_t mtu_bytes, bool up);
  int neighbor_set(const char* address, bool answers);
  void resolve(uint32_t ifindex, const wire::IpAddress& address) override;
  int packet_in(std::span<const uint8_t> packet);
  size_t packet_out(std::span<uint8_t> buffer, int64_t* time_ns);
  size_t packets_waiting() const { return port_.waiting(); }

  // --- time: door.cc
  Instant now() const { return now_; }
  int advance(Instant to);
  void advance_until_event(Instant to);
  Instant next_timer() const;

  // --- life of sockets: open.cc
  int socket(int domain, int type, int protocol);
  int bind(int fd, const sockaddr* address, socklen_t length);
  int listen(int fd, int backlog);
  int accept(int fd, sockaddr* address, socklen_t* length, int flags);
  int connect(int fd, const sockaddr* address, socklen_t length);
  int name(int fd, bool peer, sockaddr* address, socklen_t* length);
  int shutdown(int fd, int how);
  int close(int fd);

  // --- data: transfer.cc
  ssize_t send(int fd, std::span<const iovec> parts, int flags, const sockaddr* to,
               socklen_t to_length);
  ssize_t receive(int fd, std::span<const iovec> parts, int& flags, sockaddr* from,
                  socklen_t* from_length);

  // --- options: socket_options.cc, tcp_options.cc
  int get_option(int fd, int level, int name, void* value, socklen_t* length);
  int set_option(int fd, int level, int name, const void* value, socklen_t length);
  int control(int fd, int command, int argument);
  int io_control(int fd, unsigned long request, int* value);
  // For TCP_INQ: what is left to read, or -1 when the socket was not asked to say so.
  int queue_hint(int fd) const;
  int set_default(std::string_view name, const char* value);

  // --- readiness: poll.cc
  int poll(std::span<pollfd> fds, int timeout_ms);

  void on_connected(tcp::Connection& connection) override;
  void on_acceptable(tcp::Listener&) override { ++activity_; }
  void on_readable(tcp::Connection&) override { ++activity_; }
  void on_acked(tcp::Connection&) override { ++activity_; }
  void on_error(tcp::Connection& connection, Error error) override;
  void on_freed(const wire::FlowKey& flow) override { flows_.erase(flow); }
  void on_readable(udp::Socket&) override { ++activity_; }
  void on_error(udp::Socket& socket, Error error) override;

 private:
  static constexpr int kFirstFd = 3;
  static constexpr uint32_t kSocketsMax = 65536;

  Socket* find(int fd) const;
  Socket* of(const tcp::Connection& connection) const;
  Socket& create(int family, bool stream);
  void settle();
  // Repeats `attempt(Socket&)` until it returns something else than -EAGAIN, and waits between.
  template <typename Attempt>
  ssize_t wait_for(int fd, bool nonblocking, Duration timeout, Attempt attempt);

  // open.cc
  bool port_taken(const Socket& socket, const wire::Endpoint& local) const;
  int choose_port(Socket& socket);
  int open_datagrams(Socket& socket);
  int connect_stream(Socket& socket, const wire::Endpoint& remote);
  int start_connection(Socket& socket, const wire::Endpoint& remote);
  int connect_datagram(Socket& socket, const wire::Endpoint& remote);
  int connection_result(Socket& socket);
  int dissolve(Socket& socket);
  int accept_one(Socket& listening, Socket*& accepted);
  void linger(Socket& socket);

  // transfer.cc
  ssize_t send_stream(Socket& socket, std::span<const iovec> parts, size_t& done, int flags);
  bool write_piece(Socket& socket, const uint8_t* data, size_t length, size_t& taken);
  ssize_t send_datagram(Socket& socket, std::span<const iovec> parts, const sockaddr* to,
                        socklen_t to_length);
  ssize_t receive_stream(Socket& socket, std::span<const iovec> parts, size_t& done, int flags);
  size_t take_stream(Socket& socket, std::span<const iovec> parts, size_t done, int flags);
  ssize_t receive_datagram(Socket& socket, std::span<const iovec> parts, int& flags, sockaddr* from,
                           socklen_t* from_length);
  bool is_broadcast(const wire::IpAddress& address) const;
  size_t room(const Socket& socket) const;

  // options
  int get_socket_level(Socket& socket, int name, void* value, socklen_t* length);
  int set_socket_level(Socket& socket, int name, const void* value, socklen_t length);
  int get_tcp_level(Socket& socket, int name, void* value, socklen_t* length);
  int set_tcp_level(Socket& socket, int name, const void* value, socklen_t length);
  int get_ip_level(Socket& socket, int level, int name, void* value, socklen_t* length);
  int set_ip_level(Socket& socket, int level, int name, const void* value, socklen_t length);
  int get_tcp_info(const Socket& socket, void* value, socklen_t* length) const;
  void apply(Socket& socket, tcp::Option option, uint32_t value);
  int set_tcp_flag(Socket& socket, int name, int number);
  int set_tcp_time(Socket& socket, int name, int number);

  // poll.cc
  short readiness(const Socket& socket) const;

  mrt_options options_;
  tcp::ConnectionOptions defaults_;         // of new sockets
  uint32_t unsent_low_water_ = UINT32_MAX;  // likewise
  mrt_stack* handle_;
  Instant now_;
  uint64_t activity_ = 0;  // grows when a waiting call may go on
  Random random_;
  FramePool pool_;
  TimerWheel timers_;
  WirePort port_;
  net::LinkConfig link_;
  std::unique_ptr<net::IpLayer> ip_;
  std::unique_ptr<tcp::Tcp> tcp_;
  std::unique_ptr<udp::Udp> udp_;
  std::vector<Prefix> addresses_;
  std::vector<net::Route> routes_;
  std::vector<wire::IpAddress> silent_;           // neighbours that do not answer
  std::vector<wire::IpAddress> resolving_;        // asked for, to be answered by settle()
  std::vector<std::unique_ptr<Socket>> sockets_;  // by fd - kFirstFd
  std::map<wire::FlowKey, bool> flows_;           // alive in TCP; whether with SO_REUSEADDR
};

template <typename Attempt>
ssize_t Door::wait_for(int fd, bool nonblocking, Duration timeout, Attempt attempt) {
  const Instant deadline = timeout.ns > 0 ? now_ + timeout : Instant::never();
  const Socket* first = find(fd);
  while (true) {
    Socket* socket = find(fd);
    if (!socket || socket != first) return -EBADF;  // closed by somebody while we waited
    const ssize_t result = attempt(*socket);
    settle();
    if (result != -EAGAIN || nonblocking || now_ >= deadline) return result;
    if (!options_.wait) return -EDEADLK;
    if (options_.wait(options_.wait_context, handle_, deadline.ns) != 0) return -EINTR;
  }
}

}  // namespace millrace::testing
