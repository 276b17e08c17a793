// SPDX-License-Identifier: MIT
// What the fault wrapper does to frames, as a struct and as the compact text that users write:
//   drop=0.01,reorder=2%,dup=0.01,corrupt=0.001,delay=0.1,delay_us=5000,cut=0.0001,cut_us=200000
// Every fault comes at a rate, a share of the frames (0 to 1, or with %), or once: "drop_at=5" hits
// the fifth frame. "delay_us" alone delays every frame, "cut" alone lets nothing pass. An option
// counts for both directions unless it is preceded by "rx." or "tx."; "seed=7" makes the run
// repeatable; "off" is an empty list.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"

namespace millrace {

// One direction. Rates in millionths of frames; `_at` counts frames from 1, 0 is none.
struct FaultRates {
  uint32_t drop = 0;
  uint32_t duplicate = 0;
  uint32_t reorder = 0;  // held back by `reorder_by`, so that later frames overtake
  uint32_t corrupt = 0;  // bits flipped so that a checksum notices
  uint32_t delay = 0;    // held back by `delay_by`, and what follows waits behind: order is kept
  uint32_t cut = 0;      // with this frame begins a time of `cut_for` in which nothing passes
  uint64_t drop_at = 0, duplicate_at = 0, reorder_at = 0, corrupt_at = 0, delay_at = 0, cut_at = 0;
  Duration reorder_by = Duration::micros(1000);
  Duration delay_by = Duration::micros(1000);
  Duration cut_for{};  // 0: for ever
  Duration jitter{};   // every frame, up to so much more; later ones may overtake

  bool operator==(const FaultRates&) const = default;
  bool harmless() const {
    return !drop && !duplicate && !reorder && !corrupt && !delay && !cut && !drop_at &&
           !duplicate_at && !reorder_at && !corrupt_at && !delay_at && !cut_at && jitter.ns == 0;
  }
};

struct FaultConfig {
  FaultRates rx, tx;
  uint64_t seed = 1;

  bool operator==(const FaultConfig&) const = default;
  bool harmless() const { return rx.harmless() && tx.harmless(); }
};

struct FaultParse {
  FaultConfig config;
  std::string error;  // empty: understood. Else names the option, its value and what is allowed
};

FaultParse parse_faults(std::string_view text);

}  // namespace millrace
