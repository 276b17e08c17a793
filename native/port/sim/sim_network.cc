// SPDX-License-Identifier: MIT
#include "port/sim/sim_network.h"

#include <algorithm>
#include <cstring>

#include "port/sim/middlebox.h"
#include "port/sim/too_big.h"

namespace millrace {

const char* sim_event_name(SimEvent event) {
  static constexpr const char* kNames[] = {
      "sent",      "delivered",  "lost",      "link-down", "too-big", "queue-full", "no-receiver",
      "no-memory", "duplicated", "reordered", "corrupted", "marked",  "split",      "no-mapping"};
  return kNames[size_t(event)];
}

namespace {

// Turns ECT into CE, header checksum included (RFC 3168 5, RFC 1624 3). False for what cannot be
// marked.
bool mark_ce(std::span<uint8_t> bytes, size_t link) {
  if (bytes.size() < link + 20) return false;
  uint8_t* ip = bytes.data() + link;
  if (ip[0] >> 4 == 6) {
    if ((ip[1] & 0x30) == 0 || (ip[1] & 0x30) == 0x30) return false;
    ip[1] |= 0x30;
    return true;
  }
  if (ip[0] >> 4 != 4 || (ip[1] & 3) == 0 || (ip[1] & 3) == 3) return false;
  uint32_t sum = uint32_t(ip[10] << 8 | ip[11]);
  sum = (~sum & 0xffff) + (~uint32_t(ip[0] << 8 | ip[1]) & 0xffff);
  ip[1] |= 3;
  sum += uint32_t(ip[0] << 8 | ip[1]);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  ip[10] = uint8_t(sum >> 8);
  ip[11] = uint8_t(sum);
  return true;
}

}  // namespace

SimNetwork::SimNetwork(uint64_t seed, uint32_t in_flight_max)
    : random_(Random::from_seed(seed)), in_flight_max_(in_flight_max) {}

SimNetwork::~SimNetwork() {
  for (const Line& line : lines_) MR_ASSERT(line.port == nullptr);
}

std::unique_ptr<SimPort> SimNetwork::add_port(FramePool& pool, const SimPortOptions& options) {
  std::unique_ptr<SimPort> port(new SimPort(*this, pool, uint32_t(lines_.size()), options));
  lines_.emplace_back();
  lines_.back().port = port.get();
  return port;
}

void SimNetwork::set_conditions(uint32_t from, const SimConditions& conditions) {
  lines_[from].conditions = conditions;
}

Instant SimNetwork::next_event() const {
  Instant next = Instant::never();
  for (const Line& line : lines_) {
    if (line.port) next = std::min(next, line.port->next_network_event());
  }
  return next;
}

// Decides the fate of one frame. The draws happen in a fixed order and whether they are needed or
// not, so that a change of one rate disturbs a run as little as possible.
void SimNetwork::send(Instant now, uint32_t from, const Frame& frame) {
  now_ = std::max(now_, now);
  const std::span<const uint8_t> bytes = frame.bytes();
  observe(now, SimEvent::kSent, from, bytes);
  bool group = false;
  const bool pair = lines_.size() == 2;
  bool found = false;
  for (uint32_t to = 0; to < lines_.size(); ++to) {
    SimPort* port = lines_[to].port;
    if (to == from || !port || port->closed_) continue;
    if (!pair && !port->takes(bytes, group)) continue;
    found = true;
    deliver_to(now, from, to, bytes);
    if (!pair && !group) break;
  }
  if (!found) observe(now, SimEvent::kNoReceiver, from, bytes);
}

bool SimNetwork::lose(Instant now, Line& line) {
  const SimConditions& c = line.conditions;
  const bool alone = random_.chance(c.loss);
  if (now > line.burst_until) line.burst_left = 0;
  if (line.burst_left > 0) {
    --line.burst_left;
    return true;
  }
  if (c.burst_start && random_.chance(c.burst_start)) {
    line.burst_left = random_.below(2 * std::max(c.burst_frames, 1u));
    line.burst_until = c.burst_for.ns ? now + c.burst_for : Instant::never();
    return true;
  }
  return alone;
}

// The line sends one frame after the other; `leaves` is when this one's last bit is out.
bool SimNetwork::queue(Line& line, Instant now, size_t bytes, Instant& leaves) {
  const SimConditions& c = line.conditions;
  leaves = now;
  if (c.rate_bits_per_s == 0) return true;
  const int64_t waiting_ns = std::max<int64_t>(0, line.busy_until.ns - now.ns);
  const uint64_t waiting_bytes = uint64_t(waiting_ns) * (c.rate_bits_per_s / 8) / 1'000'000'000;
  // What finds the line idle does not queue, however large.
  if (c.queue_bytes && waiting_bytes > 0 && waiting_bytes + bytes > c.queue_bytes) return false;
  const int64_t takes_ns = int64_t(uint64_t(bytes) * 8 * 1'000'000'000 / c.rate_bits_per_s);
  line.busy_until = std::max(line.busy_until, now) + Duration{takes_ns};
  leaves = line.busy_until;
  return true;
}

// Whether the router would mark what comes now. Draws only where marking is on.
bool SimNetwork::congested(const Line& line, Instant now) {
  const SimConditions& c = line.conditions;
  const bool alone = c.mark && random_.chance(c.mark);
  if (!c.mark_from_bytes || !c.rate_bits_per_s) return alone;
  const int64_t waiting_ns = std::max<int64_t>(0, line.busy_until.ns - now.ns);
  const uint64_t waiting_bytes = uint64_t(waiting_ns) * (c.rate_bits_per_s / 8) / 1'000'000'000;
  return alone || waiting_bytes >= c.mark_from_bytes;
}

bool SimNetwork::corrupt(Line& line, SimPort& port, std::span<uint8_t> bytes) {
  const SimConditions& c = line.conditions;
  const bool flip = random_.chance(c.corrupt);
  const bool swap = random_.chance(c.corrupt_hidden);
  const size_t words = bytes.size() / 2;
  if (flip && words) {
    uint8_t* word = bytes.data() + 2 * random_.below(uint32_t(words));
    const uint16_t mask = uint16_t(1 + random_.below(0xffff));
    const uint16_t before = uint16_t(word[0] | word[1] << 8);
    // 0 and 0xffff are the same number in one's complement: that change nobody could notice.
    const bool unseen = mask == 0xffff && (before == 0 || before == 0xffff);
    word[0] ^= unseen ? 1 : uint8_t(mask);
    word[1] ^= unseen ? 0 : uint8_t(mask >> 8);
    return true;
  }
  // Past the IP header, so that both words lie in the same sum.
  const size_t link = port.info().link == LinkType::kEthernet ? 14 : 0;
  const bool v6 = bytes.size() > link && bytes[link] >> 4 == 6;
  const size_t skip = (link + (v6 ? 40 : 20)) / 2;
  if (swap && words > skip + 2) {
    uint8_t* a = bytes.data() + 2 * (skip + random_.below(uint32_t(words - skip)));
    uint8_t* b = bytes.data() + 2 * (skip + random_.below(uint32_t(words - skip)));
    std::swap(a[0], b[0]);
    std::swap(a[1], b[1]);
    return true;
  }
  return false;
}

void SimNetwork::deliver_to(Instant now, uint32_t from, uint32_t to,
                            std::span<const uint8_t> bytes) {
  Line& line = lines_[from];
  const SimConditions& c = line.conditions;
  const size_t link = line.port->info().link == LinkType::kEthernet ? 14 : 0;
  if (!c.up) return observe(now, SimEvent::kLinkDown, from, bytes);
  if (bytes.size() > c.mtu_bytes + link) return refuse(now, from, bytes);
  Instant leaves;
  const bool marked = congested(line, now);
  if (!queue(line, now, bytes.size(), leaves)) {
    return observe(now, SimEvent::kQueueFull, from, bytes);
  }
  const bool lost = lose(now, line);
  const bool twice = random_.chance(c.duplicate);
  const bool late = random_.chance(c.reorder);
  const uint32_t span_us = uint32_t(std::max<int64_t>(1, c.reorder_by.micros()));
  const Duration extra = Duration::micros(random_.below(span_us) + 1);
  if (lost) return observe(now, SimEvent::kLost, from, bytes);
  const bool early = c.early && random_.chance(c.early);
  const Instant at = early ? leaves : leaves + c.delay;
  const uint32_t slot = take_slot(bytes);
  if (slot == kNoSlot) return observe(now, SimEvent::kQueueFull, from, bytes);
  if (!translate(from, to, slots_[slot])) {
    observe(now, SimEvent::kNoMapping, from, slots_[slot]);
    --in_flight_;
    free_slots_.push_back(slot);
    return;
  }
  if (c.split && random_.chance(c.split)) cut_in_two(now, line, from, slot, at, to);
  if (corrupt(line, *line.port, slots_[slot]))
    observe(now, SimEvent::kCorrupted, from, slots_[slot]);
  if (marked && mark_ce(slots_[slot], link)) {
    observe(now, SimEvent::kMarked, from, slots_[slot]);
  }
  if (late) observe(now, SimEvent::kReordered, from, slots_[slot]);
  put(late ? at + extra : at, to, slot);
  if (!twice) return;
  const uint32_t second = take_slot(bytes);
  if (second == kNoSlot) return;
  (void)translate(from, to, slots_[second]);
  observe(now, SimEvent::kDuplicated, from, slots_[second]);
  put(at + (random_.chance(500'000) ? extra : Duration{}), to, second);
}

// Both ends may be behind a box of their own. False: no mapping leads there any more.
bool SimNetwork::translate(uint32_t from, uint32_t to, std::span<uint8_t> bytes) {
  const bool ethernet = lines_[from].port->info().link == LinkType::kEthernet;
  const uint16_t out = lines_[from].conditions.nat_shift, in = lines_[to].conditions.nat_shift;
  if (out) (void)translate_port(bytes, ethernet, PortSide::kSource, out);
  return in == 0 || translate_port(bytes, ethernet, PortSide::kDestination, in);
}

// The second half has a fate of its own.
void SimNetwork::cut_in_two(Instant now, Line& line, uint32_t from, uint32_t slot, Instant at,
                            uint32_t to) {
  const bool ethernet = line.port->info().link == LinkType::kEthernet;
  const uint32_t number = random_.next_u32();
  const bool lost = random_.chance(std::max(line.conditions.loss, 100'000u));
  std::vector<uint8_t> rest;
  if (!split_segment(slots_[slot], ethernet, number, rest)) return;
  observe(now, SimEvent::kSplit, from, rest);
  if (lost) return observe(now, SimEvent::kLost, from, rest);
  const uint32_t second = take_slot(rest);
  if (second != kNoSlot) put(at + Duration::nanos(1), to, second);
}

void SimNetwork::refuse(Instant now, uint32_t from, std::span<const uint8_t> bytes) {
  const SimConditions& c = lines_[from].conditions;
  observe(now, SimEvent::kTooBig, from, bytes);
  const bool ethernet = lines_[from].port->info().link == LinkType::kEthernet;
  std::vector<uint8_t> answer;
  if (!c.answer_too_big || !build_too_big(bytes, ethernet, c.mtu_bytes, answer)) return;
  const uint32_t slot = take_slot(answer);
  if (slot != kNoSlot) put(now + c.delay, from, slot);
}

uint32_t SimNetwork::take_slot(std::span<const uint8_t> bytes) {
  if (in_flight_ == in_flight_max_) return kNoSlot;
  uint32_t slot;
  if (free_slots_.empty()) {
    slot = uint32_t(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  ++in_flight_;
  slots_[slot].assign(bytes.begin(), bytes.end());
  return slot;
}

void SimNetwork::put(Instant at, uint32_t to, uint32_t slot) {
  auto& heap = lines_[to].arriving;
  heap.push_back({at, serial_++, slot});
  std::push_heap(heap.begin(), heap.end(), std::greater<>());
}

Frame* SimNetwork::arrive(Instant now, uint32_t to, FramePool& pool, uint32_t headroom,
                          PortStats& stats) {
  now_ = std::max(now_, now);
  auto& heap = lines_[to].arriving;
  while (!heap.empty() && heap.front().at <= now) {
    const uint32_t slot = heap.front().slot;
    std::pop_heap(heap.begin(), heap.end(), std::greater<>());
    heap.pop_back();
    --in_flight_;
    free_slots_.push_back(slot);
    const std::vector<uint8_t>& bytes = slots_[slot];
    Frame* frame = bytes.size() + headroom <= pool.frame_bytes() ? pool.alloc(headroom) : nullptr;
    if (!frame) {
      ++stats.rx_dropped;
      observe(now, SimEvent::kNoMemory, to, bytes);
      continue;
    }
    frame->length = uint32_t(bytes.size());
    std::memcpy(frame->data(), bytes.data(), bytes.size());
    observe(now, SimEvent::kDelivered, to, bytes);
    return frame;
  }
  return nullptr;
}

void SimNetwork::drop_arriving(uint32_t port) {
  for (const Flight& flight : lines_[port].arriving) {
    free_slots_.push_back(flight.slot);
    --in_flight_;
  }
  lines_[port].arriving.clear();
}

}  // namespace millrace
