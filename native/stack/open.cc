// SPDX-License-Identifier: MIT
#include "stack/open.h"

#include <cstring>

#include "base/clock_os.h"
#include "base/os_memory.h"
#include "port/af_xdp/af_xdp_port.h"
#include "port/loopback/loopback_port.h"
#include "port/wrap/fault_port.h"
#include "port/wrap/pcap_port.h"
#include "stack/kernel_director.h"
#include "stack/open_parts.h"
#include "stack/spare_queues.h"
#include "steer/xdp_steering.h"
#include "tcp/connection.h"

namespace millrace {

namespace {

// Loopback frames are as large as the pool's; the ring holds as many as may ever be under way.
constexpr uint32_t kLoopbackRing = 8192;

}  // namespace

std::unique_ptr<Port> wrap_port(std::unique_ptr<Port> port, Stack& stack, const OpenConfig& config,
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

uint32_t receive_from_inbox(void* inbox, std::span<uint8_t> out, bool& passed_on) {
  return static_cast<steer::FrameInbox*>(inbox)->receive(out, passed_on);
}

namespace {

bool open_loopback(Stack& stack, const OpenConfig& config, OpenError& error) {
  const uint32_t mtu = config.stack.frame_bytes - FramePool::kTxHeadroom;
  auto port = wrap_port(std::make_unique<LoopbackPort>(stack.pool(), mtu, kLoopbackRing), stack,
                        config, error);
  if (!port) return false;
  net::LinkConfig link;
  link.ifindex = kNoIfindex;
  link.mtu_bytes = mtu;
  stack.add_port(std::move(port), link, true);
  return true;
}

steer::XdpMode steering_mode(const std::string& mode) {
  return mode == "generic" ? steer::XdpMode::kGeneric : steer::XdpMode::kAuto;
}

// One interface: program, sockets, and the port between the stack and them.
bool add_interface(Stack& stack, KernelDirector& director, const std::string& name,
                   const OpenConfig& config, OpenError& error) {
  SetupError failure;
  const auto fail = [&] {
    error = {failure.code, failure.text};
    return false;
  };
  auto steering = steer::XdpSteering::open(
      name.c_str(), {.mode = steering_mode(config.xdp_mode), .queues_wanted = config.queues},
      failure);
  if (!steering) return fail();
  AfXdpOptions options;
  options.native = steering->native();
  options.zero_copy = config.xdp_mode == "auto" || config.xdp_mode == "zero-copy";
  options.queues_wanted = config.queues;
  options.fill_frames_max = config.stack.frames / 4 / uint32_t(config.interfaces.size());
  // Others have queues already: a wait for all of them would be in vain.
  if (steering->joined()) options.patience = Duration::millis(200);
  auto port = AfXdpPort::open(name.c_str(), stack.pool(), options, failure);
  if (!port && failure.code == EBUSY && steering->joined()) {
    // Between the greeting and now somebody may have taken the free ones into keeping again.
    steering->ask_for_queues();
    failure = {};
    port = AfXdpPort::open(name.c_str(), stack.pool(), options, failure);
  }
  if (!port) return fail();
  if (config.xdp_mode == "zero-copy" && !port->zero_copy()) {
    error = {EOPNOTSUPP, "interface " + name + " has no zero-copy AF_XDP; allowed: auto, copy"};
    return false;
  }
  const bool shared = !port->has_all_queues();
  const uint32_t device_queues = port->device_queues();
  Error wired = steering->set_frame_limit(port->frame_limit_bytes());
  std::vector<uint32_t> queues;
  for (uint32_t i = 0; i < port->queues() && !wired; ++i) {
    queues.push_back(port->queue_id(i));
    wired = steering->set_queue(port->queue_id(i), port->socket_fd(i));
  }
  if (shared && !wired) {
    wired = port->watch_side(steering->inbox().poll_fd(), &steering->inbox(), receive_from_inbox);
  }
  if (wired) {
    error = {wired.code,
             "cannot steer to the sockets of " + name + ": " + std::strerror(wired.code)};
    return false;
  }
  const net::LinkConfig link{port->ifindex(), port->mac(), port->info().mtu_bytes, true};
  auto wrapped = wrap_port(std::move(port), stack, config, error);
  if (!wrapped) return false;
  stack.add_port(std::move(wrapped), link, false);
  KernelDirector::Shared parts;
  if (shared) {
    parts.keeper =
        SpareQueues::open(name.c_str(), *steering, device_queues, stack.pool().frame_bytes());
    parts.answers = std::make_unique<RssAnswerQueues>(name, std::move(queues));
  }
  director.add_interface(name, link.ifindex, std::move(steering), shared, std::move(parts));
  return true;
}

bool open_af_xdp(Stack& stack, const OpenConfig& config, OpenError& error) {
  auto director = std::make_unique<KernelDirector>(
      stack.ip(), stack.timers(), stack.random(),
      KernelDirector::Limits{.flows_max = config.stack.tcp.connections_max});
  for (const std::string& name : config.interfaces) {
    if (!add_interface(stack, *director, name, config, error)) return false;
  }
  if (const Error failed = director->start(monotonic_now())) {
    error = {failed.code,
             std::string("cannot follow the kernel's tables: ") + std::strerror(failed.code)};
    return false;
  }
  stack.set_director(std::move(director));
  return true;
}

}  // namespace

bool is_in_process(const OpenConfig& config) {
  if (config.port == "loopback") return true;
  const DpdkConfig& dpdk = config.dpdk;
  const auto names = [&dpdk](const char* device) {
    return dpdk.arguments.find(device) != std::string::npos;
  };
  return config.port == "dpdk" && (names("--vdev=net_ring") || names("--vdev net_ring")) &&
         dpdk.addresses.empty() && dpdk.tap.empty();
}

namespace {

// Rather more than a stack takes: its parts cannot say that there is none (they are given what they
// ask for, or end the process).
uint64_t bytes_wanted(const StackConfig& c) {
  constexpr uint64_t kRest = uint64_t(64) << 20;  // tables of fixed size, threads
  constexpr uint64_t kPerSocket = 640;            // a slot, a line, timers, entries in tables
  return uint64_t(c.frames) * (c.frame_bytes + sizeof(Frame)) +
         uint64_t(c.tcp.connections_max) * sizeof(tcp::Connection) +
         uint64_t(c.shared.sockets) * kPerSocket + kRest;
}

bool has_memory(const StackConfig& config, OpenError& error) {
  const uint64_t wanted = bytes_wanted(config);
  if (OsMemory(size_t(wanted)).data()) return true;
  error = {ENOMEM, std::to_string(wanted >> 20)};
  error.text +=
      " MiB of address space are wanted and not given; raise the limit (ulimit -v), or lower ";
  error.text += "MILLRACE_FRAMES or MILLRACE_CONNECTIONS_MAX";
  return false;
}

}  // namespace

std::unique_ptr<Stack> open_stack(const OpenConfig& config, OpenError& error) {
  if (!has_memory(config.stack, error)) return nullptr;
  auto stack = std::make_unique<Stack>(config.stack, Random::from_kernel(), monotonic_now());
  bool opened = false;
  if (config.port == "loopback") {
    opened = open_loopback(*stack, config, error);
  } else if (config.port == "af_xdp") {
    opened = open_af_xdp(*stack, config, error);
  } else if (config.port == "dpdk") {
    opened = open_dpdk(*stack, config, error);
  } else {
    error = {EINVAL, "port " + config.port + " is not known"};
  }
  if (!opened) stack.reset();
  return stack;
}

}  // namespace millrace
