// SPDX-License-Identifier: MIT
// One run, drawn from its seed: hosts, weather, connections and what their applications do. Nothing
// else decides anything, so a seed is a complete description.
#pragma once

#include <string>
#include <vector>

#include "base/random.h"
#include "port/sim/sim_network.h"
#include "tcp/options.h"

namespace millrace::sim {

enum class Ending : uint8_t {
  kShutdown,      // FIN after the last byte written, close at the peer's FIN
  kAfterPeer,     // as above, but FIN only after the peer's
  kCloseWritten,  // close() right after the last byte written (only where the peer sends nothing)
  kAbort,         // abort() at a point in the stream
  kCloseUnread,   // close() at a point in the stream, whatever is unread
};

struct ReadPause {
  uint64_t at_offset = 0;
  Duration length{};
};

// One end of a connection.
struct EndpointPlan {
  uint64_t send_bytes = 0;
  uint32_t write_bytes_max = 1400;  // per frame
  bool echo = false;                // sends what it has read, no more
  bool lockstep = false;            // waits for as many bytes back before it writes the next
  bool after_end = false;           // writes only after the peer's FIN
  bool push_each = false;           // push() after every write(), not once per turn
  Duration write_pause{};           // between writes
  uint32_t read_bytes_max = 65536;  // per call
  Duration read_pace{};             // between calls; 0: until nothing is left
  std::vector<ReadPause> read_pauses;
  bool early = false;   // writes (and shuts down) before it is connected
  uint32_t fidget = 0;  // millionths: changes an option of the connection with a step
  Ending ending = Ending::kShutdown;
  uint64_t end_at = 0;  // bytes written or read, for kAbort and kCloseUnread
};

struct ConnectionPlan {
  uint32_t client_host = 0, server_host = 1;
  uint16_t client_port = 0, server_port = 0;
  Duration start{};
  bool simultaneous = false;  // both ends call connect() at once (RFC 9293 3.5)
  bool refused = false;       // nobody listens there
  // Uses the same addresses and ports as this earlier connection, `start` after that has ended; -1:
  // none.
  int32_t successor_of = -1;
  EndpointPlan client, server;
  tcp::ConnectionOptions options;
  // The scenario breaks it: the translating box between its ends forgets it, say.
  bool may_break = false;
  bool abortive() const {
    return may_break || client.ending >= Ending::kAbort || server.ending >= Ending::kAbort;
  }
};

struct UdpPlan {
  uint32_t client_host = 0, server_host = 1;
  uint16_t client_port = 0;
  uint32_t datagrams = 0;
  uint32_t bytes_max = 0;
  Duration start{}, interval{};
};

struct ListenerPlan {
  uint16_t port = 0;
  uint32_t backlog = 128;
  Duration accept_delay{};  // the application's
  tcp::ConnectionOptions options;
};

struct HostPlan {
  uint32_t pool_frames = 4096, frame_bytes = 2048;
  uint32_t mtu_bytes = 1500;
  Duration tx_hold{};
  uint32_t tx_ring_frames = 256;
  uint32_t busy_chance = 0;  // millionths: after a turn the host is away for up to `busy_for`
  Duration busy_for{};
  tcp::StackOptions tcp;
  SimConditions weather;
  std::vector<ListenerPlan> listeners;
};

// A change in the middle of the run.
struct Change {
  enum class Kind : uint8_t {
    kCut,
    kMend,
    kWeather,
    kMtu,
    kPathMtu,
    kClock,   // the host's clock jumps ahead by `jump` (a suspended machine, a stopped process)
    kRebind,  // the box in front of the host gives every client another port: `value` above its own
    kHog,     // somebody takes all frames of the host's pool but `value`
    kUnhog,   // and gives them back
  };
  Duration at{};
  Kind kind = Kind::kCut;
  uint32_t host = 0;  // its sending direction
  uint32_t mtu_bytes = 0;
  SimConditions weather;
  Duration jump{};
  uint32_t value = 0;
};

struct Scenario {
  uint64_t seed = 0;
  const char* profile = "";
  bool v6 = false;
  bool ethernet = false;
  bool clean = false;     // nothing is lost, late, twice or damaged, on no account
  bool dead_end = false;  // the network goes away for good
  bool hostile = false;  // damage that checksums cannot see: streams are not checked, only survival
  Duration resolve_delay{};
  std::vector<HostPlan> hosts;
  std::vector<ConnectionPlan> connections;
  std::vector<UdpPlan> udp;
  std::vector<Change> changes;

  bool clock_jumps() const {
    for (const Change& change : changes) {
      if (change.kind == Change::Kind::kClock) return true;
    }
    return false;
  }
};

Scenario draw_scenario(uint64_t seed);
// What befalls hosts and connections besides the weather. Draws from a stream of its own, so that
// it leaves everything else of the seed as it is.
void draw_faults(Scenario& scenario);
std::string describe(const Scenario& scenario);

}  // namespace millrace::sim
