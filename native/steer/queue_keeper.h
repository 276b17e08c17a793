// SPDX-License-Identifier: MIT
// Who looks after receive queues of a shared interface that no stack has.
#pragma once

#include <cstdint>
#include <span>

namespace millrace::steer {

// Told from a thread of the steering's.
class QueueKeeper {
 public:
  virtual ~QueueKeeper() = default;
  // Somebody comes who wants so many of them (0: all): they must be free when this returns.
  virtual void give_back(uint32_t wanted) = 0;
  // These have neither an owner nor a keeper.
  virtual void take(std::span<const uint32_t> queues) = 0;
  // Packets that came by them, and those of them that were lost on the way.
  virtual uint64_t frames() const = 0;
  virtual uint64_t lost() const = 0;
};

}  // namespace millrace::steer
