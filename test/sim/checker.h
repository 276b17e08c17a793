// SPDX-License-Identifier: MIT
// Watches the wire. Every frame that a stack sends is parsed by code of its own and held against
// the rules that need no knowledge of the sender: checksums, lengths, the peer's window,
// acknowledgements of bytes that exist, timestamps that were really sent, and the content of every
// data byte, first time or retransmitted. All that passes goes into the trace hash.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "port/sim/sim_network.h"
#include "sim/scenario.h"

namespace millrace::sim {

class Checker final : public SimObserver {
 public:
  using Fail = std::function<void(const std::string&)>;
  Checker(const Scenario& scenario, bool verbose, Fail fail);

  void on_frame(Instant now, SimEvent event, uint32_t port,
                std::span<const uint8_t> bytes) override;
  // From now on a SYN between these two opens connection `number`.
  void set_connection(const wire::Endpoint& client, const wire::Endpoint& server, uint32_t number);
  // Something that an application saw.
  void note(Instant now, uint32_t what, uint64_t value);
  uint64_t hash() const { return hash_; }
  uint64_t frames_sent() const { return frames_sent_; }
  uint64_t retransmitted_bytes() const { return retransmitted_bytes_; }
  // A translating box has changed its mappings: connections through it may be anything now.
  void rebound() { rebound_ = true; }
  // The link's MTU of each host, as it is now.
  void set_mtu(uint32_t host, uint32_t mtu_bytes) { mtu_[host] = mtu_bytes; }

 private:
  struct Segment {
    wire::FlowKey flow;  // source first
    uint32_t seq = 0, ack = 0;
    uint8_t flags = 0;
    uint16_t window = 0;
    std::span<const uint8_t> payload;
    bool has_scale = false, has_stamps = false;
    uint8_t scale = 0;
    uint32_t stamp = 0, echo = 0;
    uint16_t mss = 0;
    uint32_t sacks = 0;
    uint32_t sack[4][2] = {};
  };
  // One direction of a connection, from its sender's point of view.
  struct Direction {
    bool known = false;       // a SYN was seen
    uint32_t connection = 0;  // its number in the scenario
    bool from_client = false;
    bool reset = false;
    uint32_t isn = 0;
    // SYN-ACKs with cookies differ from each other: any of them may be the one that counts.
    bool has_other_isn = false;
    uint32_t other_isn = 0;
    uint32_t sent_to = 0;   // highest sequence number sent, exclusive
    uint32_t acked_to = 0;  // highest acknowledgement that this side has sent
    bool acked_any = false;
    uint32_t edge = 0;  // highest right edge that this side has offered
    bool edge_known = false;
    uint32_t later_edge = 0;  // the same, without what SYNs have offered
    bool later_edge_known = false;
    bool reborn = false;  // there was another connection between the same ports before
    uint8_t scale = 0;
    bool scales = false, stamps = false;
    uint16_t mss = 536;
    uint32_t stamp_max = 0;  // latest timestamp sent
    bool fin = false;
    uint32_t fin_seq = 0;
  };

  bool parse(std::span<const uint8_t> packet, Segment& out, std::string& problem);
  bool parse_options(std::span<const uint8_t> options, Segment& out);
  void check_segment(Instant now, uint32_t host, const Segment& s);
  void check_acknowledgement(const Segment& s, Direction& own, Direction& peer);
  static void settle_isn(Direction& d, uint32_t number);
  void find_connection(const wire::FlowKey& flow, Direction& own);
  void check_content(const Segment& s, const Direction& own);
  void print(Instant now, SimEvent event, uint32_t port, std::span<const uint8_t> bytes);
  void mix_in(uint64_t value);

  const Scenario& scenario_;
  bool verbose_;
  Fail fail_;
  uint64_t hash_ = 0;
  uint64_t frames_sent_ = 0;
  uint64_t retransmitted_bytes_ = 0;
  bool rebound_ = false;
  std::vector<uint32_t> mtu_;
  std::map<wire::FlowKey, Direction> directions_;
  std::map<wire::FlowKey, uint32_t> connections_;  // by the client's view of the flow
};

}  // namespace millrace::sim
