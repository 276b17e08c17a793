// SPDX-License-Identifier: MIT
// A deterministic network under virtual time. It joins any number of SimPorts, each with its own
// frame pool, and does to their frames what real networks do, by the numbers of one seeded
// generator: the same seed and the same calls give the same run to the byte. It holds frames in
// flight as copies of its own, so what a stack does to a frame after sending cannot change what
// arrives. Tests only.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/random.h"
#include "port/port.h"
#include "port/sim/conditions.h"
#include "wire/ip_address.h"

namespace millrace {

class SimPort;

// What became of a frame.
enum class SimEvent : uint8_t {
  kSent,
  kDelivered,
  kLost,
  kLinkDown,
  kTooBig,
  kQueueFull,
  kNoReceiver,
  kNoMemory,
  kDuplicated,
  kReordered,
  kCorrupted,
  kMarked,
  kSplit,
  kNoMapping,
};
const char* sim_event_name(SimEvent event);

class SimObserver {
 public:
  virtual ~SimObserver() = default;
  // `port`: the sender's number, or the receiver's for kDelivered and kNoMemory.
  virtual void on_frame(Instant now, SimEvent event, uint32_t port,
                        std::span<const uint8_t> bytes) = 0;
};

struct SimPortOptions {
  LinkType link = LinkType::kIp;
  uint32_t mtu_bytes = 1500;
  uint32_t rx_headroom = 64;
  // How long the device reads from a frame after transmit(): until then tx_pending is not 0 and the
  // bytes are read at the end, so that a sender who writes too early is found out.
  Duration tx_hold{};
  uint32_t tx_ring_frames = 256;
};

class SimNetwork {
 public:
  SimNetwork(uint64_t seed, uint32_t in_flight_max);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // Belongs to the caller and must be gone before the network. `pool`: the receiving stack's.
  std::unique_ptr<SimPort> add_port(FramePool& pool, const SimPortOptions& options);
  // The conditions for what port `from` sends, from now on; what is in flight is not touched.
  void set_conditions(uint32_t from, const SimConditions& conditions);
  const SimConditions& conditions(uint32_t from) const { return lines_[from].conditions; }
  void set_observer(SimObserver* observer) { observer_ = observer; }
  // The earliest delivery or completion on any port.
  Instant next_event() const;
  uint32_t in_flight() const { return in_flight_; }

 private:
  friend class SimPort;
  struct Flight {
    Instant at;
    uint64_t serial = 0;
    uint32_t slot = 0;
    bool operator>(const Flight& o) const { return at != o.at ? at > o.at : serial > o.serial; }
  };
  struct Line {  // one port's sending direction and what is on its way to it
    SimPort* port = nullptr;
    SimConditions conditions;
    Instant busy_until{};
    uint32_t burst_left = 0;
    Instant burst_until{};
    std::vector<Flight> arriving;  // a heap, the earliest first
  };

  void send(Instant now, uint32_t from, const Frame& frame);
  void deliver_to(Instant now, uint32_t from, uint32_t to, std::span<const uint8_t> bytes);
  void refuse(Instant now, uint32_t from, std::span<const uint8_t> bytes);
  bool lose(Instant now, Line& line);
  bool queue(Line& line, Instant now, size_t bytes, Instant& leaves);
  bool congested(const Line& line, Instant now);
  bool corrupt(Line& line, SimPort& port, std::span<uint8_t> bytes);
  bool translate(uint32_t from, uint32_t to, std::span<uint8_t> bytes);
  void cut_in_two(Instant now, Line& line, uint32_t from, uint32_t slot, Instant at, uint32_t to);
  void put(Instant at, uint32_t to, uint32_t slot);
  uint32_t take_slot(std::span<const uint8_t> bytes);
  // The next frame that has arrived at `to`, or null.
  Frame* arrive(Instant now, uint32_t to, FramePool& pool, uint32_t headroom, PortStats& stats);
  void observe(Instant now, SimEvent event, uint32_t port, std::span<const uint8_t> bytes) {
    if (observer_) observer_->on_frame(now, event, port, bytes);
  }
  void drop_arriving(uint32_t port);

  static constexpr uint32_t kNoSlot = UINT32_MAX;
  Random random_;
  uint32_t in_flight_max_;
  uint32_t in_flight_ = 0;
  uint64_t serial_ = 0;
  Instant now_{};
  SimObserver* observer_ = nullptr;
  std::vector<Line> lines_;
  std::vector<std::vector<uint8_t>> slots_;
  std::vector<uint32_t> free_slots_;
};

class SimPort final : public Port {
 public:
  ~SimPort() override;

  uint32_t number() const { return number_; }
  // Who a frame is for, where more than two ports are joined: by link address on Ethernet (group
  // addresses reach everybody), by IP address on kIp. With two ports everything goes to the other.
  void set_mac(std::span<const uint8_t, 6> mac);
  void add_address(const wire::IpAddress& address) { addresses_.push_back(address); }
  // What the device calls its MTU from now on; the stack learns it from its control plane.
  void set_mtu(uint32_t mtu_bytes) { info_.mtu_bytes = mtu_bytes; }
  // How far the clock of this port's stack is ahead of the network's: what the stack calls now, and
  // hears as next_event(), is that much later.
  void set_clock_ahead(Duration ahead) { ahead_ = ahead; }
  // Frames whose bytes were changed while the device still read them.
  uint64_t changed_while_pending() const { return changed_while_pending_; }

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override { return stats_; }
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override;
  void flush(Instant now) override {}
  Instant next_event() const override;
  bool rx_ready() const override;
  void close() override;

 private:
  friend class SimNetwork;
  struct Pending {
    Frame* frame = nullptr;
    Instant done_at;
    uint64_t hash = 0;
  };
  SimPort(SimNetwork& network, FramePool& pool, uint32_t number, const SimPortOptions& options);
  void complete(Instant now);
  void finish(Instant now, Pending& pending, bool send);
  bool takes(std::span<const uint8_t> bytes, bool& group) const;
  // In the network's time.
  Instant next_network_event() const;

  SimNetwork& network_;
  FramePool& pool_;
  uint32_t number_;
  SimPortOptions options_;
  PortInfo info_;
  PortStats stats_;
  uint64_t changed_while_pending_ = 0;
  Duration ahead_{};
  std::array<uint8_t, 6> mac_{};
  std::vector<wire::IpAddress> addresses_;
  std::vector<Pending> pending_;  // a ring of tx_ring_frames
  uint32_t pending_head_ = 0;
  uint32_t pending_count_ = 0;
  bool closed_ = false;
};

}  // namespace millrace
