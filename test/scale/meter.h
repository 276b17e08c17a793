// SPDX-License-Identifier: MIT
// What a thread spends between start() and stop(): CPU time and, where the machine counts them for
// programs, instructions.
#pragma once

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace millrace::scale {

class Meter {
 public:
  Meter() {
    perf_event_attr attributes{};
    attributes.type = PERF_TYPE_HARDWARE;
    attributes.size = sizeof attributes;
    attributes.config = PERF_COUNT_HW_INSTRUCTIONS;
    attributes.exclude_kernel = attributes.exclude_hv = 1;
    counter_ = int(syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0));
    // What measuring itself takes: not the stack's.
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 1000; ++i) {
      reset();
      start();
      stop();
      least = std::min(least, ns_);
    }
    own_ns_ = least;
    reset();
  }
  ~Meter() {
    if (counter_ >= 0) close(counter_);
  }
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  void start() { instructions_from_ = read_instructions(), from_ns_ = cpu_ns(); }
  void stop() {
    const uint64_t spent = cpu_ns() - from_ns_;
    ns_ += spent > own_ns_ ? spent - own_ns_ : 0;
    instructions_ += read_instructions() - instructions_from_;
  }
  void reset() { ns_ = instructions_ = 0; }
  uint64_t ns() const { return ns_; }
  uint64_t instructions() const { return instructions_; }  // 0: not counted here

 private:
  static uint64_t cpu_ns() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return uint64_t(t.tv_sec) * 1'000'000'000 + uint64_t(t.tv_nsec);
  }
  uint64_t read_instructions() const {
    uint64_t value = 0;
    if (counter_ < 0 || read(counter_, &value, sizeof value) != sizeof value) return 0;
    return value;
  }

  int counter_ = -1;
  uint64_t ns_ = 0, instructions_ = 0;
  uint64_t from_ns_ = 0, instructions_from_ = 0, own_ns_ = 0;
};

}  // namespace millrace::scale
