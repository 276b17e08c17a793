// SPDX-License-Identifier: MIT
// UDP (RFC 768, RFC 1122 4.1): sockets, demultiplexing, bounded receive queues.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "net/ip_layer.h"
#include "udp/counters.h"
#include "wire/ip_address.h"

namespace millrace::udp {

class Socket;

// Upcalls. They only note what is to be done; they never call back into Udp.
class Handler {
 public:
  virtual ~Handler() = default;
  virtual void on_readable(Socket& socket) = 0;
  // An asynchronous error (ICMP) of a connected socket: ECONNREFUSED and the like.
  virtual void on_error(Socket& socket, Error error) = 0;
};

struct Options {
  uint32_t sockets_max = 4096;
  uint32_t receive_buffer_bytes = 212992;  // Linux's rmem_default; charged by frame size
};

struct Datagram {
  Frame* frame = nullptr;  // begins with the payload; the caller releases it
  wire::Endpoint from;
  wire::IpAddress to;
};

class Udp final : public net::TransportHandler {
 public:
  Udp(FramePool& pool, net::IpLayer& ip, Handler& handler, const Options& options);
  ~Udp() override;

  // Binds to `local` (address may be unspecified: any of its family; `dual_stack` lets :: take IPv4 too). `user` is the
  // caller's number for the socket. EADDRINUSE, ENFILE past sockets_max. Port 0 is refused with EINVAL: the
  // port is chosen by the kernel twin.
  Result<Socket*> bind(const wire::Endpoint& local, bool dual_stack, uint32_t user);
  void close(Socket* socket);
  // A connected socket receives from `remote` only and hears of ICMP errors.
  Error connect(Socket& socket, const wire::Endpoint& remote);
  void disconnect(Socket& socket);
  // Sends the frame's bytes as one datagram; takes over the reference. EMSGSIZE past the path's MTU (a larger
  // datagram is fragmented by the kernel, through the twin), ENETUNREACH, EHOSTUNREACH, ENOBUFS.
  Error send(Instant now, Socket& socket, Frame* frame, const wire::Endpoint& to);
  // The oldest received datagram; frame is null when there is none.
  Datagram receive(Socket& socket);
  bool readable(const Socket& socket) const;
  uint32_t user(const Socket& socket) const;
  void set_ttl(Socket& socket, uint8_t ttl);
  void set_receive_buffer(Socket& socket, uint32_t bytes);
  // True when a socket here would take a datagram from `from` to `to` (the loopback port's question).
  bool would_receive(const wire::Endpoint& to, const wire::Endpoint& from) const;
  // Releases everything.
  void close_all();

  void receive(Instant now, Frame* frame, const net::IpMeta& meta) override;
  void icmp_error(Instant now, const net::IcmpError& error) override;
  const Counters& counters() const { return counters_; }

 private:
  Counters counters_;
};

}  // namespace millrace::udp
