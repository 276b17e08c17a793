// SPDX-License-Identifier: MIT
// The stack's own limit over port dpdk: two stacks in one process and on one thread, joined by two
// rings (net_ring), so that neither a kernel nor a wire nor JavaScript takes part. Real time, the
// whole way of a packet: protocol, Ethernet, the port's mbufs, a driver, and back.
//   ring [--seconds N]
// Prints for each workload messages per second, and packets in and out of a stack per second of CPU
// time; a packet that one stack sends and the other receives counts twice.
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ring.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock_os.h"
#include "net/ip_layer.h"
#include "port/dpdk/dpdk_port.h"
#include "port/dpdk/eal.h"
#include "tcp/tcp.h"
#include "udp/udp.h"

using namespace millrace;
using wire::IpAddress;

namespace {

constexpr uint32_t kFrames = 16384;
constexpr uint32_t kFrameBytes = 2048;
constexpr uint32_t kConnections = 32;
constexpr uint32_t kMessageBytes = 64;
constexpr uint16_t kPort = 7000;
const IpAddress kAddresses[2] = {IpAddress::v4(0x0a000001), IpAddress::v4(0x0a000002)};

[[noreturn]] void stop(const char* what, const char* why) {
  std::fprintf(stderr, "ring: %s: %s\n", what, why);
  std::exit(1);
}

net::MacAddress mac_of(int end) {
  return {2, 0, 0, 0, 0, uint8_t(end + 1)};
}

int64_t cpu_ns() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

// One stack on one end of the rings, with an application that answers or asks.
class Host final : public tcp::Handler, public udp::Handler {
 public:
  Host(int end, const char* device)
      : pool_(kFrames, kFrameBytes),
        timers_(monotonic_now()),
        random_(Random::from_seed(uint64_t(end) + 1)),
        ip_(pool_, timers_, random_, net::Limits{}) {
    SetupError error;
    dpdk::DeviceSettings settings;
    settings.name = device;
    port_ = dpdk::DpdkPort::open(settings, pool_, error);
    if (!port_) stop("no port", error.text);
    udp_ = std::make_unique<udp::Udp>(pool_, ip_, *this, udp::Options{});
    tcp::StackOptions options;
    options.hold_acks = true;
    tcp_ = std::make_unique<tcp::Tcp>(pool_, ip_, timers_, random_, *this, options);
    ip_.set_handler(6, tcp_.get());
    ip_.set_handler(17, udp_.get());
    index_ = ip_.attach(*port_, {.ifindex = 1, .mac = mac_of(end)}, false);
    ip_.address_changed(1, kAddresses[end], 24, true);
    net::Route route;
    route.destination = IpAddress::v4(0x0a000000);
    route.prefix_length = 24;
    route.ifindex = 1;
    if (ip_.route_changed(route, true)) stop("route", "refused");
    ip_.neighbor_changed(monotonic_now(), 1, kAddresses[1 - end], mac_of(1 - end),
                         net::NeighborState::kReachable);
    auto socket = udp_->bind({kAddresses[end], kPort}, false, 0);
    if (!socket) stop("bind", "refused");
    socket_ = *socket;
    udp_->set_receive_buffer(*socket_, 1 << 22);
  }
  ~Host() override {
    tcp_->close_all(monotonic_now(), false);
    udp_->close_all();
    port_->close();
    ip_.close();
  }

  // The order of a turn of the whole stack.
  void turn() {
    now_ = monotonic_now();
    timers_.advance(now_);
    Frame* frames[64];
    while (const uint32_t n = port_->receive(now_, frames)) ip_.input(now_, index_, {frames, n});
    answer_datagrams();
    for (size_t i = 0; i < readable_.size(); ++i) take(*readable_[i]);
    readable_.clear();
    tcp_->send_held_acks(now_);
    ip_.flush(now_);
  }

  void listen() {
    if (!tcp_->listen({kAddresses[1], kPort}, false, kConnections, {}, 0).ok()) {
      stop("listen", "refused");
    }
  }
  void connect() {
    tcp::ConnectionOptions options = tcp_->defaults();
    options.nodelay = true;
    for (uint32_t i = 0; i < kConnections; ++i) {
      auto connection = tcp_->connect(monotonic_now(), {kAddresses[0], uint16_t(20000 + i)},
                                      {kAddresses[1], kPort}, options, i);
      if (!connection.ok()) stop("connect", "refused");
      connections_.push_back(*connection);
    }
  }
  void ask_by_datagram() { send_datagram({kAddresses[1], kPort}); }
  void ask(uint32_t i) { write(*connections_[i], kMessageBytes); }
  // As much as the connection takes.
  void fill(uint32_t i) {
    tcp::Connection& c = *connections_[i];
    while (written_ - tcp_->acked_bytes(c) < (1u << 20)) {
      const uint32_t bytes = tcp_->payload_mss_bytes(c);
      if (!write(c, bytes)) return;
      written_ += bytes;
    }
  }

  uint32_t connected() const { return connected_; }
  uint64_t frames() const {
    const PortStats s = port_->stats();
    return s.rx_frames + s.tx_frames;
  }
  uint64_t messages = 0;  // answers that came, or whole segments' worth of bytes
  bool answers = false;   // what comes is sent back
  bool asks = false;      // an answer is the reason for the next question
  bool sinks = false;     // what comes is counted

  void on_connected(tcp::Connection&) override { ++connected_; }
  void on_acceptable(tcp::Listener& listener) override {
    while (tcp::Connection* c = tcp_->accept(listener, 0)) {
      tcp_->set_option(now_, *c, tcp::Option::kNodelay, 1);
    }
  }
  void on_readable(tcp::Connection& c) override { readable_.push_back(&c); }
  void on_acked(tcp::Connection&) override {}
  void on_error(tcp::Connection&, Error error) override {
    stop("connection", strerror(error.code));
  }
  void on_readable(udp::Socket&) override {}
  void on_error(udp::Socket&, Error error) override { stop("socket", strerror(error.code)); }

 private:
  void answer_datagrams() {
    for (udp::Datagram d = udp_->receive(*socket_); d.frame; d = udp_->receive(*socket_)) {
      pool_.release(d.frame);
      ++messages;
      if (answers || asks) send_datagram(d.from);
    }
  }
  void send_datagram(const wire::Endpoint& to) {
    Frame* f = pool_.alloc();
    if (!f) stop("memory", "no frame");
    f->length = kMessageBytes;
    std::memset(f->data(), 'x', kMessageBytes);
    static_cast<void>(udp_->send(monotonic_now(), *socket_, f, to));
  }
  bool write(tcp::Connection& c, uint32_t bytes) {
    Frame* f = pool_.alloc();
    if (!f) return false;
    f->length = bytes;
    std::memset(f->data(), 'x', bytes);
    tcp_->write(c, f);
    tcp_->push(now_, c);
    return true;
  }
  void take(tcp::Connection& c) {
    uint8_t bytes[16384];
    while (const uint32_t n = tcp_->read(now_, c, bytes)) {
      messages += sinks ? n : n / kMessageBytes;
      if (answers || asks) write(c, n);
    }
  }

  FramePool pool_;
  TimerWheel timers_;
  Random random_;
  net::IpLayer ip_;
  std::unique_ptr<dpdk::DpdkPort> port_;
  std::unique_ptr<udp::Udp> udp_;
  std::unique_ptr<tcp::Tcp> tcp_;
  udp::Socket* socket_ = nullptr;
  std::vector<tcp::Connection*> connections_;
  std::vector<tcp::Connection*> readable_;
  uint8_t index_ = 0;
  uint32_t connected_ = 0;
  uint64_t written_ = 0;
  Instant now_{};
};

class Pair {
 public:
  explicit Pair(const std::string& name) {
    rte_ring* rings[2];
    for (int i = 0; i < 2; ++i) {
      const std::string ring = name + "_" + std::to_string(i);
      rings[i] = rte_ring_create(ring.c_str(), 4096, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
      if (!rings[i]) stop("no ring", rte_strerror(rte_errno));
    }
    for (int i = 0; i < 2; ++i) {
      const std::string end = name + (i == 0 ? "a" : "b");
      const int port = rte_eth_from_rings(end.c_str(), &rings[i], 1, &rings[1 - i], 1, 0);
      char device[RTE_ETH_NAME_MAX_LEN] = "";
      if (port < 0 || rte_eth_dev_get_name_by_port(uint16_t(port), device) != 0) {
        stop("no device", rte_strerror(rte_errno));
      }
      hosts[i] = std::make_unique<Host>(i, device);
    }
  }
  void turn() {
    hosts[0]->turn();
    hosts[1]->turn();
  }
  uint64_t frames() const { return hosts[0]->frames() + hosts[1]->frames(); }
  std::unique_ptr<Host> hosts[2];
};

// Turns for so long; prints what that was.
template <typename Also>
void measure(const char* name, Pair& pair, double seconds, uint64_t& messages, double unit_bytes,
             Also also) {
  const Instant warm = monotonic_now() + Duration::millis(200);
  while (monotonic_now() < warm) also(), pair.turn();
  const uint64_t frames = pair.frames(), before = messages;
  const int64_t cpu = cpu_ns();
  const Instant start = monotonic_now();
  const Instant end = start + Duration::micros(int64_t(seconds * 1e6));
  while (monotonic_now() < end) also(), pair.turn();
  const double spent = double(cpu_ns() - cpu) / 1e9;
  const double wall = double((monotonic_now() - start).ns) / 1e9;
  const double moved = double(pair.frames() - frames);
  std::printf("%s messages/s %.0f frames/s/core %.0f us/frame %.3f bytes/s %.0f\n", name,
              unit_bytes > 1 ? double(messages - before) / wall : 0, moved / spent,
              spent / moved * 1e6,
              double(messages - before) * (unit_bytes > 1 ? unit_bytes : 1) / wall);
  std::fflush(stdout);
}

void connect(Pair& pair) {
  pair.hosts[1]->listen();
  pair.hosts[0]->connect();
  const Instant patience = monotonic_now() + Duration::seconds(5);
  while (pair.hosts[0]->connected() < kConnections) {
    if (monotonic_now() > patience) stop("connect", "no answer");
    pair.turn();
  }
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 3;
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) != "--seconds" || i + 1 == argc)
      stop("usage", "ring [--seconds N]");
    seconds = std::atof(argv[++i]);
  }
  SetupError error;
  if (!dpdk::start_eal("--vdev=net_null0", false, error)) stop("DPDK", error.text);
  {
    Pair pair("mrudp");
    pair.hosts[1]->answers = pair.hosts[0]->asks = true;
    for (uint32_t i = 0; i < kConnections; ++i) pair.hosts[0]->ask_by_datagram();
    measure("udp", pair, seconds, pair.hosts[0]->messages, kMessageBytes, [] {});
  }
  {
    Pair pair("mrtcp");
    connect(pair);
    pair.hosts[1]->answers = pair.hosts[0]->asks = true;
    for (uint32_t i = 0; i < kConnections; ++i) pair.hosts[0]->ask(i);
    measure("tcp", pair, seconds, pair.hosts[0]->messages, kMessageBytes, [] {});
  }
  {
    Pair pair("mrbulk");
    connect(pair);
    pair.hosts[1]->sinks = true;
    measure("bulk", pair, seconds, pair.hosts[1]->messages, 1, [&] { pair.hosts[0]->fill(0); });
  }
  return 0;
}
