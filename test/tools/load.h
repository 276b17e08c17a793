// SPDX-License-Identifier: MIT
// What the workloads of the load generator share: settings, clock, latency histogram, socket
// helpers. Plain kernel sockets only; it must not know anything of the stack under test.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

namespace load {

struct Settings {
  std::string host = "127.0.0.1";
  std::string port = "7000";
  uint32_t connections = 1;
  uint32_t size_bytes = 64;
  uint32_t in_flight = 64;
  double seconds = 3;
  double warmup_seconds = 0.5;
  double timeout_seconds = 30;
  std::vector<std::string> sources;  // local addresses to connect from, in turn
};

/** A socket address of either family. */
struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* raw() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

[[noreturn]] void fail(const char* what);

uint64_t now_ns();

Address resolve(const std::string& host, const std::string& port, int type);

/** Allows as many descriptors as the machine lets us have. */
void raise_descriptor_limit(uint32_t wanted);

/** A non-blocking TCP connection under way (TCP_NODELAY), or -1 with errno. `source` may be empty.
 */
int start_connect(const Address& peer, const std::string& source);

/** A connected, blocking TCP connection; ends the program when there is none. */
int connect_or_fail(const Address& peer);

/** Fills with bytes that depend on `salt`, so that a message of another connection or time does not
 * pass for this one. */
void fill(uint8_t* bytes, uint32_t length, uint64_t salt);

/** Latencies in log-linear buckets of 1/32: an error of at most about 3 %. */
class Histogram {
 public:
  Histogram() : buckets_(kBuckets, 0) {}
  void add(uint64_t ns);
  double quantile_us(double q) const;
  uint64_t count() const { return count_; }

 private:
  static constexpr uint32_t kSub = 32;
  static constexpr uint32_t kBuckets = 64 * kSub;
  static uint32_t bucket_of(uint64_t ns);
  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0;
};

/** Prints {"messages":..,"seconds":..,"rate":..,"p50_us":..,...,<extra>} */
void print_result(const Histogram& latency, uint64_t messages, double seconds,
                  const std::string& extra);

/** Waits for a line on stdin; false at its end. */
bool wait_line();

int tcp_echo(const Settings& settings);
int tcp_send(const Settings& settings);
int tcp_receive(const Settings& settings);
int connect_rate(const Settings& settings);
int idle(const Settings& settings);
int udp_echo(const Settings& settings);
int udp_send(const Settings& settings);

}  // namespace load
