// SPDX-License-Identifier: MIT
// A table of exchanges: a connection is brought into a state of RFC 9293 3.3.2 by honest packets,
// then one segment comes, and what the host sends in the next 300 ms is written down. The table is
// the product of states and segments.
#pragma once

#include <string>
#include <vector>

#include "scripts/runner/packet.h"
#include "testing/millrace_testing.h"

namespace millrace::differential {

enum class Place : uint8_t {
  kClosed,
  kListen,
  kSynReceived,
  kSynSent,
  kEstablished,
  kDataSent,
  kUnread,
  kFinWait1,
  kFinWait2,
  kClosing,
  kTimeWait,
  kCloseWait,
  kLastAck,
};
constexpr const char* kPlaceNames[] = {
    "CLOSED",     "LISTEN",     "SYN-RECEIVED", "SYN-SENT",  "ESTABLISHED", "DATA-SENT", "UNREAD",
    "FIN-WAIT-1", "FIN-WAIT-2", "CLOSING",      "TIME-WAIT", "CLOSE-WAIT",  "LAST-ACK"};

// The segment under test. `seq` and `ack` are offsets from what the host expects.
struct Probe {
  const char* name;
  uint8_t flags;
  int seq = 0;
  int ack = 0;
  uint32_t length = 0;
  bool timestamps = false;  // the connection has them, SACK and a window scale
  int ts_offset = 0;        // of the TSval
  bool without_ts = false;  // although agreed
};
extern const std::vector<Probe> kProbes;

class Exchange {
 public:
  Exchange(mrt_stack* stack, uint16_t number, Place place, const Probe& probe);
  ~Exchange();
  // One line: name, then what was sent.
  std::string run();

 private:
  void open();
  void connect();
  void listen();
  void established();
  void closing();
  void send(uint8_t flags, uint32_t length = 0);
  void put(uint32_t seq, uint32_t ack, uint8_t flags, uint32_t length, bool timestamps,
           int ts_offset = 0);
  void probe();
  void collect(int64_t ns);
  std::string describe(const scripts::View& view, int64_t at_ns) const;

  mrt_stack* const stack_;
  const uint16_t host_port_, peer_port_;
  const Place place_;
  const Probe& probe_;
  int listener_ = -1, fd_ = -1;
  uint32_t peer_next_ = 0, peer_isn_ = 0;
  uint32_t host_isn_ = 0, host_next_ = 0;
  bool host_known_ = false;
  uint32_t ts_echo_ = 0;
  int64_t probed_at_ = 0;
  std::string trace_;
};

}  // namespace millrace::differential
