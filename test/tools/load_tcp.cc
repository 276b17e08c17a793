// SPDX-License-Identifier: MIT
// TCP workloads with messages: echo, connection rate, idle connections.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "load.h"

namespace load {
namespace {

constexpr int kEventsMax = 256;

/** One connection of a closed loop: a message goes out, its echo comes back, the next goes out. */
struct Caller {
  int fd = -1;
  bool connected = false;
  uint64_t sent_ns = 0;
  uint32_t received = 0;
  std::vector<uint8_t> message;
};

struct Outcome {
  uint64_t messages = 0;
  uint64_t mismatches = 0;
  uint64_t errors = 0;
  int first_errno = 0;

  void error(int number) {
    ++errors;
    if (first_errno == 0) first_errno = number;
  }
  std::string json() const {
    return ",\"mismatches\":" + std::to_string(mismatches) +
           ",\"errors\":" + std::to_string(errors) + ",\"first_error\":\"" +
           (first_errno == 0 ? "" : strerror(first_errno)) + "\"";
  }
  int code() const { return mismatches == 0 && errors == 0 ? 0 : 1; }
};

enum class Reading { kMore, kWhole, kFailed };

/** Sends the message; a small message on an idle connection always fits. */
bool send_message(Caller& caller) {
  caller.received = 0;
  caller.sent_ns = now_ns();
  return send(caller.fd, caller.message.data(), caller.message.size(), MSG_NOSIGNAL) ==
         static_cast<ssize_t>(caller.message.size());
}

/** Reads what is there of the echo and compares it. */
Reading read_echo(Caller& caller, Outcome& outcome) {
  uint8_t buffer[65536];
  const size_t left = caller.message.size() - caller.received;
  const ssize_t length = recv(caller.fd, buffer, std::min(left, sizeof buffer), 0);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return Reading::kMore;
  if (length <= 0) {
    outcome.error(length == 0 ? EPIPE : errno);
    return Reading::kFailed;
  }
  if (memcmp(buffer, caller.message.data() + caller.received, static_cast<size_t>(length)) != 0)
    ++outcome.mismatches;
  caller.received += static_cast<uint32_t>(length);
  return caller.received == caller.message.size() ? Reading::kWhole : Reading::kMore;
}

int pending_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

void watch(int epoll, int operation, Caller& caller, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &caller;
  if (epoll_ctl(epoll, operation, caller.fd, &event) != 0) fail("epoll_ctl");
}

/** Opens the callers' connections, `at_once` at a time, and gives how many there are at the end of
 * the time. */
uint32_t open_all(int epoll, std::vector<Caller>& callers, const Settings& settings,
                  uint32_t at_once, Outcome& outcome) {
  const Address peer = resolve(settings.host, settings.port, SOCK_STREAM);
  const uint64_t deadline = now_ns() + static_cast<uint64_t>(settings.timeout_seconds * 1e9);
  uint32_t started = 0;
  uint32_t settled = 0;
  uint32_t open = 0;
  epoll_event events[kEventsMax];
  while (settled < callers.size() && now_ns() < deadline) {
    for (; started < callers.size() && started - settled < at_once; ++started) {
      Caller& caller = callers[started];
      caller.fd = start_connect(peer, settings.sources.empty()
                                          ? ""
                                          : settings.sources[started % settings.sources.size()]);
      if (caller.fd < 0) {
        outcome.error(errno);
        ++settled;
      } else {
        watch(epoll, EPOLL_CTL_ADD, caller, EPOLLOUT);
      }
    }
    const int count = epoll_wait(epoll, events, kEventsMax, 100);
    for (int i = 0; i < count; ++i) {
      auto& caller = *static_cast<Caller*>(events[i].data.ptr);
      if (caller.connected) continue;
      ++settled;
      if (const int error = pending_error(caller.fd); error != 0) {
        outcome.error(error);
        close(caller.fd);
        caller.fd = -1;
      } else {
        caller.connected = true;
        ++open;
        watch(epoll, EPOLL_CTL_MOD, caller, EPOLLIN);
      }
    }
  }
  return open;
}

std::vector<Caller> make_callers(const Settings& settings) {
  std::vector<Caller> callers(settings.connections);
  uint64_t salt = 1;
  for (Caller& caller : callers) {
    caller.message.resize(settings.size_bytes);
    fill(caller.message.data(), settings.size_bytes, salt++);
  }
  return callers;
}

}  // namespace

int tcp_echo(const Settings& settings) {
  raise_descriptor_limit(settings.connections + 64);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Caller> callers = make_callers(settings);
  Outcome outcome;
  if (open_all(epoll, callers, settings, 64, outcome) != settings.connections) {
    fprintf(stderr, "load: not every connection could be opened%s\n", outcome.json().c_str());
    return 1;
  }
  const uint64_t begin = now_ns() + static_cast<uint64_t>(settings.warmup_seconds * 1e9);
  const uint64_t end = begin + static_cast<uint64_t>(settings.seconds * 1e9);
  Histogram latency;
  uint32_t alive = settings.connections;
  for (Caller& caller : callers) send_message(caller);
  epoll_event events[kEventsMax];
  uint64_t now = now_ns();
  while (now < end && alive > 0) {
    const int count = epoll_wait(epoll, events, kEventsMax, 100);
    for (int i = 0; i < count; ++i) {
      auto& caller = *static_cast<Caller*>(events[i].data.ptr);
      const Reading reading = read_echo(caller, outcome);
      if (reading == Reading::kMore) continue;
      bool ok = reading == Reading::kWhole;
      if (ok) {
        now = now_ns();
        if (now >= begin && now < end) {
          ++outcome.messages;
          latency.add(now - caller.sent_ns);
        }
        ok = send_message(caller);
        if (!ok) outcome.error(errno);
      }
      if (!ok) {
        close(caller.fd);
        --alive;
      }
    }
    now = now_ns();
  }
  // A connection on which nothing comes any more would pass unseen in the rate alone.
  uint32_t stuck = 0;
  for (const Caller& caller : callers) stuck += now - caller.sent_ns > 1000000000u ? 1 : 0;
  print_result(latency, outcome.messages, settings.seconds,
               ",\"stuck\":" + std::to_string(stuck) + outcome.json());
  return stuck == 0 ? outcome.code() : 1;
}

int connect_rate(const Settings& settings) {
  raise_descriptor_limit(settings.connections * 2 + 64);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  const Address peer = resolve(settings.host, settings.port, SOCK_STREAM);
  std::vector<Caller> callers = make_callers(settings);
  Outcome outcome;
  Histogram latency;
  uint64_t source = 0;
  const auto dial = [&](Caller& caller) {
    caller.connected = false;
    caller.sent_ns = now_ns();
    caller.fd = start_connect(
        peer, settings.sources.empty() ? "" : settings.sources[source++ % settings.sources.size()]);
    if (caller.fd < 0) fail("connect");
    watch(epoll, EPOLL_CTL_ADD, caller, EPOLLOUT);
  };
  for (Caller& caller : callers) dial(caller);
  const uint64_t begin = now_ns() + static_cast<uint64_t>(settings.warmup_seconds * 1e9);
  const uint64_t end = begin + static_cast<uint64_t>(settings.seconds * 1e9);
  epoll_event events[kEventsMax];
  uint64_t now = now_ns();
  while (now < end) {
    const int count = epoll_wait(epoll, events, kEventsMax, 100);
    for (int i = 0; i < count; ++i) {
      auto& caller = *static_cast<Caller*>(events[i].data.ptr);
      bool done = false;
      if (!caller.connected) {
        const uint64_t dialled_ns = caller.sent_ns;
        const int error = pending_error(caller.fd);
        caller.connected = error == 0;
        if (error != 0) outcome.error(error);
        if (caller.connected && send_message(caller)) {
          watch(epoll, EPOLL_CTL_MOD, caller, EPOLLIN);
        } else {
          done = true;
        }
        caller.sent_ns = dialled_ns;  // the latency is that of the whole exchange
      } else {
        const Reading reading = read_echo(caller, outcome);
        done = reading != Reading::kMore;
        now = now_ns();
        if (reading == Reading::kWhole && now >= begin && now < end) {
          ++outcome.messages;
          latency.add(now - caller.sent_ns);
        }
      }
      if (!done) continue;
      close(caller.fd);
      dial(caller);
    }
    now = now_ns();
  }
  print_result(latency, outcome.messages, settings.seconds, outcome.json());
  return outcome.code();
}

int idle(const Settings& settings) {
  raise_descriptor_limit(settings.connections + 64);
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  std::vector<Caller> callers = make_callers(settings);
  Outcome outcome;
  const uint64_t begin = now_ns();
  const uint32_t open = open_all(epoll, callers, settings, 256, outcome);
  printf("{\"open\":%u,\"seconds\":%.3f%s}\n", open, static_cast<double>(now_ns() - begin) / 1e9,
         outcome.json().c_str());
  fflush(stdout);
  if (!wait_line()) return 1;
  Histogram latency;
  const uint64_t start = now_ns();
  const uint64_t deadline = start + static_cast<uint64_t>(settings.timeout_seconds * 1e9);
  for (Caller& caller : callers) {
    if (caller.connected && !send_message(caller)) outcome.error(errno);
  }
  epoll_event events[kEventsMax];
  while (outcome.messages + outcome.errors < open && now_ns() < deadline) {
    const int count = epoll_wait(epoll, events, kEventsMax, 100);
    for (int i = 0; i < count; ++i) {
      auto& caller = *static_cast<Caller*>(events[i].data.ptr);
      const Reading reading = read_echo(caller, outcome);
      if (reading == Reading::kWhole) {
        ++outcome.messages;
        latency.add(now_ns() - caller.sent_ns);
      }
      if (reading != Reading::kMore) epoll_ctl(epoll, EPOLL_CTL_DEL, caller.fd, nullptr);
    }
  }
  print_result(latency, outcome.messages, static_cast<double>(now_ns() - start) / 1e9,
               outcome.json());
  wait_line();
  return outcome.messages == settings.connections ? outcome.code() : 1;
}

}  // namespace load
