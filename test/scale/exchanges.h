// SPDX-License-Identifier: MIT
// Requests and answers on many connections: what a turn of the stack does with a burst, and nothing
// else, under the meter.
#pragma once

#include "base/random.h"
#include "world.h"

namespace millrace::scale {

// Goes on until `packets` have been received, all from the peers of connections below `busy`, which
// take turns. Returns how many that were.
uint32_t exchange(World& world, uint32_t busy, uint32_t packets, Random& order, Meter& meter);

// The same number of exchanges, of which nothing is left but that each connection's memory is read
// and written once, in the same order and asked for ahead in the same way.
class Lines {
 public:
  explicit Lines(uint32_t connections);
  uint32_t touch(uint32_t packets, Random& order, Meter& meter);

 private:
  uint32_t connections_;
  OsMemory memory_;
};

}  // namespace millrace::scale
