// SPDX-License-Identifier: MIT
// UDP applications of one host: an echo server on port 7, and clients that send numbered datagrams
// to another host's. Datagrams may be lost, late or doubled by the weather, never changed or
// invented.
#pragma once

#include <string>
#include <vector>

#include "sim/scenario.h"
#include "udp/udp.h"

namespace millrace::sim {

class Host;
class World;

class UdpEcho final : public udp::Handler {
 public:
  UdpEcho(World& world, Host& host);
  void start();
  void step(Instant now);
  Instant next_event() const;
  // Every datagram was sent. On a perfect network also: every answer is back.
  bool done() const;
  void close();
  // Datagrams whose answer the server could not send.
  uint32_t unanswered() const { return unanswered_; }
  udp::Udp& udp() { return *udp_; }

  void on_readable(udp::Socket& socket) override { readable_ = true; }
  void on_error(udp::Socket& socket, Error error) override {}

 private:
  struct Client {
    const UdpPlan* plan = nullptr;
    udp::Socket* socket = nullptr;
    uint32_t number = 0;
    uint32_t sent = 0;
    uint32_t refused = 0;  // ENOBUFS and EMSGSIZE: never on its way
    std::vector<bool> answered;
    uint32_t answers = 0;
    Instant next_at;
  };
  void serve(Instant now);
  void send_next(Instant now, Client& client);
  void receive_answers(Client& client);
  uint32_t length_of(const Client& client, uint32_t datagram) const;

  World& world_;
  Host& host_;
  std::unique_ptr<udp::Udp> udp_;
  udp::Socket* server_ = nullptr;
  std::vector<Client> clients_;
  uint32_t unanswered_ = 0;
  bool readable_ = false;
};

}  // namespace millrace::sim
