// SPDX-License-Identifier: MIT
// Builds a stack from settings: the only place that names concrete ports.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "stack/stack.h"

namespace millrace {

struct OpenConfig {
  std::string port;                     // "loopback" or "af_xdp"
  std::vector<std::string> interfaces;  // af_xdp: the interfaces to work on
  uint32_t queues = 0;                  // af_xdp: receive queues to take on each; 0: all
  std::string xdp_mode = "auto";        // "auto", "zero-copy", "copy", "generic"
  std::string fault;                    // text for the fault wrapper; empty: none
  std::string pcap_file;                // capture file; empty: none
  StackConfig stack;
};

struct OpenError {
  int code = 0;      // errno
  std::string text;  // one line: what is wrong, and with what
};

// Null on failure, with `error` filled in.
std::unique_ptr<Stack> open_stack(const OpenConfig& config, OpenError& error);

}  // namespace millrace
