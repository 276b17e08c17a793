// SPDX-License-Identifier: MIT
// MTUs of paths that turned out narrower than their first link (RFC 1191, RFC 8201), for ten
// minutes each. A small fixed table: past it the entry nearest to its end is given up, which costs
// one more "packet too big".
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/fixed_vector.h"
#include "base/time.h"
#include "wire/ip_address.h"

namespace millrace::net {

class PathMtuCache {
 public:
  static constexpr uint32_t kEntriesMax = 256;
  static constexpr Duration kLifetime = Duration::seconds(600);  // RFC 1191 6.3

  struct Known {
    uint32_t mtu_bytes = UINT32_MAX;  // that: nothing is known
    // Some link is narrower still, and packets as long as this are to be cut up on their way.
    bool may_be_cut = false;
  };
  // False when nothing changed: the path was already known to be as narrow.
  bool learn(Instant now, const wire::IpAddress& remote, uint32_t mtu_bytes,
             bool may_be_cut = false) {
    for (uint32_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].remote != remote) continue;
      const Known& known = entries_[i].known;
      if (known.mtu_bytes <= mtu_bytes && (known.may_be_cut || !may_be_cut)) return false;
      mtu_bytes = std::min(mtu_bytes, known.mtu_bytes);
      may_be_cut |= known.may_be_cut;
      entries_.erase(i);
      break;
    }
    if (entries_.full()) entries_.erase(0);
    return entries_.push_back({remote, {mtu_bytes, may_be_cut}, now + kLifetime});
  }
  Known find(const wire::IpAddress& remote) const {
    for (const Entry& entry : entries_) {
      if (entry.remote == remote) return entry.known;
    }
    return {};
  }
  // True when something was forgotten.
  bool expire(Instant now) {
    bool any = false;
    while (!entries_.empty() && entries_[0].expires <= now) {
      entries_.erase(0);
      any = true;
    }
    return any;
  }
  Instant next_expiry() const { return entries_.empty() ? Instant::never() : entries_[0].expires; }

 private:
  struct Entry {
    wire::IpAddress remote;
    Known known;
    Instant expires;
  };
  FixedVector<Entry> entries_{kEntriesMax};  // by expiry: the lifetime is the same for all
};

}  // namespace millrace::net
