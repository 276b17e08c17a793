// SPDX-License-Identifier: MIT
// Port dpdk: the device comes from the shared object, what steers it depends on its driver, and
// what it knows of the network comes from the kernel's interface behind it or from the options.
#include <net/if.h>

#include <cstring>

#include "base/clock_os.h"
#include "stack/dpdk_loader.h"
#include "stack/kernel_director.h"
#include "stack/open_parts.h"
#include "stack/static_network.h"
#include "steer/xdp_detach.h"
#include "steer/xdp_steering.h"

namespace millrace {
namespace {

// The link number of a device that the kernel has no interface for; the kernel's are small.
constexpr uint32_t kStaticIfindex = 1u << 30;

bool fail(OpenError& error, const SetupError& failure) {
  error = {failure.code, failure.text};
  return false;
}

bool refuse(OpenError& error, int code, std::string text) {
  error = {code, std::move(text)};
  return false;
}

// What came before the rules stood is the kernel's, or nobody's; it must not be answered.
void discard_received(Port& port, FramePool& pool) {
  Frame* frames[64];
  for (int rounds = 0; rounds < 1024; ++rounds) {
    const uint32_t n = port.receive(monotonic_now(), frames);
    for (uint32_t i = 0; i < n; ++i) pool.release(frames[i]);
    if (n == 0) return;
  }
}

// The driver's own program takes every packet: ours goes in its place, on a link, so that it is
// gone with the process.
std::unique_ptr<steer::Steering> steer_sockets(const dpdk::DeviceFacts& facts, uint32_t frame_bytes,
                                               OpenError& error) {
  char interface[IF_NAMESIZE] = "";
  if (!if_indextoname(facts.ifindex, interface)) {
    refuse(error, ENODEV, std::string("the interface of DPDK device ") + facts.name + " is gone");
    return nullptr;
  }
  if (const int result = steer::detach_xdp(facts.ifindex); result < 0) {
    refuse(error, -result,
           std::string("cannot take the driver's XDP program off ") + interface + ": " +
               std::strerror(-result));
    return nullptr;
  }
  SetupError failure;
  auto steering = steer::XdpSteering::open(interface, {}, failure);
  if (!steering) {
    fail(error, failure);
    return nullptr;
  }
  Error wired = steering->set_frame_limit(frame_bytes);
  for (uint32_t q = 0; q < facts.queues && !wired; ++q) {
    wired = steering->set_queue(q, facts.sockets[q]);
  }
  if (!wired) return steering;
  refuse(error, wired.code,
         std::string("cannot steer to the sockets of ") + interface + ": " +
             std::strerror(wired.code));
  return nullptr;
}

bool follow_kernel(Stack& stack, const OpenConfig& config, uint32_t ifindex,
                   std::unique_ptr<steer::Steering> steering, OpenError& error) {
  auto director = std::make_unique<KernelDirector>(
      stack.ip(), stack.timers(), stack.random(),
      KernelDirector::Limits{.flows_max = config.stack.tcp.connections_max});
  director->add_interface(ifindex, std::move(steering));
  if (const Error failed = director->start(monotonic_now())) {
    return refuse(error, failed.code,
                  std::string("cannot follow the kernel's tables: ") + std::strerror(failed.code));
  }
  stack.set_director(std::move(director));
  return true;
}

bool follow_options(Stack& stack, const OpenConfig& config, OpenError& error) {
  std::vector<StaticNetwork::Address> addresses;
  std::vector<StaticNetwork::Neighbor> neighbors;
  std::string wrong;
  if (!StaticNetwork::parse_addresses(config.dpdk.addresses, addresses, wrong)) {
    return refuse(error, EINVAL,
                  "MILLRACE_DPDK_ADDRESS: '" + wrong +
                      "' is no address with its prefix length (10.0.0.1/24)");
  }
  if (!StaticNetwork::parse_neighbors(config.dpdk.neighbors, neighbors, wrong)) {
    return refuse(
        error, EINVAL,
        "MILLRACE_DPDK_NEIGHBORS: '" + wrong + "' is no neighbour (10.0.0.2=02:00:00:00:00:02)");
  }
  stack.keep(std::make_unique<StaticNetwork>(stack.ip(), stack.timers(), kStaticIfindex,
                                             std::move(addresses), std::move(neighbors)));
  return true;
}

dpdk::DeviceRequest device_request(const OpenConfig& config) {
  dpdk::DeviceRequest request;
  request.arguments = config.dpdk.arguments.c_str();
  request.device = config.dpdk.device.c_str();
  request.queues = config.dpdk.queues;
  request.receive_buffers = config.stack.frames / 4;
  request.wants_rules = !config.interfaces.empty();
  request.verbose = config.dpdk.verbose;
  return request;
}

}  // namespace

bool open_dpdk(Stack& stack, const OpenConfig& config, OpenError& error) {
  SetupError failure;
  uint32_t ifindex = 0;
  if (!config.interfaces.empty()) {
    ifindex = if_nametoindex(config.interfaces[0].c_str());
    if (ifindex == 0) {
      return refuse(error, ENODEV, "there is no network interface " + config.interfaces[0]);
    }
  }
  const dpdk::Plugin* plugin = load_dpdk(config.dpdk.object_file.c_str(), failure);
  if (!plugin) return fail(error, failure);
  dpdk::DeviceFacts facts;
  if (!plugin->open(device_request(config), stack.pool(), facts, failure)) {
    return fail(error, failure);
  }
  std::unique_ptr<Port> port(facts.port);
  std::unique_ptr<steer::Steering> steering(facts.rules);
  if (facts.steer == dpdk::Steer::kSockets) {
    if (ifindex != 0 && ifindex != facts.ifindex) {
      return refuse(error, EINVAL,
                    "DPDK device " + std::string(facts.name) + " works on another interface than " +
                        config.interfaces[0]);
    }
    ifindex = facts.ifindex;
    steering = steer_sockets(facts, stack.pool().frame_bytes() - FramePool::kTxHeadroom, error);
    if (!steering) return false;
    discard_received(*port, stack.pool());
  }
  const bool with_kernel = steering != nullptr;
  if (!with_kernel && config.dpdk.addresses.empty()) {
    return refuse(error, EINVAL,
                  "the kernel has no interface for DPDK device " + std::string(facts.name) + " (" +
                      facts.driver + "): give its addresses in MILLRACE_DPDK_ADDRESS");
  }
  net::LinkConfig link;
  link.ifindex = with_kernel ? ifindex : kStaticIfindex;
  std::memcpy(link.mac.data(), facts.mac, link.mac.size());
  link.mtu_bytes = facts.mtu_bytes;
  port = wrap_port(std::move(port), stack, config, error);
  if (!port) return false;
  stack.add_port(std::move(port), link, false);
  return with_kernel ? follow_kernel(stack, config, ifindex, std::move(steering), error)
                     : follow_options(stack, config, error);
}

}  // namespace millrace
