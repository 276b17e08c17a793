// SPDX-License-Identifier: MIT
// Bytes and datagrams in and out, with the results of Linux's tcp_sendmsg(), tcp_recvmsg() and
// their like for UDP.
#include <algorithm>
#include <cstring>

#include "testing/door.h"

namespace millrace::testing {

using tcp::State;
using wire::Endpoint;

namespace {

size_t total(std::span<const iovec> parts) {
  size_t bytes = 0;
  for (const iovec& p : parts) bytes += p.iov_len;
  return bytes;
}

// Copies `data` to the place `at` of the scattered buffer. Returns what fitted.
size_t scatter(std::span<const iovec> parts, size_t at, std::span<const uint8_t> data) {
  size_t copied = 0;
  for (const iovec& p : parts) {
    if (at >= p.iov_len) {
      at -= p.iov_len;
      continue;
    }
    const size_t n = std::min(p.iov_len - at, data.size() - copied);
    if (n > 0) std::memcpy(static_cast<uint8_t*>(p.iov_base) + at, data.data() + copied, n);
    copied += n;
    at = 0;
    if (copied == data.size()) break;
  }
  return copied;
}

// The piece of the scattered data that begins `at`.
std::span<const uint8_t> piece(std::span<const iovec> parts, size_t at) {
  for (const iovec& p : parts) {
    if (at < p.iov_len) return {static_cast<const uint8_t*>(p.iov_base) + at, p.iov_len - at};
    at -= p.iov_len;
  }
  return {};
}

int take_error(Socket& s) {
  const int error = s.error;
  s.error = 0;
  return error;
}

}  // namespace

size_t Door::room(const Socket& s) const {
  const uint64_t queued = s.written - tcp_->acked_bytes(*s.connection);
  const uint32_t limit = tcp_->send_buffer_bytes(*s.connection);
  return queued < limit ? size_t(limit - queued) : 0;
}

// False: no packet buffer.
bool Door::write_piece(Socket& s, const uint8_t* data, size_t length, size_t& taken) {
  tcp::Connection& c = *s.connection;
  // A quarter of the buffers stays for what arrives and for control segments, as in a program.
  if (pool_.available() < pool_.capacity() / 4) return false;
  Frame* frame = pool_.alloc();
  if (!frame) return false;
  const size_t mss = std::max<uint32_t>(tcp_->payload_mss_bytes(c), 1);
  taken = std::min({length, mss, frame->tailroom()});
  std::memcpy(frame->data(), data, taken);
  frame->length = uint32_t(taken);
  tcp_->write(c, frame);
  s.written += taken;
  return true;
}

ssize_t Door::send_stream(Socket& s, std::span<const iovec> parts, size_t& done, int flags) {
  if (s.error) return -take_error(s);
  if (s.write_shut || s.phase == Phase::kNew || s.phase == Phase::kListening) return -EPIPE;
  if (s.phase == Phase::kConnecting) return -EAGAIN;
  if (s.connection->state == State::kClosed) return -EPIPE;
  const size_t wanted = total(parts);
  bool buffers = true;
  // Linux looks at TCP_NOTSENT_LOWAT when it begins a buffer of 64 KiB, not while it fills one.
  constexpr size_t kBufferBytes = 65536;
  size_t begun = 0;
  while (done < wanted && buffers) {
    size_t space = room(s);
    if (begun == 0 && s.connection->snd.queue.unsent_bytes >= s.unsent_low_water) break;
    if (s.unsent_low_water != UINT32_MAX) space = std::min(space, kBufferBytes - begun);
    if (space == 0) break;
    const std::span<const uint8_t> data = piece(parts, done);
    size_t taken = 0;
    buffers = write_piece(s, data.data(), std::min(data.size(), space), taken);
    done += taken;
    begun = (begun + taken) % kBufferBytes;
    if (begun == 0) tcp_->push(now_, *s.connection, true);
  }
  if ((flags & MSG_EOR) && done == wanted) tcp_->end_record(*s.connection);
  const bool full = done < wanted;
  tcp_->set_option(now_, *s.connection, tcp::Option::kWriterWaits, full);
  tcp_->push(now_, *s.connection, (flags & MSG_MORE) != 0 && !full);
  return full ? -EAGAIN : ssize_t(done);
}

ssize_t Door::send(int fd, std::span<const iovec> parts, int flags, const sockaddr* to,
                   socklen_t to_length) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  // MSG_ZEROCOPY without SO_ZEROCOPY is ignored, as are those that mean something else elsewhere.
  constexpr int kIgnored = MSG_NOSIGNAL | MSG_ZEROCOPY | MSG_CONFIRM | MSG_DONTROUTE;
  if (flags & ~(MSG_DONTWAIT | MSG_MORE | MSG_EOR | kIgnored)) return -EOPNOTSUPP;
  const bool nonblocking = s->nonblocking || (flags & MSG_DONTWAIT);
  if (!s->stream) {
    const ssize_t result = send_datagram(*s, parts, to, to_length);
    settle();
    return result;
  }
  size_t done = 0;
  const ssize_t result = wait_for(fd, nonblocking, s->send_timeout, [&](Socket& socket) {
    return send_stream(socket, parts, done, flags);
  });
  return result < 0 && done > 0 ? ssize_t(done) : result;
}

// What is there goes to `parts`, from `done` on; with MSG_TRUNC it goes nowhere. Returns how far it
// went.
size_t Door::take_stream(Socket& s, std::span<const iovec> parts, size_t done, int flags) {
  tcp::Connection& c = *s.connection;
  const size_t wanted = total(parts);
  if (flags & MSG_PEEK) {
    done = 0;
    for (const Frame* f = c.rcv.queue.front(); f && done < wanted; f = f->next) {
      done += flags & MSG_TRUNC ? std::min<size_t>(f->length, wanted - done)
                                : scatter(parts, done, f->bytes());
    }
    return done;
  }
  while (done < wanted && tcp_->readable_bytes(c) > 0) {
    const std::span<const uint8_t> place = piece(parts, done);
    if (flags & MSG_TRUNC) {
      uint8_t nowhere[1024];
      done += tcp_->read(now_, c, {nowhere, std::min(place.size(), sizeof nowhere)});
    } else {
      done += tcp_->read(now_, c, {const_cast<uint8_t*>(place.data()), place.size()});
    }
  }
  return done;
}

ssize_t Door::receive_stream(Socket& s, std::span<const iovec> parts, size_t& done, int flags) {
  if (s.phase == Phase::kNew || s.phase == Phase::kListening) return -ENOTCONN;
  tcp::Connection& c = *s.connection;
  const size_t wanted = total(parts);
  done = take_stream(s, parts, done, flags);
  const size_t enough =
      flags & MSG_WAITALL ? wanted : std::min<size_t>(size_t(s.receive_low_water), wanted);
  if (done > 0 && done >= enough) return ssize_t(done);
  if (done == wanted) return ssize_t(done);
  if (s.error) return done > 0 ? ssize_t(done) : -take_error(s);
  if (s.read_shut || c.state == State::kClosed || tcp_->at_end(c)) return ssize_t(done);
  return -EAGAIN;
}

ssize_t Door::receive(int fd, std::span<const iovec> parts, int& flags, sockaddr* from,
                      socklen_t* from_length) {
  Socket* s = find(fd);
  if (!s) return -EBADF;
  const int asked = flags;
  flags = 0;
  if (asked & MSG_OOB) return s->stream ? -EINVAL : -EOPNOTSUPP;  // there is none
  if (asked & MSG_ERRQUEUE) return -EAGAIN;                       // nor an error queue
  if (asked & ~(MSG_DONTWAIT | MSG_PEEK | MSG_WAITALL | MSG_TRUNC | MSG_CMSG_CLOEXEC))
    return -EOPNOTSUPP;
  const bool nonblocking = s->nonblocking || (asked & MSG_DONTWAIT);
  size_t done = 0;
  if (s->stream) {
    if (from_length) *from_length = 0;
    const ssize_t result = wait_for(fd, nonblocking, s->receive_timeout, [&](Socket& socket) {
      return receive_stream(socket, parts, done, asked);
    });
    return result < 0 && done > 0 ? ssize_t(done) : result;
  }
  return wait_for(fd, nonblocking, s->receive_timeout, [&](Socket& socket) {
    flags = asked;
    return receive_datagram(socket, parts, flags, from, from_length);
  });
}

bool Door::is_broadcast(const wire::IpAddress& address) const {
  if (address.is_limited_broadcast()) return true;
  if (!address.is_v4()) return false;
  return std::any_of(addresses_.begin(), addresses_.end(), [&](const Prefix& p) {
    if (!p.address.is_v4() || p.length >= 31) return false;
    const uint32_t host_bits = UINT32_MAX >> p.length;
    return address.as_v4() == (p.address.as_v4() | host_bits);
  });
}

ssize_t Door::send_datagram(Socket& s, std::span<const iovec> parts, const sockaddr* to,
                            socklen_t to_length) {
  if (s.error) return -take_error(s);
  if (s.write_shut) return -EPIPE;
  Endpoint remote = s.remote;
  if (to) {
    Result<Endpoint> given = from_sockaddr(s.family, to, to_length);
    if (!given) return -given.error().code;
    remote = *given;
  } else if (s.phase != Phase::kConnected) {
    return -EDESTADDRREQ;
  }
  const size_t length = total(parts);
  if (length > 65507) return -EMSGSIZE;
  if (is_broadcast(remote.address) && !s.broadcast) return -EACCES;
  if (!s.datagrams) {
    if (const int error = choose_port(s)) return error;
    if (const int error = open_datagrams(s)) return error;
    s.bound = true;
  }
  Frame* frame = pool_.alloc();
  if (!frame) return -ENOBUFS;
  if (length > frame->tailroom()) {
    pool_.release(frame);
    return -EMSGSIZE;
  }
  frame->length = uint32_t(length);
  for (size_t at = 0; at < length;) {
    const std::span<const uint8_t> data = piece(parts, at);
    std::memcpy(frame->data() + at, data.data(), data.size());
    at += data.size();
  }
  const Error error = udp_->send(now_, *s.datagrams, frame, remote);
  return error ? -ssize_t(error.code) : ssize_t(length);
}

ssize_t Door::receive_datagram(Socket& s, std::span<const iovec> parts, int& flags, sockaddr* from,
                               socklen_t* from_length) {
  const int asked = flags;
  flags = 0;
  if (s.error) return -take_error(s);
  if (!s.datagrams || !udp_->readable(*s.datagrams)) return s.read_shut ? 0 : -EAGAIN;
  Frame* frame = nullptr;
  Endpoint source;
  if (asked & MSG_PEEK) {
    frame = s.datagrams->queue.front();
    source = frame->scratch_as<udp::Received>().from;
  } else {
    const udp::Datagram datagram = udp_->receive(*s.datagrams);
    frame = datagram.frame;
    source = datagram.from;
  }
  const size_t length = frame->length;
  const size_t copied = scatter(parts, 0, frame->bytes());
  if (!(asked & MSG_PEEK)) pool_.release(frame);
  to_sockaddr(s.family, source, from, from_length);
  if (copied < length) flags = MSG_TRUNC;
  return ssize_t(asked & MSG_TRUNC ? length : copied);
}

}  // namespace millrace::testing
