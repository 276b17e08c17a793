// SPDX-License-Identifier: MIT
// Receive queues of a shared interface that no stack has: of one that was killed, or of nobody yet.
// A connection may have moved to such a queue, or its answers come by one. The stack with the
// lowest number opens a socket on each of them, so that exact flows and port blocks hold there (no
// rule by local port does: listeners stay the kernel's on these queues), and sends what comes to
// its own inbox as if it came from the wire; from there it is passed on like anything that has come
// to the wrong stack.
//
// All of it in a thread and in packet memory of its own: a queue must be free at once when a
// newcomer wants it, whatever the program is busy with. Slow, and meant for the few packets that
// have no better way.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/os_memory.h"
#include "port/af_xdp/xsk.h"
#include "steer/xdp_steering.h"

namespace millrace {

class SpareQueues final : public steer::QueueKeeper {
 public:
  // `chunk_bytes`: of packet memory, as the stack's own frames. The steering must outlive it.
  // `device_queues`: how many the interface has.
  static std::unique_ptr<SpareQueues> open(const char* interface, steer::XdpSteering& steering,
                                           uint32_t device_queues, uint32_t chunk_bytes);
  ~SpareQueues() override;

  void give_back(uint32_t wanted) override;
  void take(std::span<const uint32_t> queues) override;
  uint64_t frames() const override { return frames_; }
  uint64_t lost() const override { return lost_; }

 private:
  struct Queue {
    OsMemory memory;
    af_xdp::Xsk xsk;
    uint32_t id = 0;
  };

  SpareQueues(const char* interface, steer::XdpSteering& steering, uint32_t chunk_bytes, int epoll,
              int wake);
  bool add(uint32_t id);
  void run();
  void drain(Queue& queue);

  const std::string interface_;
  steer::XdpSteering& steering_;
  const uint32_t chunk_bytes_;
  int epoll_;
  int wake_;          // an eventfd: the thread is to end
  std::mutex mutex_;  // over the queues
  std::vector<std::unique_ptr<Queue>> queues_;
  steer::FrameOutbox outbox_;
  std::atomic<uint64_t> frames_{0};
  std::atomic<uint64_t> lost_{0};
  std::thread thread_;
};

}  // namespace millrace
