// SPDX-License-Identifier: MIT
// The way out: IP header, link header, batch.
#include "net/ip_layer.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::net {

Error IpLayer::send(Instant now, Path& path, Frame* frame, const SendOptions& options) {
  if (path.generation != generation_) [[unlikely]] {
    if (const Error error = route(path)) {
      ++counters_.ip_send_no_route;
      return error;
    }
  }
  const bool v4 = path.remote.is_v4();
  const uint32_t header_bytes = v4 ? wire::kIpv4HeaderBytes : wire::kIpv6HeaderBytes;
  const uint32_t payload_bytes = frame->length;
  if (header_bytes + payload_bytes > path.mtu_bytes) {
    ++counters_.ip_send_too_big;
    return Error{EMSGSIZE};
  }
  MR_ASSERT(frame->tx_pending == 0 && frame->headroom() >= header_bytes);
  Interface& interface = interfaces_[path.interface];
  uint8_t* header = frame->push_front(header_bytes);
  if (v4) {
    // RFC 6864 4.1: the identification of a packet that cannot be fragmented means nothing.
    const uint16_t identification = options.dont_fragment ? 0 : uint16_t(random_.next_u32());
    wire::build_ipv4(header,
                     {.total_bytes = uint16_t(header_bytes + payload_bytes),
                      .identification = identification,
                      .dont_fragment = options.dont_fragment,
                      .ttl = options.ttl,
                      .traffic_class = options.traffic_class,
                      .protocol = options.protocol},
                     path.local, path.remote);
  } else {
    wire::build_ipv6(header, uint16_t(payload_bytes), options.protocol, options.ttl,
                     options.traffic_class, path.local, path.remote);
  }
  return put_in_batch(now, interface, frame);
}

Error IpLayer::put_in_batch(Instant now, Interface& interface, Frame* frame) {
  if (interface.batch.full()) [[unlikely]] {
    interface.batch.transmit(now, *interface.port, pool_);
    if (interface.batch.full()) {
      ++counters_.ip_send_queue_full;
      return Error{ENOBUFS};
    }
  }
  ++counters_.ip_sent;
  if (interface.batch.push(frame)) interface.batch.transmit(now, *interface.port, pool_);
  return kOk;
}

void IpLayer::flush(Instant now) {
  for (uint8_t i = 0; i < interface_count_; ++i) {
    Interface& interface = interfaces_[i];
    interface.batch.transmit(now, *interface.port, pool_);
    interface.port->flush(now);
  }
}

}  // namespace millrace::net
