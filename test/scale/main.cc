// SPDX-License-Identifier: MIT
// What one packet costs the stack, by the number of connections that it holds, and what one ACK
// costs by the length of a send queue full of holes. One thread, virtual time, hand-made packets;
// the CPU time and, where the machine counts them, the instructions of the stack alone are
// measured.
//   scale [--packets N]
// "busy": all connections take turns, so that at 100,000 nearly every one is cold in the caches.
// "lines": what of that nobody can avoid: as much memory as those connections' segments touch, in
// the same order and asked for ahead in the same way, by a loop that does nothing else. So much the
// last connection would cost more than the first if the protocol itself cost nothing.
// "idle": ten are busy and the rest only there, with their timers; this shows the algorithms.
// "sacks": an ACK that SACKs one segment more, by the bytes in flight of which every second is
// missing; "holes": one that says again what is known.
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "base/os_memory.h"
#include "base/prefetch.h"
#include "net/ip_layer.h"
#include "port/port.h"
#include "tcp/connection.h"
#include "tcp/tcp.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/tcp_header.h"

using namespace millrace;
using wire::IpAddress;
using wire::Seq;

namespace {

constexpr uint32_t kBatch = 64;
constexpr uint32_t kBytes = 100;
const IpAddress kHere = IpAddress::v4(0x0a000001);

// Takes everything at once, as a card whose ring is never full.
class Sink final : public Port {
 public:
  Sink() {
    info_.link = LinkType::kIp;
    info_.mtu_bytes = 1500;
  }
  const PortInfo& info() const override { return info_; }
  PortStats stats() const override { return {}; }
  uint32_t receive(Instant, std::span<Frame*>) override { return 0; }
  uint32_t transmit(Instant, std::span<Frame* const> frames) override {
    sent += uint32_t(frames.size());
    return uint32_t(frames.size());
  }
  void flush(Instant) override {}
  bool rx_ready() const override { return false; }
  void close() override {}
  uint64_t sent = 0;

 private:
  PortInfo info_;
};

// CPU time and instructions of this thread, between start() and stop().
class Meter {
 public:
  Meter() {
    perf_event_attr attributes{};
    attributes.type = PERF_TYPE_HARDWARE;
    attributes.size = sizeof attributes;
    attributes.config = PERF_COUNT_HW_INSTRUCTIONS;
    attributes.exclude_kernel = attributes.exclude_hv = 1;
    counter_ = int(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
    // What measuring itself takes: not the stack's.
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 100; ++i) {
      const uint64_t before = ns;
      start();
      stop();
      least = std::min(least, ns - before);
    }
    own_ns_ = least;
    ns = count = 0;
  }
  ~Meter() {
    if (counter_ >= 0) close(counter_);
  }
  void start() { instructions_from_ = instructions(), from_ns_ = cpu_ns(); }
  void stop() {
    const uint64_t spent = cpu_ns() - from_ns_;
    ns += spent > own_ns_ ? spent - own_ns_ : 0;
    count += instructions() - instructions_from_;
  }
  uint64_t ns = 0, count = 0;

 private:
  static uint64_t cpu_ns() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec);
  }
  uint64_t instructions() const {
    uint64_t value = 0;
    if (counter_ < 0 || read(counter_, &value, sizeof value) != sizeof value) return 0;
    return value;
  }
  int counter_ = -1;
  uint64_t from_ns_ = 0, instructions_from_ = 0, own_ns_ = 0;
};

struct Peer {
  tcp::Connection* connection = nullptr;
  uint32_t next = 1, acked = 1;  // our number, and the host's
};

struct World final : tcp::Handler {
  World(uint32_t connections, uint32_t frames, uint32_t mtu = 1500)
      : pool(frames, 2048),
        wheel(now, 2 * connections + 8192),
        ip(pool, wheel, random, net::Limits{}),
        tcp(std::make_unique<tcp::Tcp>(pool, ip, wheel, random, *this, options(connections))) {
    ip.attach(port, {.ifindex = 1, .mtu_bytes = mtu, .up = true}, true);
    ip.address_changed(1, kHere, 24, true);
    net::Route route;
    route.destination = IpAddress::v4(0);
    route.ifindex = 1;
    MR_ASSERT(!ip.route_changed(route, true));
    ip.set_handler(6, tcp.get());
    auto l = tcp->listen({kHere, 80}, false, 1024, {}, 0);
    MR_ASSERT(l.ok());
    listener = *l;
    for (uint32_t i = 0; i < connections; ++i) open(i);
  }
  ~World() override {
    tcp->close_all(now, false);
    ip.set_handler(6, nullptr);
    tcp.reset();
    ip.close();
  }
  static tcp::StackOptions options(uint32_t connections) {
    tcp::StackOptions o;
    o.connections_max = connections + 16;
    o.fixed_isn = true;
    o.send_buffer_max_bytes = o.send_buffer_bytes = 16 << 20;
    return o;
  }
  Frame* segment(uint32_t i, uint8_t flags, uint32_t seq, uint32_t ack, uint32_t length,
                 wire::TcpOptions o = {}) {
    Frame* f = pool.alloc(64);
    MR_ASSERT(f);
    o.has_timestamps = true;
    o.ts_value = uint32_t(now.ns / 1'000'000), o.ts_echo = o.ts_value;
    const uint32_t header = 20 + wire::tcp_options_bytes(o);
    f->length = 20 + header + length;
    const IpAddress from = IpAddress::v4(0x0b000000 + i / 50'000);
    wire::build_tcp_header(f->data() + 20,
                           {.source_port = uint16_t(10'000 + i % 50'000),
                            .destination_port = 80,
                            .seq = Seq(seq),
                            .ack = Seq(ack),
                            .window = 65535,
                            .header_bytes = uint8_t(header),
                            .flags = flags},
                           o);
    std::memset(f->data() + 20 + header, 'x', length);
    const std::span<uint8_t> bytes(f->data() + 20, header + length);
    const uint64_t pseudo = wire::checksum_pseudo(from, kHere, 6, header + length);
    const uint16_t sum = wire::checksum_finish(wire::checksum_partial(bytes, pseudo));
    std::memcpy(f->data() + 20 + wire::kTcpChecksumOffset, &sum, 2);
    wire::build_ipv4(f->data(), {.total_bytes = uint16_t(f->length), .ttl = 64, .protocol = 6},
                     from, kHere);
    return f;
  }
  void open(uint32_t i) {
    wire::TcpOptions syn;
    syn.has_mss = syn.sack_permitted = syn.has_window_scale = true;
    syn.mss_bytes = 1460, syn.window_scale = 10;
    ip.input(now, 0, segment(i, wire::kTcpSyn, 0, 0, 0, syn));
    ip.flush(now);
    ip.input(now, 0, segment(i, wire::kTcpAck, 1, 1, 0));
    Peer p;
    p.connection = tcp->accept(*listener, i);
    MR_ASSERT(p.connection);
    peers.push_back(p);
    ip.flush(now);
  }
  // A request of 100 bytes and its answer for each of `who`, then the ACKs of the answers.
  void exchange(std::span<const uint32_t> who, Meter& meter) {
    Frame* batch[kBatch];
    for (size_t k = 0; k < who.size(); ++k) {
      Peer& p = peers[who[k]];
      batch[k] = segment(who[k], wire::kTcpAck | wire::kTcpPsh, p.next, p.acked, kBytes);
      p.next += kBytes;
    }
    uint8_t buffer[256];
    meter.start();
    wheel.advance(now);
    ip.input(now, 0, {batch, who.size()});
    for (const uint32_t i : who) {
      const uint32_t got = tcp->read(now, *peers[i].connection, buffer);
      MR_ASSERT(got == kBytes);
      Frame* answer = pool.alloc();
      answer->length = got;
      std::memcpy(answer->data(), buffer, got);
      tcp->write(*peers[i].connection, answer);
      tcp->push(now, *peers[i].connection);
    }
    ip.flush(now);
    meter.stop();
    now = now + Duration::micros(50);
    for (size_t k = 0; k < who.size(); ++k) {
      Peer& p = peers[who[k]];
      p.acked += kBytes;
      batch[k] = segment(who[k], wire::kTcpAck, p.next, p.acked, 0);
    }
    meter.start();
    wheel.advance(now);
    ip.input(now, 0, {batch, who.size()});
    ip.flush(now);
    meter.stop();
    now = now + Duration::micros(50);
  }
  void on_connected(tcp::Connection&) override {}
  void on_acceptable(tcp::Listener&) override {}
  void on_readable(tcp::Connection&) override {}
  void on_acked(tcp::Connection&) override {}
  void on_error(tcp::Connection&, Error) override {}

  Instant now{1'000'000'000};
  Random random = Random::from_seed(5);
  FramePool pool;
  TimerWheel wheel;
  net::IpLayer ip;
  Sink port;
  std::unique_ptr<tcp::Tcp> tcp;
  tcp::Listener* listener = nullptr;
  std::vector<Peer> peers;
};

struct Cost {
  double ns = 0, instructions = 0;
};

constexpr int kRounds = 6;  // the first warms up

// Who takes part in an exchange: up to kBatch of `busy`, far from each other.
std::span<const uint32_t> choose(Random& order, uint32_t busy, std::span<uint32_t> who) {
  const uint32_t first = order.below(busy);
  for (size_t k = 0; k < who.size(); ++k) who[k] = (first + uint32_t(k) * 7919) % busy;
  std::sort(who.begin(), who.end());
  return {who.data(), size_t(std::unique(who.begin(), who.end()) - who.begin())};
}

void keep_best(Cost& best, const Meter& meter, uint32_t packets) {
  best.ns = std::min(best.ns, double(meter.ns) / packets);
  best.instructions = std::min(best.instructions, double(meter.count) / packets);
}

// Per received packet; two for each exchange. The best of five: what disturbs only ever adds.
Cost cost_of(World& w, uint32_t busy, uint32_t packets) {
  Random order = Random::from_seed(9);
  std::vector<uint32_t> who(std::min(busy, kBatch));
  Cost best{1e9, 1e9};
  for (int round = 0; round < kRounds; ++round) {
    Meter meter;
    uint32_t done = 0;
    while (done < packets / kRounds) {
      const auto chosen = choose(order, busy, who);
      w.exchange(chosen, meter);
      done += 2 * uint32_t(chosen.size());
    }
    if (round > 0) keep_best(best, meter, done);
  }
  return best;
}

// The same exchanges, of which nothing is left but that each connection's lines are read and
// written once.
Cost cost_of_lines(uint32_t connections, uint32_t packets) {
  constexpr size_t kStride = sizeof(tcp::Connection);
  constexpr size_t kHot = tcp::Connection::kHotBytes;
  constexpr size_t kAhead = 6;
  const OsMemory memory(connections * kStride, OsMemory::Pages::kHugeLater);
  std::memset(memory.data(), 1, memory.size());
  Random order = Random::from_seed(9);
  std::vector<uint32_t> who(std::min(connections, kBatch));
  Cost best{1e9, 0};
  for (int round = 0; round < kRounds; ++round) {
    Meter meter;
    uint32_t done = 0;
    while (done < packets / kRounds) {
      const auto chosen = choose(order, connections, who);
      meter.start();
      for (size_t k = 0; k < chosen.size(); ++k) {
        const size_t ahead = std::min(k + kAhead, chosen.size() - 1);
        prefetch(memory.data() + chosen[ahead] * kStride, kHot);
        volatile uint8_t* c = memory.data() + chosen[k] * kStride;
        for (size_t at = 0; at < kHot; at += kCacheLineBytes) c[at] = uint8_t(c[at] + 1);
      }
      meter.stop();
      done += 2 * uint32_t(chosen.size());
    }
    if (round > 0) best.ns = std::min(best.ns, double(meter.ns) / done);
  }
  return best;
}

struct Holes {
  Cost fresh, repeated;
};

// A queue of `bytes` in flight of which every second segment is SACKed, by one ACK after the other
// with three blocks that move through it. The hole at the front stays.
Holes cost_of_holes(uint32_t bytes, uint32_t acks) {
  const uint32_t segments = bytes / 1448;
  World w(1, 2 * segments + 8192);
  Peer& p = w.peers[0];
  // The congestion window opens by ACKs only, as in life.
  uint32_t written = 0, sent = 0;
  while (true) {
    while (written - (p.acked - 1) + 1448 <= bytes) {
      Frame* f = w.pool.alloc();
      f->length = 1448;
      std::memset(f->data(), 'y', 1448);
      w.tcp->write(*p.connection, f);
      written += 1448;
    }
    w.tcp->push(w.now, *p.connection);
    w.ip.flush(w.now);
    w.now = w.now + Duration::millis(1);
    sent = uint32_t(w.tcp->info(*p.connection).bytes_sent);
    if (sent == written) break;  // all of it is in flight
    p.acked = sent + 1;
    w.ip.input(w.now, 0, w.segment(0, wire::kTcpAck, p.next, p.acked, 0));
  }
  // ACKs `from` to `to` of a pass through the queue.
  const auto acknowledge = [&](uint32_t from, uint32_t to, Meter& meter) {
    Frame* batch[kBatch];
    for (uint32_t at = from; at < to; ++at) {
      wire::TcpOptions o;
      o.sack_count = 3;
      for (uint8_t k = 0; k < 3; ++k) {
        const uint32_t segment = (at + 2 - k) % (segments / 2) * 2 + 1;
        o.sack[k] = {Seq(p.acked + segment * 1448), Seq(p.acked + (segment + 1) * 1448)};
      }
      batch[at - from] = w.segment(0, wire::kTcpAck, p.next, p.acked, 0, o);
    }
    meter.start();
    for (uint32_t n = 0; n < to - from; ++n) w.ip.input(w.now, 0, batch[n]);
    w.ip.flush(w.now);
    meter.stop();
  };
  const uint32_t pass = segments / 2 - 1;
  const auto go_through = [&](Meter& meter) {
    for (uint32_t at = 0; at < pass; at += kBatch) {
      acknowledge(at, std::min(at + kBatch, pass), meter);
    }
  };
  Holes best{{1e9, 1e9}, {1e9, 1e9}};
  Meter first;
  go_through(first);
  keep_best(best.fresh, first, pass);
  const uint32_t passes = std::max(acks / pass / kRounds, 1u);
  for (int round = 0; round < kRounds; ++round) {
    Meter meter;
    for (uint32_t n = 0; n < passes; ++n) go_through(meter);
    keep_best(best.repeated, meter, passes * pass);
  }
  return best;
}

// The best of several, each with a queue of its own: the blocks are new only once.
Holes best_of_holes(uint32_t bytes, uint32_t acks, int worlds) {
  Holes best{{1e9, 1e9}, {1e9, 1e9}};
  for (int i = 0; i < worlds; ++i) {
    const Holes h = cost_of_holes(bytes, acks / uint32_t(worlds));
    best.fresh.ns = std::min(best.fresh.ns, h.fresh.ns);
    best.fresh.instructions = std::min(best.fresh.instructions, h.fresh.instructions);
    best.repeated.ns = std::min(best.repeated.ns, h.repeated.ns);
    best.repeated.instructions = std::min(best.repeated.instructions, h.repeated.instructions);
  }
  return best;
}

void print(const char* what, uint32_t size, const Cost& c, const Cost& base) {
  std::printf("%-6s %9u  %7.0f ns (%.2f x)", what, size, c.ns, c.ns / base.ns);
  if (base.instructions > 0) {  // not every machine lets programs count them
    std::printf("  %7.0f instructions (%.2f x)", c.instructions,
                c.instructions / base.instructions);
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  uint32_t packets = 1'200'000;
  if (argc == 3 && std::string_view(argv[1]) == "--packets") packets = uint32_t(std::atoi(argv[2]));
  if (packets < 6000 || argc == 2 || argc > 3) {
    std::fprintf(stderr, "usage: scale [--packets N (from 6000 on)]\n");
    return 2;
  }
  Cost busy_base, idle_base;
  std::printf("each: the cost of a packet, and by how much it exceeds that at the smallest size\n");
  for (const uint32_t connections : {10u, 1'000u, 100'000u}) {
    World w(connections, 16'384);
    const Cost busy = cost_of(w, connections, packets), idle = cost_of(w, 10, packets);
    if (connections == 10) busy_base = busy, idle_base = idle;
    print("busy", connections, busy, busy_base);
    std::printf("lines  %9u  %7.0f ns\n", connections, cost_of_lines(connections, packets).ns);
    print("idle", connections, idle, idle_base);
  }
  const Holes small = best_of_holes(100'000, packets / 5, 50);
  const Holes large = best_of_holes(10'000'000, packets / 5, 5);
  print("sacks", 100'000, small.fresh, small.fresh);
  print("sacks", 10'000'000, large.fresh, small.fresh);
  print("holes", 100'000, small.repeated, small.repeated);
  print("holes", 10'000'000, large.repeated, small.repeated);
  return 0;
}
