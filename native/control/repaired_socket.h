// SPDX-License-Identifier: MIT
// A kernel socket that goes on with a connection in mid-stream, made by TCP_REPAIR (Linux's
// checkpointing interface; CAP_NET_ADMIN). Two steps, so that steering can change in between: after
// open() the socket is established and holds what was received and not read and what was sent and
// not acknowledged, but has not sent anything; until start() it can be given up without a trace.
#pragma once

#include "base/result.h"
#include "net/connection_state.h"

namespace millrace::control {

class RepairedSocket {
 public:
  RepairedSocket() = default;
  RepairedSocket(RepairedSocket&& other) noexcept;
  RepairedSocket& operator=(RepairedSocket&& other) noexcept;
  // Gives the connection up, without a segment, if start() was not called.
  ~RepairedSocket();

  // `wide`: an IPv6 socket though the flow is IPv4, as a dual-stack listener's are. Unread bytes
  // are `before` and then the state's own. EPERM: no CAP_NET_ADMIN; EADDRNOTAVAIL: the kernel has
  // such a connection; otherwise what the kernel said (ENOBUFS, ENOMEM, ...).
  static Result<RepairedSocket> open(const net::ConnectionState& state, const net::Pieces& before,
                                     bool wide);

  struct Started {
    int fd = -1;              // the caller's
    size_t unsent_bytes = 0;  // at the end of `state.unsent`, for which the kernel has no memory
  };
  // From here on the kernel speaks: the peer's window is asked for, what is unsent is sent. With
  // bytes left over the FIN is the caller's to send as well.
  Started start(const net::ConnectionState& state);

 private:
  explicit RepairedSocket(int fd) : fd_(fd) {}
  int fd_ = -1;
  int send_buffer_bytes_ = 0;  // as the kernel began with it
};

}  // namespace millrace::control
