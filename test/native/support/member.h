// SPDX-License-Identifier: MIT
// A stack's share of an interface, without the stack: what steers, one receive queue, and what
// comes by it and from the other stacks.
#pragma once

#include <netinet/in.h>

#include <memory>

#include "steer/xdp_steering.h"
#include "support/rig.h"

namespace millrace::test {

// One stack's share of "mrh": the program, one queue of its choice, no more.
struct Member {
  explicit Member(VethPair& veth, Duration patience = Duration::millis(0)) : pool(2048, 2048) {
    Inside here(veth.here);
    steering = steer::XdpSteering::open(VethPair::kHere, {.queues_wanted = 1}, error);
    if (!steering) return;
    AfXdpOptions options{.native = steering->native(), .queues_wanted = 1, .patience = patience};
    port = AfXdpPort::open(VethPair::kHere, pool, options, error);
    if (!port) return;
    ok = !steering->set_frame_limit(port->frame_limit_bytes()) &&
         !steering->set_queue(port->queue_id(0), port->socket_fd(0)) &&
         !steering->add_address(ip("10.77.0.1")) &&
         !port->watch_side(steering->inbox().poll_fd(), &steering->inbox(),
                           [](void* inbox, std::span<uint8_t> out, bool& passed_on) {
                             return static_cast<steer::FrameInbox*>(inbox)->receive(out, passed_on);
                           });
  }
  // As a program does, in the namespace that its names are in.
  steer::Whose pass_on(VethPair& veth, steer::Protocol protocol, const wire::FlowKey& flow,
                       Bytes& frame) {
    Inside here(veth.here);
    return steering->pass_on(protocol, flow, frame);
  }
  bool pass_along(VethPair& veth, Bytes& frame) {
    Inside here(veth.here);
    return steering->pass_along(frame);
  }
  // The frames that come within `wait_ms`: how many, and what the last of them was.
  uint32_t receive(int wait_ms = 100) {
    uint32_t count = 0;
    const Instant end = clock_now() + Duration::millis(wait_ms);
    while (clock_now() < end) {
      Frame* frames[64];
      const uint32_t n = port->receive(clock_now(), frames);
      for (uint32_t i = 0; i < n; ++i) {
        last.assign(frames[i]->data(), frames[i]->data() + frames[i]->length);
        last_flags = frames[i]->flags;
        pool.release(frames[i]);
      }
      count += n;
      pollfd p{port->poll_fd(), POLLIN, 0};
      if (n == 0) poll(&p, 1, 10);
    }
    return count;
  }

  FramePool pool;
  SetupError error;
  std::unique_ptr<steer::XdpSteering> steering;
  std::unique_ptr<AfXdpPort> port;
  Bytes last;
  uint8_t last_flags = 0;
  bool ok = false;
};

// Datagrams of many flows, so that some go by every queue.
inline void send_datagrams(VethPair& veth, int count, uint16_t port) {
  Inside there(veth.there);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(0x0a4d0001);
  for (int i = 0; i < count; ++i) {
    const int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(sendto(fd, "many", 4, 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 4);
    close(fd);
  }
}

}  // namespace millrace::test
