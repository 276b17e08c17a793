// SPDX-License-Identifier: MIT
// net_tap's rules are filters on another interface of the kernel's, which nobody takes away when
// the process is killed: packets would go to a tap that is no more. A shell waits for our end and
// removes them. Cards keep their rules by a descriptor of the process and need no such thing.
#pragma once

namespace millrace::dpdk {

// Best effort: without a shell or tc the next start cleans up (the driver does).
void guard_filters(const char* interface);

}  // namespace millrace::dpdk
