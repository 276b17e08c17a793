// SPDX-License-Identifier: MIT
#include "sim/scenario.h"

#include <algorithm>

#include "sim/draw.h"

namespace millrace::sim {

namespace {

SimConditions weather_of(Draw& d, const std::string& profile) {
  SimConditions w;
  w.delay = d.chance(10) ? Duration{} : d.log_micros(10, 120'000);
  const bool mixed = profile == "mixed";
  if (profile == "light" || mixed) {
    w.loss = uint32_t(d.log_range(500, 20'000));
    w.reorder = d.chance(60) ? uint32_t(d.log_range(500, 30'000)) : 0;
    w.duplicate = d.chance(50) ? uint32_t(d.log_range(500, 20'000)) : 0;
    w.corrupt = d.chance(50) ? uint32_t(d.log_range(100, 5'000)) : 0;
  }
  if (profile == "heavy") {
    w.loss = uint32_t(d.log_range(20'000, 150'000));
    w.reorder = uint32_t(d.log_range(10'000, 300'000));
    w.duplicate = uint32_t(d.log_range(1'000, 100'000));
    w.corrupt = uint32_t(d.log_range(1'000, 50'000));
  }
  if (profile == "bursts" || mixed) {
    w.burst_start = uint32_t(d.log_range(1'000, 20'000));
    w.burst_frames = d.range(2, 20);
    w.burst_for = d.log_micros(1'000, 500'000);
  }
  if (profile == "reorder") {
    w.reorder = uint32_t(d.log_range(5'000, 500'000));
    w.duplicate = d.chance(50) ? uint32_t(d.log_range(1'000, 100'000)) : 0;
  }
  if (profile == "rate" || mixed || d.chance(profile == "clean" ? 0 : 15)) {
    w.rate_bits_per_s = d.log_range(300'000, 200'000'000);
    w.queue_bytes = uint32_t(d.log_range(6'000, 200'000));
  }
  if (profile == "hostile") {
    w.corrupt_hidden = uint32_t(d.log_range(1'000, 100'000));
    w.corrupt = uint32_t(d.log_range(1'000, 20'000));
    w.loss = uint32_t(d.log_range(100, 20'000));
  }
  w.reorder_by = d.log_micros(50, std::max<uint64_t>(100, uint64_t(w.delay.micros()) * 2));
  return w;
}

void draw_buffers(Draw& d, tcp::StackOptions& o) {
  o.receive_buffer_bytes = uint32_t(d.log_range(2'048, 262'144));
  o.receive_buffer_max_bytes = d.chance(50)
                                   ? o.receive_buffer_bytes
                                   : uint32_t(d.log_range(o.receive_buffer_bytes, 1 << 20));
  o.send_buffer_bytes = uint32_t(d.log_range(2'048, 262'144));
  o.send_buffer_max_bytes =
      d.chance(50) ? o.send_buffer_bytes : uint32_t(d.log_range(o.send_buffer_bytes, 1 << 20));
}

void draw_connection_options(Draw& d, tcp::ConnectionOptions& o) {
  o.nodelay = d.chance(50);
  // Short enough that a peer whose RST was lost is found out within the run.
  o.keepalive_idle = Duration::seconds(d.range(20, 100));
  o.keepalive_interval = Duration::seconds(d.range(2, 20));
  o.keepalive_probes = d.range(4, 9);
  o.congestion = d.pick({tcp::CongestionControl::kCubic, tcp::CongestionControl::kNewReno});
}

HostPlan draw_host(Draw& d, const std::string& profile, bool v6) {
  HostPlan h;
  h.mtu_bytes = d.pick({1500u, 1500u, 1500u, 1400u, 1280u, v6 ? 1280u : 576u, 1900u, 9000u});
  h.frame_bytes = h.mtu_bytes > 1900 ? 16384 : 2048;
  if (d.chance(20)) h.frame_bytes = h.mtu_bytes > 1900 ? 16384 : 4096;
  h.tx_hold = d.chance(40) ? d.log_micros(1, 500) : Duration{};
  if (d.chance(20)) h.tx_hold = d.log_micros(500, 50'000);
  h.tx_ring_frames = d.chance(30) ? d.range(1, 16) : 256;
  if (h.tx_hold > Duration::micros(500)) h.tx_ring_frames = 256;
  if (d.chance(30)) {
    h.busy_chance = uint32_t(d.log_range(1'000, 500'000));
    h.busy_for = d.log_micros(10, 20'000);
  }
  h.tcp.connections_max = 512;
  h.tcp.listeners_max = 16;
  h.tcp.half_open_max = d.chance(20) ? d.range(8, 16) : 256;
  draw_buffers(d, h.tcp);
  h.tcp.time_wait = Duration::millis(int64_t(d.log_range(1'000, 60'000)));
  h.tcp.fin_timeout = Duration::seconds(60);
  draw_connection_options(d, h.tcp.defaults);
  h.weather = weather_of(d, profile);
  return h;
}

void draw_endpoint(Draw& d, EndpointPlan& e, uint64_t bytes) {
  e.send_bytes = bytes;
  // At most some hundred writes, so that small writes come with small streams.
  const uint32_t least = uint32_t(std::max<uint64_t>(1, bytes / 400));
  e.write_bytes_max = uint32_t(d.log_range(least, std::max(least, 4000u)));
  e.push_each = d.chance(30);
  if (d.chance(25)) {
    const uint64_t writes = std::max<uint64_t>(1, bytes / e.write_bytes_max);
    e.write_pause =
        d.log_micros(10, std::max<uint64_t>(20, std::min<uint64_t>(500'000, 20'000'000 / writes)));
  }
  e.early = d.chance(20);
  e.fidget = d.chance(20) ? uint32_t(d.log_range(1'000, 300'000)) : 0;
  e.read_bytes_max = d.chance(70) ? 65536 : uint32_t(d.log_range(64, 16'384));
}

// How an endpoint reads `bytes` that come to it.
void draw_reading(Draw& d, EndpointPlan& e, uint64_t bytes) {
  if (d.chance(15) && bytes) {
    e.read_bytes_max = uint32_t(std::max<uint64_t>(e.read_bytes_max, bytes / 200 + 1));
    e.read_pace = d.log_micros(100, 50'000);
  }
  const uint32_t pauses = d.chance(25) ? d.range(1, 3) : 0;
  for (uint32_t i = 0; i < pauses; ++i) {
    e.read_pauses.push_back(
        {bytes ? d.log_range(0, bytes - 1) : 0, Duration::millis(int64_t(d.log_range(1, 15'000)))});
  }
  std::sort(e.read_pauses.begin(), e.read_pauses.end(),
            [](const ReadPause& a, const ReadPause& b) { return a.at_offset < b.at_offset; });
}

ConnectionPlan draw_connection(Draw& d, uint32_t number, uint64_t bytes_max, uint32_t hosts) {
  ConnectionPlan c;
  c.client_host = hosts > 2 && number % 2 ? 2 : 0;
  c.server_host = 1;
  if (d.chance(20)) std::swap(c.client_host, c.server_host);
  c.client_port = uint16_t(20'000 + number);
  c.server_port = uint16_t(80 + d.range(0, 1));
  c.start = d.chance(30) ? Duration{} : d.log_micros(1, 3'000'000);
  uint64_t there = d.chance(10) ? 0 : d.log_range(1, bytes_max);
  uint64_t back = d.chance(10) ? 0 : d.log_range(1, bytes_max);
  const uint32_t shape = d.range(0, 99);
  const bool echo = shape < 30;
  if (echo) back = there;
  if (shape >= 90) back = 0;
  draw_endpoint(d, c.client, there);
  draw_endpoint(d, c.server, back);
  c.server.echo = echo;
  c.client.lockstep = echo && d.chance(40);
  if (c.client.lockstep)
    c.client.write_bytes_max =
        uint32_t(std::max<uint64_t>(c.client.write_bytes_max, there / 60 + 1));
  c.server.after_end = !echo && shape < 50;
  draw_reading(d, c.client, back);
  draw_reading(d, c.server, there);
  if (!c.server.after_end && !echo && d.chance(20)) c.client.ending = Ending::kAfterPeer;
  if (c.client.ending == Ending::kShutdown && d.chance(20)) c.server.ending = Ending::kAfterPeer;
  if (shape >= 90) c.client.ending = Ending::kCloseWritten;
  if (d.chance(12)) {
    EndpointPlan& who = d.chance(50) ? c.client : c.server;
    who.ending = d.chance(50) ? Ending::kAbort : Ending::kCloseUnread;
    // A client whose server waits for its FIN gets nothing back before that.
    const uint64_t reached = &who == &c.client && c.server.after_end ? there : there + back;
    who.end_at = d.log_range(0, std::max<uint64_t>(1, reached));
    who.end_at = std::min(who.end_at, reached);
  }
  draw_connection_options(d, c.options);
  const uint32_t opening = d.range(0, 99);
  c.simultaneous = opening < 5;
  c.refused = opening >= 96;
  if (c.simultaneous) c.server_port = uint16_t(40'000 + number);
  if (c.refused) c.server_port = 9;
  return c;
}

// Keep-alive is not what ends a connection there: its probes go on for longer than all cuts
// together.
void outlive_cuts(tcp::ConnectionOptions& o) {
  const Duration longest = Duration::seconds(90);
  const uint32_t probes = uint32_t(longest.ns / o.keepalive_interval.ns) + 1;
  o.keepalive_probes = std::max(o.keepalive_probes, probes);
}

void draw_changes(Draw& d, Scenario& s) {
  if (s.profile == std::string("cuts")) {
    const uint32_t cuts = d.range(1, 4);
    Duration at{};
    for (uint32_t i = 0; i < cuts; ++i) {
      const uint32_t which = d.range(0, 2);  // one direction, the other, both
      at = at + d.log_micros(1'000, 1'500'000);
      const Duration back = at + d.log_micros(10'000, 20'000'000);
      for (uint32_t host = 0; host < 2; ++host) {
        if (which != 2 && which != host) continue;
        s.changes.push_back({at, Change::Kind::kCut, host, 0, {}});
        s.changes.push_back({back, Change::Kind::kMend, host, 0, {}});
      }
      at = back;
    }
    for (ConnectionPlan& c : s.connections) outlive_cuts(c.options);
    for (HostPlan& host : s.hosts) {
      for (ListenerPlan& l : host.listeners) outlive_cuts(l.options);
    }
  }
  if (s.dead_end) {
    const Duration at = d.log_micros(1, 3'000'000);
    for (uint32_t host = 0; host < s.hosts.size(); ++host) {
      s.changes.push_back({at, Change::Kind::kCut, host, 0, {}});
    }
  }
  if (!s.clean && d.chance(10)) {
    const uint32_t host = d.range(0, 1);
    const uint32_t mtu = d.pick({1280u, 1300u, s.v6 ? 1280u : 600u});
    s.changes.push_back({d.log_micros(1'000, 1'000'000),
                         Change::Kind::kMtu,
                         host,
                         std::min(mtu, s.hosts[host].mtu_bytes),
                         {}});
  }
  if (!s.clean && d.chance(10)) {
    const uint32_t mtu = s.v6 ? d.range(1280, 1500) : d.range(552, 1500);
    s.changes.push_back(
        {d.log_micros(1, 1'000'000), Change::Kind::kPathMtu, d.range(0, 1), mtu, {}});
  }
  if (!s.clean && !s.dead_end && d.chance(15)) {
    const uint32_t host = d.range(0, 1);
    s.changes.push_back({d.log_micros(10'000, 1'000'000), Change::Kind::kWeather, host, 0,
                         weather_of(d, s.hostile ? "hostile" : s.profile)});
  }
}

// From a generator of its own: what seeds meant before there was ECN and BBR they still mean.
void draw_marking_and_bbr(Scenario& s) {
  Draw d(s.seed ^ 0x65636e);
  for (ConnectionPlan& c : s.connections) {
    if (d.chance(30)) c.options.congestion = tcp::CongestionControl::kBbr;
  }
  for (HostPlan& host : s.hosts) {
    host.tcp.ecn = d.pick({tcp::Ecn::kOff, tcp::Ecn::kPassive, tcp::Ecn::kPassive, tcp::Ecn::kOn,
                           tcp::Ecn::kOn, tcp::Ecn::kOn});
    host.tcp.mtu_probing = d.pick({tcp::MtuProbing::kOff, tcp::MtuProbing::kOff,
                                   tcp::MtuProbing::kBlackHole, tcp::MtuProbing::kAlways});
    if (d.chance(30)) {
      for (ListenerPlan& l : host.listeners) l.options.congestion = tcp::CongestionControl::kBbr;
    }
    if (!d.chance(50)) continue;
    host.weather.mark = d.chance(50) ? uint32_t(d.log_range(500, 300'000)) : 0;
    host.weather.mark_from_bytes =
        host.weather.queue_bytes ? uint32_t(d.log_range(2'000, host.weather.queue_bytes)) : 0;
  }
}

}  // namespace

Scenario draw_scenario(uint64_t seed) {
  Draw d(seed ^ 0x7363656e6172696f);
  Scenario s;
  s.seed = seed;
  s.profile = d.pick({"clean", "clean", "clean",  "light",  "light",    "light",  "light",
                      "heavy", "heavy", "bursts", "bursts", "reorder",  "rate",   "rate",
                      "rate",  "cuts",  "cuts",   "mixed",  "dead-end", "hostile"});
  const std::string profile = s.profile;
  s.clean = profile == "clean";
  s.dead_end = profile == "dead-end";
  s.hostile = profile == "hostile";
  s.v6 = d.chance(35);
  const uint32_t hosts = d.chance(20) ? 3 : 2;
  for (uint32_t i = 0; i < hosts; ++i) s.hosts.push_back(draw_host(d, profile, s.v6));
  for (HostPlan& host : s.hosts) {
    // A receiver takes what any sender may send.
    for (const HostPlan& other : s.hosts)
      host.frame_bytes = std::max(host.frame_bytes, other.frame_bytes);
    host.pool_frames = host.frame_bytes > 4096 ? 1024 : 4096;
    for (uint16_t port = 80; port < 82; ++port) {
      ListenerPlan l{port,
                     d.chance(20) ? d.range(1, 4) : 128,
                     d.chance(20) ? d.log_micros(10, 500'000) : Duration{},
                     {}};
      draw_connection_options(d, l.options);
      host.listeners.push_back(l);
    }
  }
  // So little memory that buffers cannot be had in full: frames are dropped, nothing may be lost or
  // hang.
  if (d.chance(8)) {
    s.clean = false;
    s.hosts[d.range(0, 1)].pool_frames = uint32_t(d.log_range(64, 512));
  }
  const bool many = d.chance(15);
  // With fewer places a crowd that knocks in step is not let in within the ten tries of a SYN.
  for (HostPlan& host : s.hosts) {
    for (ListenerPlan& l : host.listeners) l.backlog = std::max(l.backlog, many ? 8u : 1u);
  }
  const bool successors = d.chance(25);
  const uint32_t count = many ? d.range(10, 60) : d.range(1, 6);
  const bool big = !many && d.chance(8);
  const uint64_t bytes_max = big ? 4'000'000 / count : many ? 4'000 : 400'000 / count;
  // Windows that such streams can fill.
  for (HostPlan& host : s.hosts) {
    if (!big || d.chance(30)) continue;
    host.tcp.receive_buffer_max_bytes = host.tcp.send_buffer_max_bytes = 4 << 20;
    if (host.pool_frames > 512) host.pool_frames = host.frame_bytes > 4096 ? 2048 : 8192;
  }
  for (uint32_t i = 0; i < count; ++i) {
    ConnectionPlan c = draw_connection(d, i, bytes_max, hosts);
    // Ports that were just used: TIME-WAIT and what is left of the old connection are in the way.
    if (i > 0 && successors && d.chance(50) && !c.simultaneous && !c.refused) {
      const ConnectionPlan& before = s.connections[i - 1];
      c.successor_of = int32_t(i - 1);
      c.client_host = before.client_host, c.server_host = before.server_host;
      c.client_port = before.client_port, c.server_port = before.server_port;
      if (before.simultaneous || before.refused)
        c.successor_of = -1, c.client_port = uint16_t(20'000 + i);
      if (before.simultaneous || before.refused) c.server_port = 80;
    }
    s.connections.push_back(c);
  }
  if (d.chance(40)) {
    s.udp.push_back({0, 1, 30'000, d.range(1, 60), d.chance(50) ? 64u : 1200u,
                     d.log_micros(1, 1'000'000), d.log_micros(1, 100'000)});
  }
  s.ethernet = d.chance(40);
  s.resolve_delay = d.chance(50) ? Duration{} : d.log_micros(10, 50'000);
  draw_changes(d, s);
  draw_marking_and_bbr(s);
  draw_faults(s);
  std::stable_sort(s.changes.begin(), s.changes.end(),
                   [](const Change& a, const Change& b) { return a.at < b.at; });
  return s;
}

}  // namespace millrace::sim
