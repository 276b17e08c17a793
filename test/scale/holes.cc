// SPDX-License-Identifier: MIT
#include "holes.h"

#include <cstring>

namespace millrace::scale {

Holes::Holes(uint32_t bytes) : segments_(bytes / kMss), world_(1, 2 * segments_ + 8192) {
  fill(world_.peers[0], segments_ * kMss);
}

// The congestion window opens by ACKs only, as in life.
void Holes::fill(Peer& p, uint32_t bytes) {
  for (uint32_t written = 0;;) {
    while (written - (p.acked - 1) < bytes) {
      Frame* f = world_.pool.alloc();
      f->length = kMss;
      std::memset(f->data(), 'y', kMss);
      world_.tcp->write(*p.connection, f);
      written += kMss;
    }
    world_.tcp->push(world_.now, *p.connection);
    world_.ip.flush(world_.now);
    world_.now = world_.now + Duration::millis(1);
    const auto sent = uint32_t(world_.tcp->info(*p.connection).bytes_sent);
    if (sent == written) return;  // all of it is in flight
    p.acked = sent + 1;
    Frame* ack = world_.segment(0, wire::kTcpAck, p.next, p.acked, 0);
    world_.input({&ack, 1});
  }
}

uint32_t Holes::first_pass(Meter& meter) {
  world_.reopen(0);
  fill(world_.peers[0], segments_ * kMss);
  return pass(meter);
}

uint32_t Holes::pass(Meter& meter) {
  const Peer& p = world_.peers[0];
  const uint32_t pairs = segments_ / 2, acks = pairs - 1;
  for (uint32_t at = 0; at < acks;) {
    Frame* burst[kBurst];
    uint32_t count = 0;
    for (; count < kBurst && at < acks; ++count, ++at) {
      wire::TcpOptions o;
      o.sack_count = 3;
      for (uint8_t k = 0; k < 3; ++k) {
        const uint32_t segment = (at + 2 - k) % pairs * 2 + 1;
        o.sack[k] = {Seq(p.acked + segment * kMss), Seq(p.acked + (segment + 1) * kMss)};
      }
      burst[count] = world_.segment(0, wire::kTcpAck, p.next, p.acked, 0, o);
    }
    meter.start();
    world_.input({burst, count});
    world_.ip.flush(world_.now);
    meter.stop();
  }
  return acks;
}

}  // namespace millrace::scale
