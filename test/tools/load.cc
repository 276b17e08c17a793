// SPDX-License-Identifier: MIT
// Load generator: the same kernel client for both stacks, cheap enough that it is not what is
// measured.
//
//   load <workload> [--host H] [--port P] [--connections N] [--size BYTES] [--inflight N]
//   [--seconds S] [--warmup S]
//                   [--timeout S] [--source ADDRESS]...
//
//   tcp-echo     one message under way on each connection; rate and latency
//   tcp-send     we write, the server counts and answers the count when we end
//   tcp-receive  the server writes, we count
//   connect      connect, one message, its echo, close; over and over, N at a time
//   idle         N connections; then, a line on stdin later, one message on each
//   udp-echo     N datagrams under way on one socket; rate, latency, losses
//   udp-send     as many datagrams as go out
//
// Every workload prints one line of JSON. Echoes are compared with what was sent.
#include "load.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

#include "random.h"

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

namespace load {

[[noreturn]] void fail(const char* what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

uint64_t now_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1000000000u + static_cast<uint64_t>(ts.tv_nsec);
}

Address resolve(const std::string& host, const std::string& port, int type) {
  addrinfo hints{};
  hints.ai_socktype = type;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), port.c_str(), &hints, &list) != 0) {
    errno = EINVAL;
    fail(host.c_str());
  }
  Address address;
  memcpy(&address.storage, list->ai_addr, list->ai_addrlen);
  address.length = list->ai_addrlen;
  freeaddrinfo(list);
  return address;
}

void raise_descriptor_limit(uint32_t wanted) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return;
  rlimit more{wanted, std::max<rlim_t>(limit.rlim_max, wanted)};
  if (setrlimit(RLIMIT_NOFILE, &more) == 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int start_connect(const Address& peer, const std::string& source) {
  const int fd = socket(peer.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int yes = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  if (!source.empty()) {
    const Address local = resolve(source, "0", SOCK_STREAM);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(fd, local.raw(), local.length) != 0) fail("bind");
  }
  if (connect(fd, peer.raw(), peer.length) != 0 && errno != EINPROGRESS) {
    const int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

int connect_or_fail(const Address& peer) {
  const int fd = socket(peer.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int yes = 1;
  if (fd < 0 || connect(fd, peer.raw(), peer.length) != 0) fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  return fd;
}

void fill(uint8_t* bytes, uint32_t length, uint64_t salt) {
  tools::Random random(salt);
  for (uint32_t at = 0; at < length; at += 8) {
    const uint64_t word = random.next();
    memcpy(bytes + at, &word, std::min<uint32_t>(8, length - at));
  }
}

uint32_t Histogram::bucket_of(uint64_t ns) {
  if (ns < kSub) return static_cast<uint32_t>(ns);
  const uint32_t exponent =
      static_cast<uint32_t>(std::bit_width(ns)) - 6;  // 32 <= ns >> exponent < 64
  return std::min((exponent + 1) * kSub + static_cast<uint32_t>(ns >> exponent) - kSub,
                  kBuckets - 1);
}

void Histogram::add(uint64_t ns) {
  ++buckets_[bucket_of(ns)];
  ++count_;
}

double Histogram::quantile_us(double q) const {
  if (count_ == 0) return 0;
  const auto rank = static_cast<uint64_t>(q * static_cast<double>(count_ - 1));
  uint64_t seen = 0;
  for (uint32_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen <= rank) continue;
    if (i < kSub) return i / 1000.0;
    const uint32_t exponent = i / kSub - 1;
    return static_cast<double>(static_cast<uint64_t>(kSub + i % kSub) << exponent) / 1000.0;
  }
  return 0;
}

void print_result(const Histogram& latency, uint64_t messages, double seconds,
                  const std::string& extra) {
  printf(
      "{\"messages\":%lu,\"seconds\":%.3f,\"rate\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"p999_"
      "us\":%.1f%s}\n",
      messages, seconds, static_cast<double>(messages) / seconds, latency.quantile_us(0.5),
      latency.quantile_us(0.99), latency.quantile_us(0.999), extra.c_str());
  fflush(stdout);
}

bool wait_line() {
  char byte = 0;
  for (;;) {
    const ssize_t length = read(0, &byte, 1);
    if (length == 1 && byte == '\n') return true;
    if (length == 0 || (length < 0 && errno != EINTR)) return false;
  }
}

}  // namespace load

namespace {

[[noreturn]] void usage(const char* about) {
  fprintf(stderr,
          "load: %s\nusage: load tcp-echo|tcp-send|tcp-receive|connect|idle|udp-echo|udp-send "
          "[--option value]...\n",
          about);
  exit(2);
}

load::Settings parse(int argc, char** argv) {
  load::Settings settings;
  for (int i = 2; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 >= argc) usage(argv[i]);
    const char* value = argv[i + 1];
    const auto number = static_cast<uint32_t>(strtoul(value, nullptr, 10));
    if (name == "--host")
      settings.host = value;
    else if (name == "--port")
      settings.port = value;
    else if (name == "--connections")
      settings.connections = number;
    else if (name == "--size")
      settings.size_bytes = number;
    else if (name == "--inflight")
      settings.in_flight = number;
    else if (name == "--seconds")
      settings.seconds = strtod(value, nullptr);
    else if (name == "--warmup")
      settings.warmup_seconds = strtod(value, nullptr);
    else if (name == "--timeout")
      settings.timeout_seconds = strtod(value, nullptr);
    else if (name == "--source")
      settings.sources.emplace_back(value);
    else
      usage(argv[i]);
  }
  if (settings.connections == 0 || settings.size_bytes == 0 || settings.in_flight == 0)
    usage("a number must not be 0");
  return settings;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) usage("a workload is needed");
  const load::Settings settings = parse(argc, argv);
  const std::string workload = argv[1];
  if (workload == "tcp-echo") return load::tcp_echo(settings);
  if (workload == "tcp-send") return load::tcp_send(settings);
  if (workload == "tcp-receive") return load::tcp_receive(settings);
  if (workload == "connect") return load::connect_rate(settings);
  if (workload == "idle") return load::idle(settings);
  if (workload == "udp-echo") return load::udp_echo(settings);
  if (workload == "udp-send") return load::udp_send(settings);
  usage(argv[1]);
}
