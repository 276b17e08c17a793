// SPDX-License-Identifier: MIT
#include "stack/open.h"

#include <cstring>

#include "base/clock_os.h"
#include "port/loopback/loopback_port.h"
#include "port/wrap/fault_port.h"
#include "port/wrap/pcap_port.h"

namespace millrace {

namespace {

// Loopback frames are as large as the pool's; the ring holds as many as may ever be under way.
constexpr uint32_t kLoopbackRing = 8192;
// The link number of interfaces that the kernel does not know.
constexpr uint32_t kNoIfindex = 0;

std::unique_ptr<Port> wrap(std::unique_ptr<Port> port, Stack& stack, const OpenConfig& config,
                           OpenError& error) {
  if (!config.fault.empty()) {
    const FaultParse faults = parse_faults(config.fault);
    if (!faults.error.empty()) {
      error = {EINVAL, faults.error};
      return nullptr;
    }
    port = std::make_unique<FaultPort>(std::move(port), stack.pool(), faults.config);
  }
  if (!config.pcap_file.empty()) {
    PcapOptions options;
    options.path = config.pcap_file;
    options.to_wall_clock = wall_clock_now() - monotonic_now();
    auto capture = PcapPort::open(std::move(port), options);
    if (!capture) {
      error = {capture.error().code, "cannot write the capture file " + config.pcap_file + ": " +
                                         std::strerror(capture.error().code)};
      return nullptr;
    }
    port = std::move(*capture);
  }
  return port;
}

bool open_loopback(Stack& stack, const OpenConfig& config, OpenError& error) {
  const uint32_t mtu = config.stack.frame_bytes - FramePool::kTxHeadroom;
  auto port =
      wrap(std::make_unique<LoopbackPort>(stack.pool(), mtu, kLoopbackRing), stack, config, error);
  if (!port) return false;
  net::LinkConfig link;
  link.ifindex = kNoIfindex;
  link.mtu_bytes = mtu;
  stack.add_port(std::move(port), link, true);
  return true;
}

}  // namespace

std::unique_ptr<Stack> open_stack(const OpenConfig& config, OpenError& error) {
  auto stack = std::make_unique<Stack>(config.stack, Random::from_kernel(), monotonic_now());
  if (config.port == "loopback")
    return open_loopback(*stack, config, error) ? std::move(stack) : nullptr;
  error = {EINVAL, "port " + config.port + " is not known"};
  return nullptr;
}

}  // namespace millrace
