// SPDX-License-Identifier: MIT
// Builds a stack from settings: the only place that names concrete ports.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stack/stack.h"

namespace millrace {

struct DpdkConfig {
  std::string arguments;    // for DPDK's environment
  std::string device;       // its DPDK name; empty: the only one
  std::string addresses;    // of a device that the kernel has no interface for
  std::string neighbors;    // on such a device's link
  std::string tap;          // the kernel's interface on a device that it does not have
  std::string object_file;  // the shared object that holds the port
  bool shared = false;      // worker threads: each has one of the device's queues
  bool verbose = false;     // DPDK's log goes to stderr
};

struct OpenConfig {
  std::string port;                     // "loopback", "af_xdp" or "dpdk"
  std::vector<std::string> interfaces;  // to work on; dpdk: the kernel's, which has the addresses
  uint32_t queues = 0;                  // receive queues to take on each; 0: all, dpdk: one
  DpdkConfig dpdk;
  std::string xdp_mode = "auto";  // "auto", "zero-copy", "copy", "generic"
  std::string fault;              // text for the fault wrapper; empty: none
  std::string pcap_file;          // capture file; empty: none
  StackConfig stack;
};

struct OpenError {
  int code = 0;      // errno
  std::string text;  // one line: what is wrong, and with what
};

// Both ends of every connection are in this program: the loopback port, or a ring of DPDK's, which
// gives back what it is sent, without an address or a tap that would make it a link to others.
bool is_in_process(const OpenConfig& config);

// Null on failure, with `error` filled in.
std::unique_ptr<Stack> open_stack(const OpenConfig& config, OpenError& error);

}  // namespace millrace
