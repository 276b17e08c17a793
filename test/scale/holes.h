// SPDX-License-Identifier: MIT
// Acknowledgements for a long send queue of which every second segment is missing at the peer.
#pragma once

#include "world.h"

namespace millrace::scale {

class Holes {
 public:
  explicit Holes(uint32_t bytes);
  // A new connection with `bytes` in flight. The peer SACKs one segment of two, by one ACK after
  // the other with three blocks that move through the queue; the hole at the front stays. Each ACK
  // of this first pass tells of one segment more and of a hole more. Returns how many they were.
  uint32_t first_pass(Meter& meter);
  // The same ACKs again: they say what is known.
  uint32_t pass(Meter& meter);

 private:
  void fill(Peer& peer, uint32_t bytes);
  uint32_t segments_;
  World world_;
};

}  // namespace millrace::scale
