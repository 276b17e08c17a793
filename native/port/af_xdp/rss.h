// SPDX-License-Identifier: MIT
// Receive-side scaling as a network device does it: which receive queue a flow's packets come by.
// The device hashes addresses and ports with a secret key (Toeplitz, as Microsoft specified it for
// NDIS) and looks the queue up in a table. Both can be asked for, so the answer's queue is known
// before a connection is opened. A device without either (veth) or with another hash says nothing.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "wire/ip_address.h"

namespace millrace::af_xdp {

// The hash of `input` under a key of at least input.size() + 4 bytes.
uint32_t toeplitz(std::span<const uint8_t> key, std::span<const uint8_t> input);

struct Rss {
  std::vector<uint8_t> key;     // empty: it is not known which queue a packet comes by
  std::vector<uint32_t> table;  // queues
  bool tcp4_by_port = true;     // what of TCP is hashed: the ports too, or only the addresses
  bool tcp6_by_port = true;

  bool known() const { return !key.empty() && !table.empty(); }
  // The queue of what a TCP peer sends. Only where known().
  uint32_t queue_of(const wire::FlowKey& flow) const;
};

// What the device says at this moment, in the caller's network namespace.
Rss query_rss(const char* interface);

}  // namespace millrace::af_xdp
