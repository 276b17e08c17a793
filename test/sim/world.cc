// SPDX-License-Identifier: MIT
#include "sim/world.h"

#include <algorithm>
#include <cstdio>

#include "port/sim/middlebox.h"

namespace millrace::sim {

namespace {
// Virtual time without any progress of an application after which a run counts as hung. More than
// the longest that a stack goes on without an answer: a closed window is probed 15 times, after a
// clock that jumped ahead (the jump is in the round trip) at once in steps of two minutes.
constexpr Duration kStall = Duration::seconds(15 * 120 + 200);
// For what remains after the last application has closed: TIME-WAIT, orphans, dead peers.
constexpr Duration kLinger = Duration::seconds(3600);
constexpr uint32_t kStepsMax = 5'000'000;
}  // namespace

World::World(const Scenario& scenario, bool verbose)
    : scenario_(scenario),
      verbose_(verbose),
      random_(Random::from_seed(scenario.seed ^ 0x617070)),
      checker_(scenario_, verbose, [this](const std::string& what) { fail(what); }),
      network_(scenario.seed ^ 0x6e6574, 65536) {
  network_.set_observer(&checker_);
  for (uint32_t i = 0; i < scenario_.hosts.size(); ++i) {
    hosts_.push_back(std::make_unique<Host>(*this, i, network_));
  }
  for (uint32_t i = 0; i < scenario_.connections.size(); ++i) {
    endpoints_.push_back(std::make_unique<Endpoint>(*this, i, true));
    endpoints_.push_back(std::make_unique<Endpoint>(*this, i, false));
    const ConnectionPlan& plan = scenario_.connections[i];
    start_at_.push_back(plan.successor_of < 0 ? Instant{} + plan.start : Instant::never());
    started_.push_back(false);
    waiting_.push_back(i);
  }
}

World::~World() = default;

void World::fail(const std::string& what) {
  if (!failure_.empty()) return;
  char stamp[64];
  std::snprintf(stamp, sizeof(stamp), "at %.6f s: ", double(now_.ns) / 1e9);
  failure_ = stamp + what;
}

Endpoint* World::server_endpoint(const wire::FlowKey& flow) {
  Endpoint* found = nullptr;
  for (uint32_t i = 0; i < scenario_.connections.size(); ++i) {
    const ConnectionPlan& plan = scenario_.connections[i];
    if (plan.client_port == nat_inside(flow.remote.port) && plan.server_port == flow.local.port &&
        hosts_[plan.client_host]->address() == flow.remote.address && started_[i]) {
      found = &endpoint(i, false);  // the latest
    }
  }
  return found;
}

Instant World::next_event() const {
  Instant next = Instant::never();
  for (const auto& host : hosts_) next = std::min(next, host->next_event());
  if (next_change_ < scenario_.changes.size()) {
    next = std::min(next, Instant{} + scenario_.changes[next_change_].at);
  }
  for (const uint32_t number : waiting_) next = std::min(next, start_at_[number]);
  return next;
}

void World::schedule_successors() {
  for (const uint32_t number : waiting_) {
    if (!start_at_[number].is_never()) continue;
    const ConnectionPlan& plan = scenario_.connections[number];
    const uint32_t before = uint32_t(plan.successor_of);
    if (!connection_done(before)) continue;
    // What may still come to the server's application must not be taken for the new one.
    const bool lost = !endpoints_[before * 2 + 1]->attached();
    start_at_[number] = now_ + plan.start + (lost ? Duration::seconds(300) : Duration{});
  }
}

void World::start_connections() {
  bool any = false;
  for (const uint32_t number : waiting_) {
    if (start_at_[number] > now_) continue;
    const ConnectionPlan& plan = scenario_.connections[number];
    Host& client = *hosts_[plan.client_host];
    Host& server = *hosts_[plan.server_host];
    checker_.set_connection({client.address(), plan.client_port},
                            {server.address(), plan.server_port}, number);
    started_[number] = true;
    if (!client.connect(now_, endpoint(number, true), plan.client_port,
                        {server.address(), plan.server_port}, plan.options)) {
      if (plan.successor_of < 0) fail("connect(): EADDRINUSE");
      started_[number] = false;
      start_at_[number] = now_ + Duration::seconds(1);
      continue;
    }
    any = true;
    start_at_[number] = Instant::never();
    if (plan.simultaneous) {
      server.connect(now_, endpoint(number, false), plan.server_port,
                     {client.address(), plan.client_port}, plan.options);
    }
  }
  if (any) std::erase_if(waiting_, [this](uint32_t number) { return started_[number]; });
}

void World::apply(const Change& change) {
  SimConditions weather = network_.conditions(change.host);
  switch (change.kind) {
    case Change::Kind::kCut:
      weather.up = false;
      dead_ = dead_ || scenario_.dead_end;
      break;
    case Change::Kind::kMend:
      weather.up = true;
      break;
    case Change::Kind::kWeather: {
      const SimConditions before = weather;
      weather = change.weather;
      weather.up = before.up;
      weather.nat_shift = before.nat_shift;
      weather.mtu_bytes = before.mtu_bytes;
      weather.answer_too_big = before.answer_too_big;
      break;
    }
    case Change::Kind::kPathMtu:
      weather.mtu_bytes = change.mtu_bytes;
      weather.answer_too_big = true;
      break;
    case Change::Kind::kClock:
      hosts_[change.host]->jump_clock(change.jump);
      break;
    case Change::Kind::kRebind:
      weather.nat_shift = uint16_t(change.value);
      checker_.rebound();
      break;
    case Change::Kind::kHog:
      hosts_[change.host]->hog(change.value);
      break;
    case Change::Kind::kUnhog:
      hosts_[change.host]->give_back();
      break;
    case Change::Kind::kMtu:
      hosts_[change.host]->change_mtu(change.mtu_bytes);
      // What left TCP and UDP before the change may still wait for the device or a neighbour.
      if (scenario_.hosts[change.host].tx_hold.ns == 0 && !scenario_.ethernet &&
          scenario_.hosts[change.host].tx_ring_frames >= 256) {
        checker_.set_mtu(change.host, change.mtu_bytes);
      }
      break;
  }
  network_.set_conditions(change.host, weather);
}

void World::apply_changes() {
  while (next_change_ < scenario_.changes.size() &&
         Instant{} + scenario_.changes[next_change_].at <= now_) {
    apply(scenario_.changes[next_change_++]);
    progress();
  }
}

bool World::connection_done(uint32_t number) const {
  const Endpoint& client = *endpoints_[number * 2];
  const Endpoint& server = *endpoints_[number * 2 + 1];
  if (!client.finished()) return false;
  if (server.finished()) return true;
  // It may never have come to the server's application.
  const ConnectionPlan& plan = scenario_.connections[number];
  // A client that closes at once may be an orphan by the time its half-open other end is given up
  // in a cut.
  const bool cuts = std::string_view(scenario_.profile) == "cuts";
  const bool orphan = cuts && plan.client.ending == Ending::kCloseWritten;
  const bool excused =
      scenario_.hostile || dead_ || plan.abortive() || plan.refused || client.excused() || orphan;
  return !server.attached() && excused;
}

bool World::applications_done() const {
  if (!waiting_.empty()) return false;
  for (const auto& host : hosts_) {
    if (!host->applications_done()) return false;
  }
  for (uint32_t i = 0; i < scenario_.connections.size(); ++i) {
    if (!connection_done(i)) return false;
  }
  return true;
}

void World::check_rest() {
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    const ConnectionPlan& plan = scenario_.connections[i / 2];
    if (scenario_.hostile || scenario_.dead_end || plan.abortive() || plan.refused) continue;
    const Endpoint& end = *endpoints_[i];
    const Endpoint& peer = *endpoints_[i ^ 1];
    if (end.excused() || peer.excused() || !end.attached()) continue;
    if (end.plan().ending == Ending::kCloseWritten) continue;
    if (end.read() != peer.plan().send_bytes || !end.at_end()) {
      fail(end.describe() + ": did not get everything");
    }
  }
}

// On a perfect network with small delays nothing is lost, so nothing may be thought to be. Tail
// loss probes (RFC 8985 7) are not counted: they repeat bytes on suspicion.
void World::check_clean_run() {
  if (!scenario_.clean) return;
  for (const HostPlan& host : scenario_.hosts) {
    if (host.busy_chance || host.weather.delay > Duration::millis(50) ||
        host.tx_hold > Duration::millis(1) || host.tx_ring_frames < 256) {
      return;
    }
  }
  for (const ConnectionPlan& plan : scenario_.connections) {
    if (plan.abortive()) return;
  }
  // A full backlog drops handshakes on purpose.
  for (const auto& host : hosts_) {
    if (host->tcp().counters().tcp_listen_overflows) return;
  }
  for (const auto& host : hosts_) {
    const tcp::Counters& n = host->tcp().counters();
    if (n.tcp_timeouts + n.tcp_fast_recoveries + n.tcp_timed_out + n.tcp_bad_acks +
        n.tcp_paws_dropped) {
      fail("losses on a perfect network: " + std::to_string(n.tcp_timeouts) + " timeouts, " +
           std::to_string(n.tcp_fast_recoveries) + " fast recoveries, " +
           std::to_string(n.tcp_bad_acks) + " bad ACKs");
    }
  }
}

void World::measure_stall() {
  bool on_purpose = dead_ || scenario_.hostile || !waiting_.empty();
  for (const auto& end : endpoints_) {
    on_purpose = on_purpose || !end->wake_at().is_never();
    // An aborted peer's other end waits for its keep-alive.
    on_purpose = on_purpose || (end->finished() && end->plan().ending >= Ending::kAbort);
  }
  for (uint32_t host = 0; host < hosts_.size(); ++host) {
    on_purpose = on_purpose || !network_.conditions(host).up || hosts_[host]->waits_on_purpose();
  }
  if (on_purpose) idle_since_ = now_;
  longest_stall_ = std::max(longest_stall_, now_ - idle_since_);
}

// Damage that no checksum shows can leave two ends with numbers of their own, each of which answers
// the other's probes for ever: then people end the connection.
void World::no_progress() {
  if (!scenario_.hostile) return fail("no progress");
  for (const auto& end : endpoints_) end->give_up(now_);
  progress();
}

Outcome World::run() {
  uint32_t steps = 0;
  Instant done_at = Instant::never();
  std::string left;
  while (failure_.empty()) {
    const bool done = applications_done();
    if (done && done_at.is_never()) done_at = now_;
    left.clear();
    bool quiet = done && network_.in_flight() == 0;
    for (const auto& host : hosts_) quiet = quiet && host->quiet(left);
    if (quiet) break;
    const Instant next = next_event();
    if (next.is_never()) {
      fail(done ? "nothing more happens: " + left : "deadlock: nothing more happens");
      break;
    }
    now_ = std::max(now_, next);
    if (!done && now_ - progress_at_ > kStall) no_progress();
    if (!done) measure_stall();
    if (done && now_ - done_at > kLinger) fail("does not come to rest: " + left);
    if (++steps > kStepsMax) fail("too many events");
    apply_changes();
    start_connections();
    for (auto& host : hosts_) host->turn(now_);
    schedule_successors();
  }
  if (failure_.empty()) check_rest();
  if (failure_.empty()) check_clean_run();
  if (!failure_.empty() && failure_.find("connection ") == std::string::npos) {
    for (const auto& end : endpoints_) {
      if (!end->finished()) {
        failure_ += "\n    " + end->describe();
      }
    }
  }
  Outcome outcome;
  outcome.virtual_time = now_ - Instant{};
  for (auto& host : hosts_) host->close(now_);
  outcome.failure = failure_;
  outcome.longest_stall = longest_stall_;
  outcome.hash = checker_.hash();
  outcome.frames = checker_.frames_sent();
  outcome.retransmitted_bytes = checker_.retransmitted_bytes();
  return outcome;
}

}  // namespace millrace::sim
