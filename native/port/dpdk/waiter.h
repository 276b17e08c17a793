// SPDX-License-Identifier: MIT
// A descriptor that polls readable when a device should be looked at. Where the driver has sockets
// or receive interrupts, those; elsewhere a timer that fires often while packets come and less and
// less often while none do, so that an idle program costs next to nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/setup_error.h"
#include "base/time.h"

namespace millrace::dpdk {

class Waiter {
 public:
  Waiter() = default;
  ~Waiter() { close(); }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // `sources` become readable with packets; none: a timer. The sources stay the caller's. Those
  // that only count (eventfd(2)) are read here, all others by who receives.
  // `certain`: they never fail to; else the timer looks as well.
  bool open(std::span<const int> sources, bool certain, SetupError& error);
  void close();
  // The sources are about to be closed: the descriptor never is readable again.
  void rest();
  int fd() const { return epoll_; }
  bool is_timer() const { return timer_ >= 0; }
  // The device is about to be looked at: what was announced until now is no news.
  void look();
  // It was, and there was something or not.
  void looked(bool found);

 private:
  // The pace of the timer: doubled after so many looks in vain.
  static constexpr int64_t kFirstUs = 50;
  static constexpr uint32_t kPaces = 6;  // the last one: 1.6 ms
  static constexpr uint32_t kPatience = 32;

  void set_pace(uint32_t pace);

  std::vector<int> sources_;
  std::vector<int> counting_;
  int epoll_ = -1;
  int timer_ = -1;
  uint32_t pace_ = kPaces;  // not set yet
  uint32_t in_vain_ = 0;
};

}  // namespace millrace::dpdk
