// SPDX-License-Identifier: MIT
#include "port/wrap/fault_port.h"

#include <algorithm>
#include <array>

namespace millrace {

FaultPort::FaultPort(std::unique_ptr<Port> inner, FramePool& pool, const FaultConfig& config,
                     uint32_t held_max)
    : inner_(std::move(inner)),
      whole_(inner_->info()),
      pool_(pool),
      random_(Random::from_seed(config.seed)),
      held_max_(held_max) {
  rx_.held.reserve(held_max);
  tx_.held.reserve(held_max);
  configure(config);
}

FaultPort::~FaultPort() {
  MR_ASSERT(rx_.held.empty() && tx_.held.empty());
}

void FaultPort::configure(const FaultConfig& config) {
  if (config.seed != config_.seed) random_ = Random::from_seed(config.seed);
  config_ = config;
  rx_.rates = config.rx;
  tx_.rates = config.tx;
  for (Side* side : {&rx_, &tx_}) {
    side->seen = 0;
    side->cut_until = {};
  }
}

bool FaultPort::hits(uint32_t rate, uint64_t at, uint64_t number) {
  return (rate > 0 && random_.chance(rate)) || number == at;
}

bool FaultPort::is_cut(Instant now, Side& side, uint64_t number) {
  const FaultRates& r = side.rates;
  if (now < side.cut_until) return true;
  if (!hits(r.cut, r.cut_at, number)) return false;
  side.cut_until = r.cut_for.ns == 0 ? Instant::never() : now + r.cut_for;
  return true;
}

FaultPort::Fate FaultPort::decide(Instant now, Side& side) {
  const FaultRates& r = side.rates;
  const uint64_t number = ++side.seen;
  Fate fate;
  if (is_cut(now, side, number)) {
    ++side.stats.cut;
    fate.drop = true;
    return fate;
  }
  if (hits(r.drop, r.drop_at, number)) {
    ++side.stats.dropped;
    fate.drop = true;
    return fate;
  }
  if (hits(r.delay, r.delay_at, number)) {
    ++side.stats.delayed;
    side.held_until = std::max(side.held_until, now + r.delay_by);
  }
  if (side.held_until > now) fate.delay = side.held_until - now;
  if (r.jitter.ns > 0) {
    const uint32_t micros = random_.below(uint32_t(r.jitter.micros()) + 1);
    fate.delay = fate.delay + Duration::micros(micros);
  }
  if (hits(r.reorder, r.reorder_at, number)) {
    ++side.stats.reordered;
    fate.delay = fate.delay + r.reorder_by;
  }
  fate.duplicate = hits(r.duplicate, r.duplicate_at, number);
  fate.corrupt = hits(r.corrupt, r.corrupt_at, number);
  if (fate.duplicate) ++side.stats.duplicated;
  if (fate.corrupt) ++side.stats.corrupted;
  return fate;
}

// Changes one 16-bit word, so that the Internet checksum is sure to notice (RFC 1071), and
// withdraws whatever was promised about it.
void FaultPort::damage(Frame& frame) {
  frame.flags &= uint8_t(~(Frame::kChecksumVerified | Frame::kChecksumMayBePartial));
  frame.flags |= Frame::kTampered;
  const uint32_t words = frame.length / 2;
  if (words == 0) return;
  uint8_t* word = frame.data() + 2 * size_t(random_.below(words));
  const uint16_t mask = uint16_t(1 + random_.below(0xfffe));  // never all: 0 and ffff are equal
  word[0] ^= uint8_t(mask);
  word[1] ^= uint8_t(mask >> 8);
}

bool FaultPort::hold(Side& side, Frame* frame, Instant at) {
  if (side.held.size() >= held_max_) {
    ++side.stats.overflowed;
    return false;
  }
  side.held.push_back({at, serial_++, frame});
  std::push_heap(side.held.begin(), side.held.end(), std::greater<>());
  return true;
}

bool FaultPort::admit_received(Instant now, Frame* frame) {
  const Fate fate = decide(now, rx_);
  if (fate.drop) {
    pool_.release(frame);
    return false;
  }
  if (fate.duplicate) {
    Frame* copy = pool_.clone(*frame);
    if (copy && !hold(rx_, copy, now + fate.delay)) pool_.release(copy);
  }
  if (fate.corrupt) damage(*frame);
  // While something waits, what is not delayed may overtake it: that is the reordering.
  if (fate.delay.ns == 0) return true;
  if (!hold(rx_, frame, now + fate.delay)) pool_.release(frame);
  return false;
}

uint32_t FaultPort::receive(Instant now, std::span<Frame*> out) {
  now_ = std::max(now_, now);
  release_due(now);
  if (rx_.rates.harmless() && rx_.held.empty()) return inner_->receive(now, out);
  uint32_t count = 0;
  // What is due goes first: order is kept but for what is to be overtaken.
  auto& held = rx_.held;
  while (count < out.size() && !held.empty() && held.front().at <= now) {
    out[count++] = held.front().frame;
    std::pop_heap(held.begin(), held.end(), std::greater<>());
    held.pop_back();
  }
  while (count < out.size()) {
    std::array<Frame*, 64> burst;
    const size_t want = std::min(burst.size(), out.size() - count);
    const uint32_t got = inner_->receive(now, std::span(burst).first(want));
    for (uint32_t i = 0; i < got; ++i) {
      if (admit_received(now, burst[i])) out[count++] = burst[i];
    }
    if (got < want) break;
  }
  return count;
}

bool FaultPort::send_now(Instant now, Frame* frame) {
  Frame* const one[] = {frame};
  return inner_->transmit(now, one) == 1;
}

// The original stays untouched for the sender's retransmission: whatever is changed or kept is a
// copy.
void FaultPort::send_copy(Instant now, const Frame& frame, bool corrupt, Duration delay) {
  Frame* copy = pool_.clone(frame);
  if (!copy) {
    ++tx_.stats.overflowed;
    return;
  }
  if (corrupt) damage(*copy);
  if (delay.ns > 0) {
    if (!hold(tx_, copy, now + delay)) pool_.release(copy);
    return;
  }
  if (!send_now(now, copy)) ++tx_.stats.overflowed;
  pool_.release(copy);
}

uint32_t FaultPort::transmit(Instant now, std::span<Frame* const> frames) {
  now_ = std::max(now_, now);
  release_due(now);
  if (tx_.rates.harmless()) return inner_->transmit(now, frames);
  uint32_t taken = 0;
  for (Frame* frame : frames) {
    const Fate fate = refused_ ? *refused_ : decide(now, tx_);
    refused_.reset();
    if (!fate.drop && !fate.corrupt && fate.delay.ns == 0 && !send_now(now, frame)) {
      refused_ = fate;  // the frame comes again, and meets the same fate
      break;
    }
    ++taken;
    if (fate.drop) continue;
    if (fate.corrupt || fate.delay.ns > 0) send_copy(now, *frame, fate.corrupt, fate.delay);
    if (fate.duplicate) send_copy(now, *frame, false, fate.delay);
  }
  return taken;
}

void FaultPort::release_due(Instant now) {
  auto& held = tx_.held;
  while (!held.empty() && held.front().at <= now) {
    Frame* frame = held.front().frame;
    if (!send_now(now, frame)) return;
    pool_.release(frame);
    std::pop_heap(held.begin(), held.end(), std::greater<>());
    held.pop_back();
  }
}

void FaultPort::flush(Instant now) {
  now_ = std::max(now_, now);
  release_due(now);
  inner_->flush(now);
}

Instant FaultPort::next_event() const {
  Instant next = inner_->next_event();
  if (!rx_.held.empty()) next = std::min(next, rx_.held.front().at);
  if (!tx_.held.empty()) next = std::min(next, tx_.held.front().at);
  return next;
}

bool FaultPort::rx_ready() const {
  return inner_->rx_ready() || (!rx_.held.empty() && rx_.held.front().at <= now_);
}

void FaultPort::release_held(Side& side) {
  for (const Held& held : side.held) pool_.release(held.frame);
  side.held.clear();
}

void FaultPort::close() {
  if (closed_) return;
  closed_ = true;
  release_held(rx_);
  release_held(tx_);
  inner_->close();
}

}  // namespace millrace
