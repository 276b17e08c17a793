// SPDX-License-Identifier: MIT
// Port dpdk: the device comes from the shared object, what steers it depends on its driver, and
// what it knows of the network comes from the kernel's interface behind it or from the options.
#include <net/if.h>

#include <cstring>

#include "base/clock_os.h"
#include "port/wrap/exception_port.h"
#include "port/wrap/inward_port.h"
#include "port/wrap/side_port.h"
#include "stack/dpdk_loader.h"
#include "stack/kernel_director.h"
#include "stack/open_parts.h"
#include "stack/pair_steering.h"
#include "stack/static_network.h"
#include "steer/xdp_detach.h"
#include "steer/xdp_steering.h"

namespace millrace {
namespace {

// The link number of a device that the kernel has no interface for; the kernel's are small.
constexpr uint32_t kStaticIfindex = 1u << 30;

// The port, and what goes with it, while it is put together.
struct Opened {
  std::unique_ptr<Port> port;
  std::unique_ptr<steer::Steering> steering;  // goes before the port that it leads to
  uint32_t ifindex = 0;                       // the kernel's interface that has the addresses
  bool shared = false;                        // with other stacks of this process
};

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
std::unique_ptr<steer::XdpSteering> steer_sockets(const dpdk::DeviceFacts& facts,
                                                  uint32_t frame_bytes, OpenError& error) {
  char interface[IF_NAMESIZE] = "";
  if (!if_indextoname(facts.ifindex, interface)) {
    refuse(error, ENODEV, std::string("the interface of DPDK device ") + facts.name + " is gone");
    return nullptr;
  }
  const int result = facts.opened ? steer::detach_xdp(facts.ifindex) : 0;
  if (result < 0) {
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
    wired = steering->set_queue(facts.first_queue + q, facts.sockets[q]);
  }
  if (!wired) return steering;
  refuse(error, wired.code,
         std::string("cannot steer to the sockets of ") + interface + ": " +
             std::strerror(wired.code));
  return nullptr;
}

bool follow_kernel(Stack& stack, const OpenConfig& config, Opened& opened, OpenError& error) {
  auto director = std::make_unique<KernelDirector>(
      stack.ip(), stack.timers(), stack.random(),
      KernelDirector::Limits{.flows_max = config.stack.tcp.connections_max});
  director->add_interface(config.interfaces.empty() ? config.dpdk.tap : config.interfaces[0],
                          opened.ifindex, std::move(opened.steering), opened.shared,
                          KernelDirector::Shared{});
  if (const Error failed = director->start(monotonic_now())) {
    return refuse(error, failed.code,
                  std::string("cannot follow the kernel's tables: ") + std::strerror(failed.code));
  }
  stack.set_director(std::move(director));
  return true;
}

bool parse_network(const OpenConfig& config, std::vector<StaticNetwork::Address>& addresses,
                   std::vector<StaticNetwork::Neighbor>& neighbors, OpenError& error) {
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
  return true;
}

// What is not ours goes to the kernel by a tap. With `name` that is the kernel's interface on the
// device, and has the addresses of the options, or those that somebody gave it before.
bool add_exception_path(Stack& stack, const OpenConfig& config, const dpdk::DeviceFacts& facts,
                        Opened& opened, OpenError& error) {
  const bool answers = !config.dpdk.tap.empty();
  SetupError failure;
  TapDevice::Settings settings;
  settings.name = answers ? config.dpdk.tap.c_str() : "millrace%d";
  std::memcpy(settings.mac, facts.mac, sizeof(settings.mac));
  settings.mtu_bytes = facts.mtu_bytes;
  settings.quiet = !answers;
  auto tap = std::make_unique<TapDevice>();
  if (!tap->open(settings, failure)) return fail(error, failure);
  std::vector<StaticNetwork::Address> addresses;
  std::vector<StaticNetwork::Neighbor> neighbors;
  if (answers && !parse_network(config, addresses, neighbors, error)) return false;
  for (const auto& one : addresses) {
    const wire::IpAddress& ip = one.address;
    const std::span<const uint8_t> bytes =
        ip.is_v4() ? std::span(ip.v4_data(), 4) : std::span(ip.data(), 16);
    if (const int result = tap->add_address(bytes, one.prefix_length); result < 0) {
      return refuse(
          error, -result,
          std::string("cannot give ") + tap->name() + " its addresses: " + std::strerror(-result));
    }
  }
  if (answers) opened.ifindex = tap->ifindex();
  auto soft = std::make_shared<steer::SoftSteering>(
      stack.random().sip_key(),
      steer::SoftSteering::Limits{.flows_max = 2 * config.stack.tcp.connections_max});
  opened.steering = std::make_unique<PairSteering>(std::move(opened.steering), soft);
  auto judge = [soft](std::span<const uint8_t> frame) { return soft->judge(frame); };
  auto port = ExceptionPort::open(std::move(opened.port), stack.pool(), std::move(judge),
                                  std::move(tap), answers, failure);
  if (!port) return fail(error, failure);
  opened.port = std::move(port);
  return true;
}

dpdk::DeviceRequest device_request(const OpenConfig& config) {
  dpdk::DeviceRequest request;
  request.arguments = config.dpdk.arguments.c_str();
  request.device = config.dpdk.device.c_str();
  request.shared = config.dpdk.shared;
  request.queues = config.queues ? config.queues : request.shared ? 0 : 1;
  request.receive_buffers = config.stack.frames / 4;
  request.wants_rules = !config.interfaces.empty();
  if (request.wants_rules) request.interface = config.interfaces[0].c_str();
  request.whole = !config.dpdk.tap.empty();
  request.stamps = !config.pcap_file.empty();
  request.verbose = config.dpdk.verbose;
  return request;
}

// What came by another stack's queue and is this one's. (No connections are opened over a shared
// device: DPDK has a socket on every queue, so nobody can keep those of threads that are gone, and
// an answer by such a queue would be lost.)
bool join_others(Stack& stack, steer::XdpSteering& steering, Opened& opened, OpenError& error) {
  SetupError failure;
  auto port = SidePort::open(std::move(opened.port), stack.pool(), steering.inbox().poll_fd(),
                             &steering.inbox(), receive_from_inbox, failure);
  if (!port) return fail(error, failure);
  opened.port = std::move(port);
  return true;
}

bool add_inward(Stack& stack, const OpenConfig& config, const dpdk::DeviceFacts& facts,
                Opened& opened, OpenError& error) {
  auto port = wrap_port(std::make_unique<InwardPort>(std::move(opened.port)), stack, config, error);
  if (!port) return false;
  net::LinkConfig link;
  link.ifindex = kNoIfindex;
  link.mtu_bytes = facts.mtu_bytes;
  stack.add_port(std::move(port), link, true);
  return true;
}

// Brings in who says which packets are ours; nobody where the options know all of the network.
bool steer_device(Stack& stack, const OpenConfig& config, const dpdk::DeviceFacts& facts,
                  Opened& opened, OpenError& error) {
  if (facts.steer == dpdk::Steer::kSockets) {
    if (opened.ifindex != 0 && opened.ifindex != facts.ifindex) {
      return refuse(error, EINVAL,
                    "DPDK device " + std::string(facts.name) + " works on another interface than " +
                        config.interfaces[0]);
    }
    opened.ifindex = facts.ifindex;
    auto steering =
        steer_sockets(facts, stack.pool().frame_bytes() - FramePool::kTxHeadroom, error);
    if (!steering) return false;
    discard_received(*opened.port, stack.pool());
    const bool wired = !opened.shared || join_others(stack, *steering, opened, error);
    opened.steering = std::move(steering);
    return wired;
  }
  if (facts.steer == dpdk::Steer::kRules || !config.dpdk.tap.empty()) {
    return add_exception_path(stack, config, facts, opened, error);
  }
  if (!config.dpdk.addresses.empty()) return true;
  return refuse(error, EINVAL,
                "the kernel has no interface for DPDK device " + std::string(facts.name) + " (" +
                    facts.driver +
                    "): name one for it to have with MILLRACE_DPDK_TAP, or give our "
                    "addresses in MILLRACE_DPDK_ADDRESS");
}

}  // namespace

bool open_dpdk(Stack& stack, const OpenConfig& config, OpenError& error) {
  SetupError failure;
  Opened opened;
  if (!config.interfaces.empty()) {
    opened.ifindex = if_nametoindex(config.interfaces[0].c_str());
    if (opened.ifindex == 0) {
      return refuse(error, ENODEV, "there is no network interface " + config.interfaces[0]);
    }
  }
  const dpdk::Plugin* plugin = load_dpdk(config.dpdk.object_file.c_str(), failure);
  if (!plugin) return fail(error, failure);
  dpdk::DeviceFacts facts;
  if (!plugin->open(device_request(config), stack.pool(), facts, failure)) {
    return fail(error, failure);
  }
  opened.port.reset(facts.port);
  opened.steering.reset(facts.rules);
  opened.shared = facts.shared;
  if (facts.shared && facts.steer != dpdk::Steer::kSockets) {
    return refuse(error, EOPNOTSUPP,
                  "worker threads cannot share DPDK device " + std::string(facts.name) +
                      " with an exception path: open the sockets on the main thread");
  }
  if (is_in_process(config) && std::strcmp(facts.driver, "net_ring") == 0)
    return add_inward(stack, config, facts, opened, error);
  if (!steer_device(stack, config, facts, opened, error)) return false;

  net::LinkConfig link;
  const bool with_kernel = opened.steering != nullptr;
  link.ifindex = with_kernel ? opened.ifindex : kStaticIfindex;
  std::memcpy(link.mac.data(), facts.mac, link.mac.size());
  link.mtu_bytes = facts.mtu_bytes;
  auto port = wrap_port(std::move(opened.port), stack, config, error);
  if (!port) return false;
  stack.add_port(std::move(port), link, false);
  if (with_kernel) {
    return follow_kernel(stack, config, opened, error);
  }
  std::vector<StaticNetwork::Address> addresses;
  std::vector<StaticNetwork::Neighbor> neighbors;
  if (!parse_network(config, addresses, neighbors, error)) return false;
  stack.keep(std::make_unique<StaticNetwork>(stack.ip(), stack.timers(), kStaticIfindex,
                                             std::move(addresses), std::move(neighbors)));
  return true;
}

}  // namespace millrace
