// SPDX-License-Identifier: MIT
// SYN cookies (RFC 4987 3.6): the answer to a SYN holds in its sequence number, under a keyed hash,
// all that must be known to make the connection when the ACK brings it back; nothing is kept
// meanwhile. Only numbers: when cookies are sent and what a good one leads to is input_cookie.cc's.
//
// The sequence number, less a hash of the 4-tuple, is
//   4 bits  minutes, so that a cookie ends
//   8 bits  hash of the 4-tuple and the minute
//   20 bits another hash of them, less the peer's number times 8, plus the index of an MSS
// and the timestamp clock's low bits hold the other options. The last part tells how far a segment
// is behind the first one. Those further on in the peer's first flight are to come again when the
// first was lost or overtaken: refusing them would end a connection that the peer rightly believes
// open, and taking one of them for the first would lose the beginning of the stream.
#pragma once

#include <array>
#include <cstdint>

#include "base/random.h"
#include "base/time.h"
#include "wire/ip_address.h"
#include "wire/seq.h"
#include "wire/tcp_header.h"

namespace millrace::tcp {

class SynCookies {
 public:
  // A cookie is good in its own minute and the next: for one to two minutes.
  static constexpr Duration kLife = Duration::seconds(120);

  explicit SynCookies(Random& random)
      : mask_key_(random.sip_key()), flow_key_(random.sip_key()), segment_key_(random.sip_key()) {}

  // The sequence number for the answer to a SYN numbered `irs` of a peer with this MSS.
  wire::Seq make(Instant now, const wire::FlowKey& flow, wire::Seq irs, uint16_t mss_bytes) const;
  enum class Verdict : uint8_t {
    kForged,  // or too old, or spent
    kLater,   // ours, but the segment is not the first that brings it back
    kGood,
  };
  struct Found {
    Verdict verdict = Verdict::kForged;
    uint16_t mss_bytes = 0;  // the largest of the table that the peer can take
  };
  // What a segment numbered `irs` + 1 holds that acknowledges `cookie`.
  Found check(Instant now, const wire::FlowKey& flow, wire::Seq irs, wire::Seq cookie) const;
  // It has made its connection. Best effort: without it a repeated ACK that comes after the end of
  // that connection would make another, which nobody asked for.
  void spend(wire::Seq irs, wire::Seq cookie) { spent_[slot(irs, cookie)] = {irs, cookie}; }
  // Looking at one more ACK is within the bound on work and on guesses. The chance of a guess is
  // 2^-28: with this many a second a spoofed connection is an hour's work.
  bool may_check(Instant now);

 private:
  static constexpr uint32_t kSpentMax = 4096;
  struct Spent {
    wire::Seq irs, cookie;
    bool operator==(const Spent&) const = default;
  };
  static uint32_t slot(wire::Seq irs, wire::Seq cookie) {
    return (irs.value() ^ cookie.value()) % kSpentMax;
  }

  SipKey mask_key_;
  SipKey flow_key_;
  SipKey segment_key_;
  std::array<Spent, kSpentMax> spent_{};
  Instant checks_since_{};
  uint32_t checks_ = 0;
};

// The options of `syn` in the low bits of the timestamp to send at clock `ts`, never ahead of it:
// the clock must not run back afterwards (RFC 7323 5.4).
uint32_t cookie_timestamp(uint32_t ts, const wire::TcpOptions& syn, bool ecn);
// What cookie_timestamp() put into an echoed timestamp: window scale, SACK permitted and ECN.
void read_cookie_timestamp(uint32_t ts_echo, wire::TcpOptions& syn, bool& ecn);

}  // namespace millrace::tcp
