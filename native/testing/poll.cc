// SPDX-License-Identifier: MIT
// poll(), with the events that Linux reports in each state (tcp_poll(), datagram_poll()).
#include "testing/door.h"

namespace millrace::testing {

using tcp::State;

short Door::readiness(const Socket& s) const {
  constexpr int kIn = POLLIN | POLLRDNORM;
  constexpr int kOut = POLLOUT | POLLWRNORM;
  int events = s.error ? POLLERR : 0;
  if (!s.stream) {
    events |= kOut;
    if (s.read_shut) events |= kIn | POLLRDHUP;
    if (s.read_shut && s.write_shut) events |= POLLHUP;
    if (s.datagrams && udp_->readable(*s.datagrams)) events |= kIn;
    return short(events);
  }
  if (s.phase == Phase::kListening) return short(s.listener->ready > 0 ? kIn : 0);
  if (s.phase == Phase::kNew) return short(events | kOut | POLLHUP);
  const tcp::Connection& c = *s.connection;
  const bool closed = c.state == State::kClosed;
  // A connection that is closed both ways may be alive in TIME-WAIT: for the user it is over.
  const bool no_more_in = s.read_shut || closed || c.rcv.fin_received;
  const bool no_more_out = s.write_shut || closed;
  if (no_more_in && no_more_out) events |= POLLHUP;
  if (no_more_in) events |= kIn | POLLRDHUP;
  if (!closed && s.phase == Phase::kConnecting) return short(events);
  if (tcp_->readable_bytes(c) >= uint32_t(s.receive_low_water)) events |= kIn;
  if (no_more_out) {
    events |= kOut;
  } else {
    // Linux says so only when a third of the buffer is free again.
    const size_t queued = size_t(s.written - tcp_->acked_bytes(c));
    const size_t free = room(s);
    const bool unsent_low = uint64_t(c.snd.queue.unsent_bytes) * 2 < s.unsent_low_water;
    if (free > 0 && free >= queued / 2 && unsent_low) events |= kOut;
  }
  return short(events);
}

int Door::poll(std::span<pollfd> fds, int timeout_ms) {
  const Instant deadline = timeout_ms < 0 ? Instant::never() : now_ + Duration::millis(timeout_ms);
  while (true) {
    int count = 0;
    for (pollfd& p : fds) {
      p.revents = 0;
      if (p.fd < 0) continue;
      const Socket* s = find(p.fd);
      p.revents = s ? short(readiness(*s) & (p.events | POLLERR | POLLHUP)) : short(POLLNVAL);
      if (p.revents != 0) ++count;
    }
    if (count > 0 || now_ >= deadline) return count;
    if (!options_.wait) return -EDEADLK;
    if (options_.wait(options_.wait_context, handle_, deadline.ns) != 0) return -EINTR;
  }
}

}  // namespace millrace::testing
