// SPDX-License-Identifier: MIT
// What the addon and the DPDK shared object (millrace_dpdk.so) know of each other. The addon loads
// the object with dlopen when port dpdk is asked for, so that the addon itself needs nothing but
// libc; the object is compiled where DPDK's headers are. One C function hands out the table below;
// what goes across are abstract classes and plain structures of this tree, compiled by both from
// the same headers: `layout` tells when they were not.
#pragma once

#include <cstdint>

#include "base/setup_error.h"
#include "packet/frame_pool.h"
#include "port/port.h"
#include "steer/steering.h"

namespace millrace::dpdk {

inline constexpr uint32_t kQueuesMax = 16;

// Who says which packets of a device are ours.
enum class Steer : uint8_t {
  kSockets,  // an XDP program in front of the driver's AF_XDP sockets; the addon attaches it
  kRules,    // rte_flow rules in the device, which is isolated: the rest stays with the kernel
  kAll,      // nobody: every packet of the device comes to us
};

struct DeviceRequest {
  const char* arguments = "";    // for DPDK's environment, separated by spaces
  const char* device = "";       // its DPDK name; empty: the only one
  uint32_t queues = 1;           // receive queues; 0 (shared only): as many as make sense
  bool shared = false;           // this stack is one of several: it gets one of the queues
  uint32_t receive_buffers = 0;  // mbufs that wait in the device, or are being copied
  bool wants_rules = false;      // the kernel has the device too: isolate it, steer by rte_flow
  const char* interface = "";    // then: the kernel's interface on it
  bool whole = false;            // every packet comes to us, whatever the driver could do
  bool stamps = false;           // somebody wants to know when packets were received
  bool verbose = false;          // DPDK's log goes to stderr
};

struct DeviceFacts {
  char name[64] = "";    // as DPDK calls the device
  char driver[48] = "";  // and its driver
  uint32_t ifindex = 0;  // the kernel's interface behind it; 0: there is none
  uint8_t mac[6] = {};
  uint32_t mtu_bytes = 1500;
  bool up = true;
  Steer steer = Steer::kAll;
  bool opened = true;   // by this stack; else others had it before
  bool shared = false;  // others have queues of it, or may come to
  // This stack's queues, from the first on, in the kernel's numbers where it has the device.
  uint32_t first_queue = 0;
  uint32_t queues = 1;
  int sockets[kQueuesMax];  // Steer::kSockets: by queue of this stack
  // Owned by whoever opened the device; `rules` (Steer::kRules only) goes before `port`.
  Port* port = nullptr;
  steer::Steering* rules = nullptr;
};

constexpr uint64_t layout_of_interfaces() {
  uint64_t hash = 14695981039346656037ull;
  for (const uint64_t size :
       {sizeof(DeviceRequest), sizeof(DeviceFacts), sizeof(Frame), sizeof(FramePool),
        sizeof(PortInfo), sizeof(PortStats), sizeof(SetupError), sizeof(steer::SteeringCounters),
        sizeof(wire::FlowKey), sizeof(wire::Endpoint), sizeof(Instant)}) {
    hash = (hash ^ size) * 1099511628211ull;
  }
  return hash;
}

struct Plugin {
  uint32_t version;
  uint64_t layout;
  const char* dpdk;  // "DPDK 22.11.11"
  // Starts DPDK if this is the first device, opens one. False, and `error` says why. `pool`
  // outlives the port.
  bool (*open)(const DeviceRequest& request, FramePool& pool, DeviceFacts& facts,
               SetupError& error);
};

inline constexpr uint32_t kPluginVersion = 5;
inline constexpr const char* kPluginSymbol = "millrace_dpdk_plugin";
using PluginFunction = const Plugin* (*)();

}  // namespace millrace::dpdk
