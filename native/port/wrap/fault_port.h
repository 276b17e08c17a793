// SPDX-License-Identifier: MIT
// A port that behaves badly on purpose: it wraps any other and drops, duplicates, delays, reorders,
// damages or cuts off its frames, each direction by its own seeded numbers. What it holds back is
// bounded; past the bound frames are dropped. With nothing configured it passes straight through.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/random.h"
#include "port/port.h"
#include "port/wrap/complete_packets.h"
#include "port/wrap/fault_config.h"

namespace millrace {

struct FaultStats {
  uint64_t dropped = 0, duplicated = 0, reordered = 0, corrupted = 0, delayed = 0, cut = 0;
  uint64_t overflowed = 0;  // wanted to be held back, and there was no room or no frame
};

class FaultPort final : public Port {
 public:
  // `pool`: the wrapped port's. `held_max`: frames held back in each direction.
  FaultPort(std::unique_ptr<Port> inner, FramePool& pool, const FaultConfig& config,
            uint32_t held_max = 1024);
  ~FaultPort() override;

  // From now on; what is held back is delivered when it was going to be, and a cut is over. A new
  // seed restarts the numbers, and counts of frames begin anew.
  void configure(const FaultConfig& config);
  const FaultConfig& config() const { return config_; }
  const FaultStats& rx_faults() const { return rx_.stats; }
  const FaultStats& tx_faults() const { return tx_.stats; }

  const PortInfo& info() const override { return whole_.info(); }
  PortStats stats() const override { return inner_->stats(); }
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override;
  void flush(Instant now) override;
  int poll_fd() const override { return inner_->poll_fd(); }
  Instant next_event() const override;
  bool rx_ready() const override;
  void close() override;

 private:
  struct Held {
    Instant at;
    uint64_t serial = 0;
    Frame* frame = nullptr;
    bool operator>(const Held& o) const { return at != o.at ? at > o.at : serial > o.serial; }
  };
  struct Side {
    FaultRates rates;
    FaultStats stats;
    uint64_t seen = 0;
    Instant cut_until{};     // nothing passes before
    Instant held_until{};    // nor does anything overtake what is delayed until then
    std::vector<Held> held;  // a heap, the earliest first
  };
  struct Fate {
    bool drop = false, duplicate = false, corrupt = false;
    Duration delay{};
  };

  bool hits(uint32_t rate, uint64_t at, uint64_t number);
  bool is_cut(Instant now, Side& side, uint64_t number);
  Fate decide(Instant now, Side& side);
  void damage(Frame& frame);
  bool hold(Side& side, Frame* frame, Instant at);
  // Takes over the reference; true when the frame is to be handed up at once.
  bool admit_received(Instant now, Frame* frame);
  bool send_now(Instant now, Frame* frame);
  void send_copy(Instant now, const Frame& frame, bool corrupt, Duration delay);
  void release_due(Instant now);
  void release_held(Side& side);

  std::unique_ptr<Port> inner_;
  CompletePackets whole_;
  FramePool& pool_;
  FaultConfig config_;
  Random random_;
  uint32_t held_max_;
  uint64_t serial_ = 0;
  Instant now_{};
  bool closed_ = false;
  Side rx_, tx_;
  std::optional<Fate> refused_;  // of the frame that the wrapped port could not take
};

}  // namespace millrace
