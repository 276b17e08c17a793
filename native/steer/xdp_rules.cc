// SPDX-License-Identifier: MIT
// The rules of an XdpSteering as its maps have them, for people who look, and in words what the
// maps had no room for.
#include <cstring>

#include "steer/bpf.h"
#include "steer/xdp_abi.h"
#include "steer/xdp_steering.h"

namespace millrace::steer {
namespace {

// Entries that are looked at; others on the interface may have most of them.
constexpr uint32_t kLooksMax = 32768;

wire::Endpoint endpoint(const mr_address& address, uint16_t port) {
  uint8_t bytes[16];
  std::memcpy(bytes, &address, sizeof(bytes));
  return {wire::IpAddress::v6_bytes(bytes), wire::load16(reinterpret_cast<const uint8_t*>(&port))};
}

// False: `visit` wants no more.
template <typename Key, typename Visit>
bool each_entry(int map, Visit&& visit) {
  Key key, next;
  const void* at = nullptr;
  for (uint32_t n = 0; n < kLooksMax && bpf::next_key(map, at, &next) == 0; ++n) {
    key = next;
    at = &key;
    uint8_t value = 0;
    if (bpf::lookup(map, &key, &value) == 0 && !visit(key, value)) return false;
  }
  return true;
}

}  // namespace

std::vector<uint16_t> XdpSteering::queues() const {
  std::vector<uint16_t> ours;
  for (uint32_t queue = 0;; ++queue) {
    mr_queue record;
    if (bpf::lookup(map(XdpMap::kQueues), &queue, &record) < 0) return ours;
    if (record.member == sharing_->member()) ours.push_back(uint16_t(queue));
  }
}

void XdpSteering::each_rule(const RuleVisitor& visit) const {
  const uint8_t us = sharing_->member();
  RuleReport rule;
  rule.by = "xdp";
  rule.queues = queues();
  const auto local = [&](const mr_local_key& key, uint8_t) {
    if (key.member != us) return true;
    rule.protocol = key.protocol;
    rule.local = endpoint(key.local, key.port);
    return visit(rule);
  };
  if (!each_entry<mr_local_key>(map(XdpMap::kLocals), local)) return;
  // Blocks and flows hold on every queue: what comes by another stack's is passed on.
  rule.queues.clear();
  rule.kind = RuleReport::Kind::kBlock;
  rule.port_mask = uint16_t(~(kPortBlockSize - 1));
  for (uint32_t block = 0; block < 2 * MR_BLOCKS; ++block) {
    uint32_t owner = 0;
    if (bpf::lookup(map(XdpMap::kBlocks), &block, &owner) < 0 || owner != us) continue;
    rule.protocol = uint8_t(block < MR_BLOCKS ? Protocol::kTcp : Protocol::kUdp);
    rule.local = {{}, uint16_t(block % MR_BLOCKS * kPortBlockSize)};
    if (!visit(rule)) return;
  }
  rule.port_mask = 0xffff;
  each_entry<mr_flow_key>(map(XdpMap::kFlows), [&](const mr_flow_key& key, uint8_t owner) {
    if (owner != us && owner != MR_OWNER_KERNEL) return true;
    rule.kind = owner == us ? RuleReport::Kind::kOurFlow : RuleReport::Kind::kKernelFlow;
    rule.protocol = uint8_t(key.protocol);
    rule.local = endpoint(key.local, key.local_port);
    rule.remote = endpoint(key.remote, key.remote_port);
    return visit(rule);
  });
}

// bpf(2) says E2BIG for a full hash map.
Error XdpSteering::noted(int result, const RuleReport& rule) {
  if (result >= 0) return kOk;
  const bool full = result == -E2BIG;
  refusals_.note(words_of(rule) + ": " +
                 (full ? "the interface's table of such rules is full" : std::strerror(-result)));
  return {full ? ENOBUFS : -result};
}

}  // namespace millrace::steer
