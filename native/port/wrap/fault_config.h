// SPDX-License-Identifier: MIT
// What the fault wrapper does to frames, as a struct and as the compact text that users write:
//   drop=0.01,reorder=2%,dup=0.01,corrupt=0.001,delay_us=5000,cut
// A rate is a share (0 to 1, or with %). An option counts for both directions unless it is preceded
// by "rx." or "tx."; "drop_at=5" hits the fifth frame once; "seed=7" makes the run repeatable;
// "off" is an empty list.
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
  uint64_t drop_at = 0, duplicate_at = 0, reorder_at = 0, corrupt_at = 0;
  Duration reorder_by = Duration::micros(1000);
  Duration delay{};   // every frame
  Duration jitter{};  // up to so much more
  bool cut = false;   // nothing passes

  bool operator==(const FaultRates&) const = default;
  bool harmless() const {
    return !drop && !duplicate && !reorder && !corrupt && !drop_at && !duplicate_at &&
           !reorder_at && !corrupt_at && delay.ns == 0 && jitter.ns == 0 && !cut;
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
