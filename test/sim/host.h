// SPDX-License-Identifier: MIT
// One whole stack of the simulation: pool, timers, Internet layer, TCP, port, and the applications
// that sit on it. It turns when the world says so and never reads a clock.
#pragma once

#include <memory>
#include <vector>

#include "net/interface.h"
#include "net/ip_layer.h"
#include "port/sim/sim_network.h"
#include "sim/endpoint.h"
#include "sim/scenario.h"
#include "sim/udp_echo.h"
#include "tcp/tcp.h"

namespace millrace::sim {

class World;

class Host final : public tcp::Handler, public net::NeighborResolver {
 public:
  Host(World& world, uint32_t number, SimNetwork& network);
  ~Host() override;

  // All times of the world; the host's own clock may be ahead of them.
  void turn(Instant world_now);
  // The earliest time at which a turn has something to do.
  Instant next_event() const;
  void change_mtu(uint32_t mtu_bytes);
  // What this host's clock shows.
  Instant here(Instant world_now) const { return world_now + ahead_; }
  void jump_clock(Duration by);
  // Takes all frames of the pool but `left`, until give_back().
  void hog(uint32_t left);
  void give_back();
  bool applications_done() const { return udp_.done(); }
  uint32_t udp_unanswered() const { return udp_.unanswered(); }
  bool waits_on_purpose() const { return !udp_.next_event().is_never(); }
  // True when nothing of the run is left: no connection, no timer, no frame.
  bool quiet(std::string& what) const;
  void close(Instant world_now);

  uint64_t cookies_sent() const { return tcp_->counters().tcp_cookies_sent; }
  uint32_t number() const { return number_; }
  wire::IpAddress address() const { return address_; }
  tcp::Tcp& tcp() { return *tcp_; }
  net::IpLayer& ip() { return *ip_; }
  FramePool& pool() { return pool_; }
  TimerWheel& timers() { return timers_; }
  SimPort& port() { return *port_; }
  // A frame for an application's bytes; null when the applications have used up their share.
  Frame* alloc_for_application();
  // Binds an endpoint to a connection number.
  uint32_t adopt(Endpoint* endpoint);
  // False: the addresses and ports are still in use.
  bool connect(Instant world_now, Endpoint& endpoint, uint16_t local_port,
               const wire::Endpoint& remote, const tcp::ConnectionOptions& options);

  void on_connected(tcp::Connection& connection) override;
  void on_acceptable(tcp::Listener& listener) override;
  void on_readable(tcp::Connection& connection) override;
  void on_acked(tcp::Connection& connection) override;
  void on_error(tcp::Connection& connection, Error error) override;
  void resolve(uint32_t ifindex, const wire::IpAddress& address) override;

 private:
  struct Listening {
    tcp::Listener* listener = nullptr;
    const ListenerPlan* plan = nullptr;
    bool acceptable = false;
    Instant accept_at = Instant::never();
  };
  struct Resolving {
    wire::IpAddress address;
    Instant at;
  };
  Endpoint* of(tcp::Connection& connection);
  void attach_port(SimNetwork& network, const HostPlan& plan);
  void start_listening();
  void accept_all(Instant now, Listening& listening);
  void answer_resolver(Instant now);
  void check_after_turn(Instant now);
  void check_connection(Instant now, Endpoint& endpoint);
  void check_frames();

  World& world_;
  uint32_t number_;
  const HostPlan& plan_;
  wire::IpAddress address_;
  Random random_;
  FramePool pool_;
  TimerWheel timers_;
  std::unique_ptr<SimPort> port_;
  net::LinkConfig link_;
  std::unique_ptr<net::IpLayer> ip_;
  std::unique_ptr<tcp::Tcp> tcp_;
  UdpEcho udp_;
  std::vector<Listening> listening_;
  std::vector<Endpoint*> endpoints_;  // by connection number; never removed within a run
  std::vector<Resolving> resolving_;
  Instant not_before_{};  // busy until then
  Duration ahead_{};      // of the world's clock
  FrameQueue hogged_;
  tcp::Core* core_ = nullptr;  // of tcp_, once there was a connection
  uint32_t turns_ = 0;
};

}  // namespace millrace::sim
