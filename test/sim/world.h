// SPDX-License-Identifier: MIT
// The run of one seed: hosts, network and virtual time, stepped from event to event until
// everything is closed and nothing is left, or something is found to be wrong.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/checker.h"
#include "sim/endpoint.h"
#include "sim/host.h"
#include "sim/scenario.h"

namespace millrace::sim {

struct Outcome {
  std::string failure;  // empty: passed
  uint64_t hash = 0;
  uint64_t frames = 0;
  uint64_t retransmitted_bytes = 0;
  Duration virtual_time{};
  Duration longest_stall{};  // no progress though every application wanted it
};

class World {
 public:
  World(const Scenario& scenario, bool verbose);
  ~World();
  Outcome run();

  const Scenario& scenario() const { return scenario_; }
  Checker& checker() { return checker_; }
  Random& random() { return random_; }
  Host& host(uint32_t number) { return *hosts_[number]; }
  Endpoint& endpoint(uint32_t connection, bool client) {
    return *endpoints_[connection * 2 + (client ? 0 : 1)];
  }
  // The server's end of the connection that came from `flow.remote`; null when there is no such
  // plan.
  Endpoint* server_endpoint(const wire::FlowKey& flow);
  void fail(const std::string& what);
  void progress() { progress_at_ = idle_since_ = now_; }
  bool verbose() const { return verbose_; }
  // True once the network has gone for good.
  bool dead() const { return dead_; }

 private:
  Instant next_event() const;
  void schedule_successors();
  void start_connections();
  bool connection_done(uint32_t number) const;
  void apply_changes();
  void apply(const Change& change);
  bool applications_done() const;
  void measure_stall();
  void no_progress();
  void check_rest();
  void check_clean_run();

  const Scenario scenario_;
  const bool verbose_;
  std::string failure_;
  bool dead_ = false;
  Instant now_{};
  Instant progress_at_{};
  Instant idle_since_{};  // no progress, and no application that waits on purpose
  Duration longest_stall_{};
  size_t next_change_ = 0;
  std::vector<Instant> start_at_;  // never: started, or waiting for its predecessor
  std::vector<bool> started_;
  std::vector<uint32_t> waiting_;  // numbers not started yet, ascending
  Random random_;                  // of the applications
  Checker checker_;
  SimNetwork network_;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
};

}  // namespace millrace::sim
