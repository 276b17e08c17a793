// SPDX-License-Identifier: MIT
#include "tcp/syn_cookies.h"

#include <cstring>

#include "base/siphash.h"

namespace millrace::tcp {

namespace {

// What peers announce: the least that is believed, RFC 9293's default, IPv6's minimum, tunnels,
// Ethernet over IPv6 (and PPPoE), Ethernet over IPv4, jumbo frames.
constexpr uint16_t kMssTable[] = {48, 256, 536, 1220, 1380, 1440, 1460, 8940};
constexpr uint32_t kMssCount = sizeof kMssTable / sizeof kMssTable[0];
constexpr uint32_t kSegmentBits = 20;
constexpr uint32_t kSegmentMask = (1u << kSegmentBits) - 1;
constexpr uint32_t kFlowBits = 8;
constexpr uint32_t kFlowMask = (1u << kFlowBits) - 1;
constexpr uint32_t kMinuteMask = (1u << (32 - kSegmentBits - kFlowBits)) - 1;
constexpr uint32_t kMinutesValid = 2;
// What a peer can have sent that was answered with a cookie only: our SYN-ACK's window, unscaled.
constexpr uint32_t kFirstFlightBytes = 65535;
static_assert(kMssCount * (kFirstFlightBytes + 1) <= kSegmentMask + 1);

constexpr Duration kCheckInterval = Duration::millis(50);
constexpr uint32_t kChecksPerInterval = 3277;  // 65,536 a second

// In the timestamp, as Linux has them: four bits of window scale (15: none), SACK permitted, ECN.
// The last is 0, this TCP does not negotiate ECN.
constexpr uint32_t kTsBits = 6;
constexpr uint32_t kTsMask = (1u << kTsBits) - 1;
constexpr uint32_t kTsNoScale = 15;
constexpr uint32_t kTsSack = 1u << 4;
constexpr uint32_t kTsEcn = 1u << 5;

uint32_t minute_of(Instant now) {
  return uint32_t(now.ns / 60'000'000'000);
}

uint32_t hash(const SipKey& key, const wire::FlowKey& flow, uint32_t minute) {
  uint8_t bytes[sizeof flow + 4];
  std::memcpy(bytes, &flow, sizeof flow);
  std::memcpy(bytes + sizeof flow, &minute, 4);
  return uint32_t(SipHash::hash(key, bytes));
}

}  // namespace

wire::Seq SynCookies::make(Instant now, const wire::FlowKey& flow, wire::Seq irs,
                           uint16_t mss_bytes) const {
  uint32_t index = kMssCount - 1;
  while (index > 0 && kMssTable[index] > mss_bytes) --index;
  const uint32_t minute = minute_of(now);
  const uint32_t of_flow = hash(flow_key_, flow, minute) & kFlowMask;
  const uint32_t of_segment =
      (hash(segment_key_, flow, minute) - irs.value() * kMssCount + index) & kSegmentMask;
  const uint32_t value =
      minute << (kFlowBits + kSegmentBits) | of_flow << kSegmentBits | of_segment;
  return wire::Seq(hash(mask_key_, flow, 0) + value);
}

SynCookies::Found SynCookies::check(Instant now, const wire::FlowKey& flow, wire::Seq irs,
                                    wire::Seq cookie) const {
  const uint32_t value = cookie.value() - hash(mask_key_, flow, 0);
  const uint32_t age = (minute_of(now) - (value >> (kFlowBits + kSegmentBits))) & kMinuteMask;
  if (age >= kMinutesValid) return {};
  const uint32_t minute = minute_of(now) - age;
  const uint32_t of_flow = value >> kSegmentBits & kFlowMask;
  if (of_flow != (hash(flow_key_, flow, minute) & kFlowMask)) return {};
  // How far `irs` is ahead of the number that the cookie was made for, times the table, plus the
  // index: a wrong number can never pass for the right one within the first flight.
  const uint32_t rest =
      (value - hash(segment_key_, flow, minute) + irs.value() * kMssCount) & kSegmentMask;
  const uint32_t ahead = rest / kMssCount, index = rest % kMssCount;
  if (ahead > kFirstFlightBytes) return {};
  if (ahead > 0) return {Verdict::kLater, 0};
  if (spent_[slot(irs, cookie)] == Spent{irs, cookie}) return {};
  return {Verdict::kGood, kMssTable[index]};
}

bool SynCookies::may_check(Instant now) {
  if (now - checks_since_ >= kCheckInterval) {
    checks_since_ = now;
    checks_ = 0;
  }
  if (checks_ >= kChecksPerInterval) return false;
  ++checks_;
  return true;
}

uint32_t cookie_timestamp(uint32_t ts, const wire::TcpOptions& syn, bool ecn) {
  const uint32_t bits = (syn.has_window_scale ? syn.window_scale : kTsNoScale) |
                        (syn.sack_permitted ? kTsSack : 0) | (ecn ? kTsEcn : 0);
  const uint32_t value = (ts & ~kTsMask) | bits;
  return int32_t(value - ts) > 0 ? value - (kTsMask + 1) : value;
}

void read_cookie_timestamp(uint32_t ts_echo, wire::TcpOptions& syn, bool& ecn) {
  const uint32_t scale = ts_echo & 0xf;
  syn.has_window_scale = scale != kTsNoScale;
  syn.window_scale = syn.has_window_scale ? uint8_t(scale) : 0;
  syn.sack_permitted = (ts_echo & kTsSack) != 0;
  ecn = (ts_echo & kTsEcn) != 0;
}

}  // namespace millrace::tcp
