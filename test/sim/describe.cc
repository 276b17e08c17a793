// SPDX-License-Identifier: MIT
// A scenario in words, for the report of a failing seed.
#include <cstdarg>
#include <cstdio>

#include "sim/scenario.h"

namespace millrace::sim {

namespace {
void add(std::string& out, const char* format, ...) {
  char buffer[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(buffer, sizeof(buffer), format, args);
  va_end(args);
  out += buffer;
}

void add_weather(std::string& out, const SimConditions& w) {
  add(out, "delay %lld us", (long long)w.delay.micros());
  if (w.loss) add(out, ", loss %u", w.loss);
  if (w.burst_start) add(out, ", bursts %u of %u", w.burst_start, w.burst_frames);
  if (w.duplicate) add(out, ", dup %u", w.duplicate);
  if (w.reorder) add(out, ", reorder %u by %lld us", w.reorder, (long long)w.reorder_by.micros());
  if (w.corrupt) add(out, ", corrupt %u", w.corrupt);
  if (w.mark) add(out, ", mark %u", w.mark);
  if (w.mark_from_bytes) add(out, ", mark from %u bytes", w.mark_from_bytes);
  if (w.corrupt_hidden) add(out, ", hidden %u", w.corrupt_hidden);
  if (w.split) add(out, ", split %u", w.split);
  if (w.rate_bits_per_s) {
    add(out, ", %.2f Mbit/s queue %u", double(w.rate_bits_per_s) / 1e6, w.queue_bytes);
  }
}

const char* name(Ending ending) {
  static constexpr const char* kNames[] = {"shutdown", "after-peer", "close-written", "abort",
                                           "close-unread"};
  return kNames[size_t(ending)];
}

void add_endpoint(std::string& out, const char* who, const EndpointPlan& e) {
  add(out, "\n      %s: sends %llu by %u", who, (unsigned long long)e.send_bytes,
      e.write_bytes_max);
  if (e.echo) add(out, " echo");
  if (e.lockstep) add(out, " lockstep");
  if (e.early) add(out, " early");
  if (e.fidget) add(out, " fidgets %u", e.fidget);
  if (e.after_end) add(out, " after-end");
  if (e.push_each) add(out, " push-each");
  if (e.write_pause.ns) add(out, " pause %lld us", (long long)e.write_pause.micros());
  add(out, ", reads by %u", e.read_bytes_max);
  if (e.read_pace.ns) add(out, " every %lld us", (long long)e.read_pace.micros());
  for (const ReadPause& p : e.read_pauses) {
    add(out, " (stops %lld ms at %llu)", (long long)p.length.millis(),
        (unsigned long long)p.at_offset);
  }
  add(out, ", %s", name(e.ending));
  if (e.ending >= Ending::kAbort) add(out, " at %llu", (unsigned long long)e.end_at);
}
}  // namespace

std::string describe(const Scenario& s) {
  std::string out;
  add(out, "  profile %s, IPv%d, %s", s.profile, s.v6 ? 6 : 4, s.ethernet ? "Ethernet" : "IP link");
  for (size_t i = 0; i < s.hosts.size(); ++i) {
    const HostPlan& h = s.hosts[i];
    add(out, "\n    host %zu: mtu %u, pool %u x %u, tx hold %lld us ring %u, busy %u for %lld us",
        i, h.mtu_bytes, h.pool_frames, h.frame_bytes, (long long)h.tx_hold.micros(),
        h.tx_ring_frames, h.busy_chance, (long long)h.busy_for.micros());
    add(out, "\n      rcvbuf %u..%u, sndbuf %u..%u, half-open %u, time-wait %lld ms\n      ",
        h.tcp.receive_buffer_bytes, h.tcp.receive_buffer_max_bytes, h.tcp.send_buffer_bytes,
        h.tcp.send_buffer_max_bytes, h.tcp.half_open_max, (long long)h.tcp.time_wait.millis());
    add_weather(out, h.weather);
    for (const ListenerPlan& l : h.listeners) {
      add(out, "\n      listens on %u, backlog %u, accepts after %lld us", l.port, l.backlog,
          (long long)l.accept_delay.micros());
    }
  }
  for (size_t i = 0; i < s.connections.size(); ++i) {
    const ConnectionPlan& c = s.connections[i];
    add(out, "\n    connection %zu: host %u:%u -> host %u:%u at %lld us%s %s", i, c.client_host,
        c.client_port, c.server_host, c.server_port, (long long)c.start.micros(),
        c.options.nodelay ? " nodelay" : "", tcp::name_of(c.options.congestion));
    if (c.simultaneous) add(out, " simultaneous");
    if (c.successor_of >= 0) add(out, " after connection %d", c.successor_of);
    if (c.refused) add(out, " refused");
    add_endpoint(out, "client", c.client);
    add_endpoint(out, "server", c.server);
  }
  for (const Change& c : s.changes) {
    static constexpr const char* kNames[] = {"cut",     "mended",      "weather",
                                             "mtu",     "path mtu",    "clock jumps",
                                             "rebinds", "frames left", "frames back"};
    add(out, "\n    at %lld us host %u: %s ", (long long)c.at.micros(), c.host,
        kNames[size_t(c.kind)]);
    if (c.mtu_bytes) add(out, "%u", c.mtu_bytes);
    if (c.value) add(out, "%u", c.value);
    if (c.jump.ns) add(out, "by %lld ms", (long long)c.jump.millis());
    if (c.kind == Change::Kind::kWeather) add_weather(out, c.weather);
  }
  out += "\n";
  return out;
}

}  // namespace millrace::sim
