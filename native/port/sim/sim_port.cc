// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstring>

#include "base/siphash.h"
#include "port/sim/sim_network.h"

namespace millrace {

namespace {
constexpr SipKey kPendingKey{0x6d696c6c72616365, 0x70656e64696e6721};

uint64_t hash_of(const Frame& frame) {
  return SipHash::hash(kPendingKey, frame.bytes());
}
}  // namespace

SimPort::SimPort(SimNetwork& network, FramePool& pool, uint32_t number,
                 const SimPortOptions& options)
    : network_(network), pool_(pool), number_(number), options_(options) {
  info_.name = "sim";
  info_.link = options.link;
  info_.mtu_bytes = options.mtu_bytes;
  info_.mode = "virtual time";
  pending_.resize(std::max(options.tx_ring_frames, 1u));
}

SimPort::~SimPort() {
  close();
  network_.lines_[number_].port = nullptr;
}

void SimPort::set_mac(std::span<const uint8_t, 6> mac) {
  std::copy(mac.begin(), mac.end(), mac_.begin());
}

uint32_t SimPort::receive(Instant stack_now, std::span<Frame*> out) {
  const Instant now{stack_now.ns - ahead_.ns};
  complete(now);
  uint32_t count = 0;
  while (count < out.size()) {
    Frame* frame = network_.arrive(now, number_, pool_, options_.rx_headroom, stats_);
    if (!frame) break;
    ++stats_.rx_frames;
    stats_.rx_bytes += frame->length;
    out[count++] = frame;
  }
  return count;
}

uint32_t SimPort::transmit(Instant stack_now, std::span<Frame* const> frames) {
  MR_ASSERT(!closed_);
  const Instant now{stack_now.ns - ahead_.ns};
  complete(now);
  uint32_t taken = 0;
  for (Frame* frame : frames) {
    if (pending_count_ == pending_.size()) {
      ++stats_.tx_full;
      break;
    }
    ++taken;
    ++stats_.tx_frames;
    stats_.tx_bytes += frame->length;
    if (options_.tx_hold.ns == 0) {
      network_.send(now, number_, *frame);
      continue;
    }
    pool_.retain(frame);
    ++frame->tx_pending;
    const uint32_t place = (pending_head_ + pending_count_++) % uint32_t(pending_.size());
    pending_[place] = {frame, now + options_.tx_hold, hash_of(*frame)};
  }
  return taken;
}

// The device is done with everything whose time has come, in order.
void SimPort::complete(Instant now) {
  while (pending_count_ > 0 && pending_[pending_head_].done_at <= now) {
    finish(now, pending_[pending_head_], true);
    pending_head_ = (pending_head_ + 1) % uint32_t(pending_.size());
    --pending_count_;
  }
}

void SimPort::finish(Instant now, Pending& pending, bool send) {
  Frame* frame = pending.frame;
  if (hash_of(*frame) != pending.hash) ++changed_while_pending_;
  if (send) network_.send(now, number_, *frame);
  --frame->tx_pending;
  pool_.release(frame);
  pending.frame = nullptr;
}

Instant SimPort::next_event() const {
  const Instant next = next_network_event();
  return next.is_never() ? next : next + ahead_;
}

Instant SimPort::next_network_event() const {
  Instant next = pending_count_ ? pending_[pending_head_].done_at : Instant::never();
  const auto& arriving = network_.lines_[number_].arriving;
  if (!arriving.empty()) next = std::min(next, arriving.front().at);
  return next;
}

bool SimPort::rx_ready() const {
  const auto& arriving = network_.lines_[number_].arriving;
  return !arriving.empty() && arriving.front().at <= network_.now_;
}

void SimPort::close() {
  if (closed_) return;
  while (pending_count_ > 0) {
    finish(network_.now_, pending_[pending_head_], false);
    pending_head_ = (pending_head_ + 1) % uint32_t(pending_.size());
    --pending_count_;
  }
  network_.drop_arriving(number_);
  closed_ = true;
}

bool SimPort::takes(std::span<const uint8_t> bytes, bool& group) const {
  if (info_.link == LinkType::kEthernet) {
    group = bytes.size() >= 6 && (bytes[0] & 1);
    return group || (bytes.size() >= 6 && std::memcmp(bytes.data(), mac_.data(), 6) == 0);
  }
  wire::IpAddress to;
  if (bytes.size() >= 20 && bytes[0] >> 4 == 4) {
    to = wire::IpAddress::v4_bytes(bytes.data() + 16);
  } else if (bytes.size() >= 40 && bytes[0] >> 4 == 6) {
    to = wire::IpAddress::v6_bytes(bytes.data() + 24);
  } else {
    return false;
  }
  return std::find(addresses_.begin(), addresses_.end(), to) != addresses_.end();
}

}  // namespace millrace
