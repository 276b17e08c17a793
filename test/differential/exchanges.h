// SPDX-License-Identifier: MIT
// One exchange: a host is brought to a place by honest packets, then one packet comes, and what the
// host sends in the next 300 ms and tells its user is written down. All of them are the product of
// places and packets, for IPv4 and IPv6.
#pragma once

#include <sys/socket.h>

#include "differential/probe.h"
#include "testing/millrace_testing.h"

namespace millrace::differential {

class Exchange {
 public:
  Exchange(mrt_stack* stack, uint16_t number, Place place, const Probe& probe, bool v6);
  ~Exchange();
  // What was sent, in the words of the line that is printed.
  std::string run();

 private:
  struct SocketAddress {
    sockaddr_storage storage{};
    socklen_t length = 0;
    const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  };
  SocketAddress socket_address(const scripts::Address& address, uint16_t port) const;
  int open_socket(int type);
  void open();
  void open_datagram();
  void connect();
  void listen();
  void established();
  void closing();
  void send(uint8_t flags, uint32_t length = 0);
  void put(uint32_t seq, uint32_t ack, uint8_t flags, uint32_t length, bool timestamps,
           int ts_offset = 0, const Probe* extra = nullptr);
  void put_datagram();
  void put_error();
  void put_segment();
  uint32_t unacknowledged() const;
  void probe();
  void collect(int64_t ns);
  std::string describe(const scripts::View& view, int64_t at_ns) const;
  std::string describe_socket();

  mrt_stack* const stack_;
  const bool v6_;
  const scripts::Address host_, peer_;
  const uint16_t host_port_, peer_port_;
  const Place place_;
  const Probe& probe_;
  int listener_ = -1, fd_ = -1;
  uint32_t peer_next_ = 0, peer_isn_ = 0;
  uint32_t host_isn_ = 0, host_next_ = 0;
  bool host_known_ = false;
  uint32_t ts_echo_ = 0;
  int64_t probed_at_ = 0;
  std::string trace_;
};

}  // namespace millrace::differential
