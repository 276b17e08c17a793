// SPDX-License-Identifier: MIT
#include "dpdk/ring_port.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "dpdk/finish_packet.h"
#include "dpdk/ring_device.h"
#include "port/dpdk/dpdk_port.h"

namespace millrace::test {
namespace {

constexpr uint32_t kLinkBytes = 14;

bool begins_packet(const Frame& f) {
  return !(f.flags & Frame::kContinues);
}

}  // namespace

uint64_t every_offload() {
  return RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |
         RTE_ETH_TX_OFFLOAD_UDP_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
}

uint64_t& offloads_wanted() {
  static uint64_t wanted = [] {
    const char* value = std::getenv("MILLRACE_TEST_OFFLOADS");
    return value && *value == '1' ? every_offload() : 0;
  }();
  return wanted;
}

RingPort::RingPort(FramePool& pool, LinkType link, uint32_t mtu_bytes)
    : pool_(pool), device_(std::make_unique<RingDevice>()) {
  SetupError error;
  dpdk::DeviceSettings settings;
  settings.name = device_->name();
  settings.assumed_offloads = offloads_wanted();
  port_ = dpdk::DpdkPort::open(settings, pool, error);
  REQUIRE_MESSAGE(port_, error.text);
  info_ = port_->info();
  info_.link = link;
  info_.mtu_bytes = mtu_bytes;
}

RingPort::~RingPort() {
  close();
}

uint32_t RingPort::link_bytes() const {
  return info_.link == LinkType::kEthernet ? 0 : kLinkBytes;
}

uint32_t RingPort::receive(Instant now, std::span<Frame*> out) {
  const uint32_t n = port_->receive(now, out);
  for (uint32_t i = 0; i < n; ++i) out[i]->pop_front(link_bytes());
  return n;
}

// The device is Ethernet's: a link without link addresses gets empty headers.
uint32_t RingPort::transmit(Instant now, std::span<Frame* const> frames) {
  for (Frame* f : frames) {
    if (begins_packet(*f)) std::memset(f->push_front(link_bytes()), 0, link_bytes());
  }
  const uint32_t taken = port_->transmit(now, frames);
  for (uint32_t i = 0; i < frames.size(); ++i) {
    if (!begins_packet(*frames[i])) continue;
    if (i < taken) {
      in_ring_.push_back(frames[i]);
    } else {
      frames[i]->pop_front(link_bytes());
    }
  }
  return taken;
}

void RingPort::close() {
  if (!device_) return;
  clear();
  port_->close();
  device_.reset();
}

bool RingPort::finish_one() {
  rte_mbuf* packet = device_->take();
  if (!packet) return false;
  Requested requested;
  for (Bytes& bytes : finish_packet(*packet, &requested)) finished_.push_back(std::move(bytes));
  requested_.push_back(requested);
  rte_pktmbuf_free(packet);
  in_ring_.pop_front();
  return true;
}

uint32_t RingPort::sent_count() {
  while (finish_one()) {
  }
  return uint32_t(finished_.size());
}

std::vector<uint8_t> RingPort::take() {
  if (finished_.empty() && !finish_one()) return {};
  Bytes bytes = std::move(finished_.front());
  finished_.pop_front();
  bytes.erase(bytes.begin(), bytes.begin() + long(link_bytes()));
  return bytes;
}

void RingPort::clear() {
  static_cast<void>(sent_count());
  finished_.clear();
}

Frame* RingPort::arrive(Instant now, std::span<const uint8_t> bytes) {
  rte_mbuf* packet = rte_pktmbuf_alloc(packet_pool());
  REQUIRE(packet);
  char* to = rte_pktmbuf_append(packet, uint16_t(link_bytes() + bytes.size()));
  REQUIRE(to);
  std::memset(to, 0, link_bytes());
  std::copy(bytes.begin(), bytes.end(), to + link_bytes());
  REQUIRE(rte_ring_enqueue(device_->in, packet) == 0);
  Frame* frame = nullptr;
  return receive(now, {&frame, 1}) == 1 ? frame : nullptr;
}

Frame* RingPort::make_frame(std::span<const uint8_t> bytes) {
  Frame* f = pool_.alloc();
  MR_ASSERT(f && bytes.size() <= f->tailroom());
  f->length = uint32_t(bytes.size());
  std::copy(bytes.begin(), bytes.end(), f->data());
  return f;
}

}  // namespace millrace::test
