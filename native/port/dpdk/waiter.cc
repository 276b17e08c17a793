// SPDX-License-Identifier: MIT
#include "port/dpdk/waiter.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace millrace::dpdk {

namespace {

bool only_counts(int fd) {
  char path[64], target[64];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(path, target, sizeof(target));
  return n > 0 && std::string_view(target, size_t(n)) == "anon_inode:[eventfd]";
}

}  // namespace

bool Waiter::open(std::span<const int> sources, bool certain, SetupError& error) {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  bool ready = epoll_ >= 0;
  const auto watch = [this](int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    return epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
  };
  for (size_t i = 0; ready && i < sources.size(); ++i) {
    ready = watch(sources[i]);
    sources_.push_back(sources[i]);
    if (only_counts(sources[i])) counting_.push_back(sources[i]);
  }
  if (ready && (sources.empty() || !certain)) {
    timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    ready = timer_ >= 0 && watch(timer_);
    if (ready) set_pace(0);
  }
  if (ready) return true;
  error.set(errno, "cannot make a descriptor to wait for packets: %s", std::strerror(errno));
  close();
  return false;
}

void Waiter::close() {
  if (timer_ >= 0) ::close(timer_);
  if (epoll_ >= 0) ::close(epoll_);
  timer_ = epoll_ = -1;
  sources_.clear();
  counting_.clear();
}

void Waiter::rest() {
  for (const int fd : sources_) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
  if (timer_ >= 0) ::close(timer_);
  timer_ = -1;
  sources_.clear();
  counting_.clear();
}

void Waiter::set_pace(uint32_t pace) {
  in_vain_ = 0;
  if (pace == pace_) return;
  pace_ = pace;
  itimerspec time{};
  time.it_interval.tv_nsec = (kFirstUs << pace) * 1000;
  time.it_value = time.it_interval;
  timerfd_settime(timer_, 0, &time, nullptr);
}

void Waiter::look() {
  uint64_t count;
  for (const int fd : counting_) static_cast<void>(!read(fd, &count, sizeof(count)));
}

void Waiter::looked(bool found) {
  if (timer_ < 0) return;
  if (found) {
    set_pace(0);
    return;
  }
  uint64_t ticks;
  // Only looks that the timer asked for count: a loop that turns for other reasons is no idleness.
  if (read(timer_, &ticks, sizeof(ticks)) != ssize_t(sizeof(ticks))) return;
  if (++in_vain_ >= kPatience && pace_ + 1 < kPaces) set_pace(pace_ + 1);
}

}  // namespace millrace::dpdk
