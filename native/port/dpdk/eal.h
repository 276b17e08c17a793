// SPDX-License-Identifier: MIT
// DPDK's environment (EAL): one per process, whatever the number of stacks, started by the first
// device. It never runs on a thread of ours: rte_eal_init() pins the thread that calls it to a
// processor and makes it the "main lcore", so it gets a thread of its own, which ends; JavaScript's
// thread and the guardian register themselves when they first touch a device.
#pragma once

#include <vector>

#include "base/setup_error.h"

namespace millrace::dpdk {

// What DPDK opens while this lives is not for programs that this one starts: they would hold on to
// taps, sockets and packet memory when it has gone.
class OwnDescriptors {
 public:
  OwnDescriptors();
  ~OwnDescriptors();
  OwnDescriptors(const OwnDescriptors&) = delete;
  OwnDescriptors& operator=(const OwnDescriptors&) = delete;

 private:
  std::vector<int> before_;
};

// Of this process, in the order of their numbers.
std::vector<int> open_descriptors();

// The first call starts it; later ones succeed with the same arguments only. EINVAL: no device is
// named, or other arguments than the first time; else DPDK's own last word is in the text.
bool start_eal(const char* arguments, bool verbose, SetupError& error);
// In words, for the port's mode: "huge pages", "no huge pages".
const char* eal_memory();
// Makes the calling thread one of DPDK's, once, until it ends. Threads beyond DPDK's limit work all
// the same, without per-thread caches.
void register_thread();
// DPDK's last error message since the last call, or "".
const char* last_complaint();

}  // namespace millrace::dpdk
