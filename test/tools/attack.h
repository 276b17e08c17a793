// SPDX-License-Identifier: MIT
// A hostile peer for the end-to-end tests: it makes every frame by hand and answers to addresses
// that no kernel has, so that nothing but the row under way speaks for it. For the namespaces of
// tests only. Everything is bounded: rows say how many packets, and the whole run has a deadline.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "big_endian.h"
#include "random.h"

namespace attack {

using Bytes = std::vector<uint8_t>;

enum Flag : uint8_t { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32 };

using tools::get16;
using tools::get32;
using tools::put16;
using tools::put32;
using tools::sum16;

uint64_t now_us();
void sleep_us(uint32_t us);

// An address of either family.
struct Address {
  bool v6 = false;
  uint8_t bytes[16] = {};
  size_t size() const { return v6 ? 16 : 4; }
  Address plus(uint32_t n) const;  // the n-th after it
  bool operator==(const Address& other) const;
};
Address parse(const char* text);

// Who sends to whom.
struct Path {
  Address from, to;
};

// An IP packet: header by hand, `payload` behind it. The checksums of TCP, UDP and ICMP are the
// caller's.
struct IpOptions {
  uint8_t ttl = 64;
  uint16_t id = 1;
  uint16_t fragment = 0x4000;  // flags and offset, IPv4
  Bytes options;               // IPv4, a multiple of 4
};
Bytes ip_packet(const Path& path, uint8_t protocol, const Bytes& payload,
                const IpOptions& options = {});
// Makes the IPv4 header's checksum right again.
void fix_ip_checksum(Bytes& packet);
void put_checksum(Bytes& transport, size_t at, const Path& path, uint8_t protocol);

struct Tcp {
  uint16_t source = 0, destination = 0;
  uint32_t seq = 0, ack = 0;
  uint8_t flags = kAck;
  uint16_t window = 65535;
  uint16_t urgent = 0;
  Bytes options = {};  // padded with zeros to a multiple of 4
  Bytes payload = {};
};
Bytes tcp_packet(const Path& path, const Tcp& tcp, const IpOptions& ip = {});
Bytes udp_packet(const Path& path, uint16_t source, uint16_t destination, const Bytes& payload,
                 const IpOptions& ip = {});
// An ICMP error of type and code about `quoted`, the beginning of an IP packet that `path.to` sent.
Bytes icmp_error(const Path& path, uint8_t type, uint8_t code, uint32_t argument,
                 const Bytes& quoted);

// What came, taken apart.
struct Received {
  Bytes frame;
  Path path;
  uint8_t protocol = 0;
  Bytes transport;  // header and payload
  // TCP only:
  Tcp tcp;
};

class Peer;

class Wire {
 public:
  // Ends the program when the interface cannot be had.
  Wire(const char* interface, const char* mill_mac);
  ~Wire();
  void send(const Bytes& ip);
  void send_frame(const Bytes& frame);
  Bytes frame_of(const Bytes& ip) const;
  // Takes what comes for `ms`, or until `done` says so; segments go to their Peer, everything goes
  // to `seen`.
  void pump(uint32_t ms, const std::function<bool()>& done = {});
  std::function<void(const Received&)> seen;
  const uint8_t* own_mac() const { return own_; }
  const uint8_t* mill_mac() const { return mill_; }

 private:
  friend class Peer;
  bool read_one();
  int fd_ = -1;
  int ifindex_ = 0;
  uint8_t own_[6], mill_[6];
  std::map<uint16_t, Peer*> peers_;
};

// One TCP connection as the attacker plays it.
class Peer {
 public:
  struct Settings {
    Bytes syn_options = {2, 4, 5, 180};
    uint16_t window = 65535;
    bool answers = true;  // acknowledges what comes
    uint32_t isn = 1000;
  };
  Peer(Wire& wire, const Path& path, uint16_t source, uint16_t destination);
  Peer(Wire& wire, const Path& path, uint16_t source, uint16_t destination, Settings settings);
  Peer(const Peer&) = delete;
  ~Peer();

  bool open(uint32_t ms = 1000);
  // Puts the payload at the stream's end.
  void write(std::string_view text);
  // Any segment; `seq` and `ack` are absolute.
  void segment(const Tcp& tcp);
  Tcp next(uint8_t flags = kAck) const;  // a segment that would be right here and now
  bool wait_for(size_t bytes, uint32_t ms = 1000);
  void acknowledge() { segment(next()); }
  void reset() { segment(next(kRst)); }
  // The bytes come back.
  bool echoes(std::string_view text, uint32_t ms = 1000);

  void on_segment(const Tcp& tcp);
  Settings settings;
  uint32_t snd_nxt = 0, rcv_nxt = 0;
  uint32_t highest = 0;  // right edge of all that came
  std::string received;  // in order
  uint32_t segments = 0, data_segments = 0, pure_acks = 0, resets = 0;
  uint32_t largest = 0, smallest = 0xffff;  // payload of data segments
  uint16_t peer_window = 0;
  uint32_t isn_of_server = 0, server_tsval = 0;
  bool connected = false, fin = false;
  std::function<void(const Tcp&)> on_data;  // before anything is done with it
  const Path path;
  const uint16_t source, destination;

 private:
  Wire& wire_;
};

// What every row is given.
struct Context {
  Wire& wire;
  Path v4, v6;  // from the attacker to the mill
  uint32_t scale = 1;
  tools::Random random{1};
  std::string result;  // JSON members
  uint32_t sent = 0;

  void say(const char* name, uint64_t value);
  void say(const char* name, bool value);
  // Sends and counts; keeps to `per_second` from the moment of the first.
  void paced(const Bytes& ip, uint32_t per_second);
  uint64_t pace_start = 0;
  uint32_t pace_sent = 0;
};

constexpr uint16_t kEcho = 8080, kSource = 8081, kUdpEcho = 8082, kUdpConnected = 8083;

struct Row {
  const char* name;
  void (*run)(Context&);
};
extern const std::vector<Row> kStreamRows, kStateRows, kLoadRows, kPacketRows;

Bytes bytes_of(std::string_view text);

}  // namespace attack
