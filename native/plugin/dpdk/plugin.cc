// SPDX-License-Identifier: MIT
// The DPDK shared object's only door.
#include <rte_version.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <string_view>

#include "plugin/dpdk/abi.h"
#include "plugin/dpdk/filter_guard.h"
#include "port/dpdk/dpdk_port.h"
#include "port/dpdk/eal.h"
#include "steer/rte_flow/rte_flow_steering.h"

namespace millrace::dpdk {
namespace {

void copy_text(char* to, size_t bytes, const char* from) {
  std::snprintf(to, bytes, "%s", from);
}

steer::Steering* open_rules(const Device& device) {
  const steer::RteFlowOptions options{
      .queues = device.queues(),
      // The driver takes a mask on a port for the whole port.
      .masked_ports = std::string_view(device.driver()) != "net_tap",
  };
  auto rules = std::make_unique<steer::RteFlowSteering>(
      std::make_unique<steer::EthernetFlowDevice>(device.id()), options);
  return rules.release();
}

bool open_device(const DeviceRequest& request, FramePool& pool, DeviceFacts& facts,
                 SetupError& error) {
  if ((request.queues == 0 && !request.shared) || request.queues > kQueuesMax) {
    error.set(EINVAL, "a DPDK device is used with 1 to %u queues, not %u", kQueuesMax,
              request.queues);
    return false;
  }
  if (!start_eal(request.arguments, request.verbose, error)) return false;
  const DeviceSettings settings{.name = request.device,
                                .queues = request.queues,
                                .receive_buffers = request.receive_buffers,
                                .isolate = request.wants_rules && !request.whole,
                                .shared = request.shared,
                                .stamps = request.stamps};
  auto port = DpdkPort::open(settings, pool, error);
  if (!port) return false;
  const Device& device = port->device();
  facts = DeviceFacts{};
  copy_text(facts.name, sizeof(facts.name), device.name());
  copy_text(facts.driver, sizeof(facts.driver), device.driver());
  facts.ifindex = device.ifindex();
  port->mac(facts.mac);
  facts.mtu_bytes = port->info().mtu_bytes;
  facts.up = device.link_up();
  facts.opened = port->lease().opened();
  facts.shared = port->lease().is_shared();
  facts.first_queue = device.kernel_queue(port->lease().first_queue());
  facts.queues = port->lease().queues();
  std::fill(std::begin(facts.sockets), std::end(facts.sockets), -1);
  const std::span<const int> sockets = port->sockets();
  std::copy(sockets.begin(), sockets.end(), facts.sockets);
  if (device.isolated()) {
    if (facts.opened && std::string_view(device.driver()) == "net_tap")
      guard_filters(request.interface);
    facts.steer = Steer::kRules;
    facts.rules = open_rules(device);
  } else if (!sockets.empty() && !request.whole) {
    facts.steer = Steer::kSockets;
  }
  facts.port = port.release();
  return true;
}

}  // namespace
}  // namespace millrace::dpdk

extern "C" __attribute__((visibility("default"))) const millrace::dpdk::Plugin*
millrace_dpdk_plugin() {
  using namespace millrace::dpdk;
  static const Plugin plugin{kPluginVersion, layout_of_interfaces(), rte_version(), open_device};
  return &plugin;
}
