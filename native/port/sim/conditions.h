// SPDX-License-Identifier: MIT
// The weather on one direction of a simulated link. Rates are in millionths of frames.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace millrace {

struct SimConditions {
  bool up = true;             // false: everything sent vanishes
  uint32_t loss = 0;          // each frame on its own
  uint32_t burst_start = 0;   // a burst of losses begins with this frame
  uint32_t burst_frames = 0;  // mean length of a burst
  Duration burst_for{};       // a burst ends after this time, however few frames came; 0: does not
  uint32_t duplicate = 0;
  uint32_t reorder = 0;  // the frame is held back for up to `reorder_by` more
  Duration reorder_by{};
  uint32_t early = 0;           // the frame does not wait for `delay`, as with netem's "reorder"
  uint32_t corrupt = 0;         // bits flipped inside one 16-bit word: every checksum notices
  uint32_t corrupt_hidden = 0;  // two words exchanged: no Internet checksum can notice (RFC 1071)
  uint32_t split = 0;           // a box cuts the TCP segment in two (middlebox.h)
  uint16_t nat_shift = 0;       // ports of this side's clients show that much higher outside
  Duration delay{};
  uint32_t mark = 0;             // CE on packets that can be marked (RFC 3168)
  uint32_t mark_from_bytes = 0;  // and on all that find so much waiting for the line; 0: never
  uint64_t rate_bits_per_s = 0;  // 0: unlimited
  uint32_t queue_bytes = 0;      // waiting for the line; 0: unlimited. Past it the tail is dropped
  uint32_t mtu_bytes = 65536;    // larger frames vanish (a link header is not counted)
  bool answer_too_big = false;   // and the sender is told so by ICMP, after `delay`
};

}  // namespace millrace
