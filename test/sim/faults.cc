// SPDX-License-Identifier: MIT
// Faults besides the weather: boxes on the way, clocks that jump, memory that is gone, readers that
// stop for minutes, and crowds of short connections.
#include "sim/draw.h"
#include "sim/scenario.h"

namespace millrace::sim {

namespace {

// A box cuts segments in two: acknowledgements of parts of a frame, retransmissions that overlap.
void draw_splitting(Draw& d, Scenario& s) {
  for (HostPlan& host : s.hosts) {
    if (d.chance(60)) host.weather.split = uint32_t(d.log_range(5'000, 500'000));
  }
  for (Change& change : s.changes) change.weather.split = s.hosts[change.host].weather.split;
}

// Connections that were there before are nobody's then: only survival and rest can be asked of
// them.
void draw_rebinding(Draw& d, Scenario& s) {
  const uint32_t host = d.range(0, 1);
  const uint32_t times = d.range(1, 3);
  for (uint32_t i = 1; i <= times; ++i) {
    Change change;
    change.at = d.log_micros(1'000, 4'000'000);
    change.kind = Change::Kind::kRebind;
    change.host = host;
    change.value = i * 1'000;
    s.changes.push_back(change);
  }
  for (ConnectionPlan& c : s.connections) c.may_break = c.may_break || c.client_host == host;
}

void draw_clock_jumps(Draw& d, Scenario& s) {
  const uint32_t times = d.range(1, 4);
  for (uint32_t i = 0; i < times; ++i) {
    Change change;
    change.at = d.log_micros(1'000, 5'000'000);
    change.kind = Change::Kind::kClock;
    change.host = d.range(0, uint32_t(s.hosts.size()) - 1);
    change.jump = d.log_micros(1'000, 50'000'000);
    s.changes.push_back(change);
  }
}

void draw_hogs(Draw& d, Scenario& s) {
  const uint32_t times = d.range(1, 3);
  const uint32_t host = d.range(0, 1);
  Duration at{};
  for (uint32_t i = 0; i < times; ++i) {
    Change take, give;
    at = at + d.log_micros(100, 1'000'000);
    take.at = at;
    take.kind = Change::Kind::kHog;
    take.host = give.host = host;
    take.value = d.chance(50) ? 0 : d.range(1, 64);
    at = at + d.log_micros(100, 5'000'000);
    give.at = at;
    give.kind = Change::Kind::kUnhog;
    s.changes.push_back(take);
    s.changes.push_back(give);
  }
}

// The window closes and stays closed through many probes.
void draw_long_pauses(Draw& d, Scenario& s) {
  for (ConnectionPlan& c : s.connections) {
    const bool client = d.chance(50);
    EndpointPlan& reader = client ? c.client : c.server;
    const EndpointPlan& writer = client ? c.server : c.client;
    if (writer.send_bytes == 0 || !d.chance(50)) continue;
    // A peer that has closed gives up on a closed window after some probes (Linux's
    // tcp_orphan_retries): so that it stays, the reader's FIN comes last.
    if (writer.ending != Ending::kShutdown || writer.after_end || c.abortive()) continue;
    if (reader.ending == Ending::kShutdown) reader.ending = Ending::kAfterPeer;
    if (reader.ending != Ending::kAfterPeer) continue;
    c.options.receive_buffer_bytes = uint32_t(d.log_range(2'048, 16'384));
    reader.read_pauses.insert(reader.read_pauses.begin(),
                              {0, Duration::millis(int64_t(d.log_range(10'000, 300'000)))});
  }
}

// Thousands of connections that carry next to nothing.
void make_crowd(Draw& d, Scenario& s) {
  const uint32_t count = uint32_t(d.log_range(300, 1'000));
  for (HostPlan& host : s.hosts) {
    host.tcp.connections_max = 4'096;
    host.pool_frames = std::max(host.pool_frames, 4'096u);
    for (ListenerPlan& l : host.listeners) l.backlog = 512;
  }
  const Duration spread = d.log_micros(100'000, 3'000'000);
  for (uint32_t i = uint32_t(s.connections.size()); i < count; ++i) {
    ConnectionPlan c;
    c.client_port = uint16_t(20'000 + i);
    c.server_port = uint16_t(80 + d.range(0, 1));
    c.start = Duration{spread.ns / count * i};
    c.client.send_bytes = d.range(0, 200);
    c.server.send_bytes = d.range(0, 200);
    c.server.after_end = d.chance(30);
    c.client.early = d.chance(30);
    if (d.chance(10)) c.client.ending = Ending::kAbort;
    c.client.end_at = c.client.ending == Ending::kAbort ? c.client.send_bytes : 0;
    c.options.keepalive_idle = Duration::seconds(30);
    c.options.keepalive_interval = Duration::seconds(5);
    c.options.keepalive_probes = 4;
    s.connections.push_back(c);
  }
}

}  // namespace

void draw_faults(Scenario& s) {
  Draw d(s.seed ^ 0x6661756c7473);
  const bool heavy = s.profile == std::string("heavy") || s.profile == std::string("cuts");
  const uint32_t kind = d.range(0, 99);
  if (s.clean) {
    if (kind >= 98) make_crowd(d, s);
    return;
  }
  if (kind < 12) draw_splitting(d, s);
  if (kind >= 12 && kind < 20 && !s.hostile) draw_rebinding(d, s);
  if (kind >= 20 && kind < 30 && !heavy) draw_clock_jumps(d, s);
  if (kind >= 30 && kind < 40) draw_hogs(d, s);
  if (kind >= 40 && kind < 48 && !heavy) draw_long_pauses(d, s);
  if (kind >= 98 && !heavy && !s.dead_end) make_crowd(d, s);
  if (kind >= 10 && kind < 12) draw_hogs(d, s);
}

}  // namespace millrace::sim
