// SPDX-License-Identifier: MIT
// One end of a simulated connection: the application that follows an EndpointPlan, checks every
// byte it reads, and knows what it may and may not be told.
#pragma once

#include <string>

#include "sim/scenario.h"
#include "tcp/tcp.h"

namespace millrace::sim {

class Host;
class World;

class Endpoint {
 public:
  Endpoint(World& world, uint32_t connection, bool client);

  // The handshake is done (client) or accept() has given the connection (server).
  void attach(Instant now, Host& host, tcp::Connection* connection, bool established);
  // Does what can be done now.
  void step(Instant now);
  // The user has lost patience.
  void give_up(Instant now);
  Instant wake_at() const { return wake_at_; }

  // Notes of upcalls.
  void connected() { established_ = true; }
  void failed(Error error) { error_ = error; }
  void touch() { dirty_ = true; }
  bool dirty() const { return dirty_; }

  bool attached() const { return host_ != nullptr; }
  bool finished() const { return finished_; }
  bool at_end() const { return at_end_; }
  // It died for a reason that the scenario gave.
  bool excused() const { return excused_; }
  // Its connection may be lost without anybody's fault.
  bool may_break() const;
  uint64_t written() const { return written_; }
  uint64_t read() const { return read_; }
  tcp::Connection* connection() const { return connection_; }
  const EndpointPlan& plan() const { return plan_; }
  std::string describe() const;

 private:
  void check_error(Instant now);
  void do_read(Instant now);
  void do_write(Instant now);
  void do_ending(Instant now);
  bool paused(Instant now);
  void fidget(Instant now);
  void finish(Instant now, bool abort);
  void wake(Instant at) { wake_at_ = std::min(wake_at_, at); }
  uint64_t may_write() const;
  void fail(const std::string& what);

  World& world_;
  const uint32_t number_;
  const bool client_;
  const EndpointPlan& plan_;
  const EndpointPlan& peer_plan_;
  const uint64_t key_out_, key_in_;
  Host* host_ = nullptr;
  tcp::Connection* connection_ = nullptr;
  bool established_ = false, dirty_ = false, finished_ = false;
  bool shut_ = false, at_end_ = false, excused_ = false;
  Error error_{};
  uint64_t written_ = 0, read_ = 0, acked_ = 0;
  size_t next_pause_ = 0;
  Instant paused_until_{}, read_next_{}, write_next_{};
  Instant wake_at_ = Instant::never();
};

}  // namespace millrace::sim
