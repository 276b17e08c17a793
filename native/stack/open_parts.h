// SPDX-License-Identifier: MIT
// What the files that open ports share. Not for others: see stack/open.h.
#pragma once

#include <memory>

#include "stack/open.h"

namespace millrace {

// The link number of a device that the kernel does not know.
inline constexpr uint32_t kNoIfindex = 0;

// Puts the fault and capture wrappers around a port, as the settings say. Null: `error` says why.
std::unique_ptr<Port> wrap_port(std::unique_ptr<Port> port, Stack& stack, const OpenConfig& config,
                                OpenError& error);

// Reads a frame that another stack has passed on; `inbox` is a steer::FrameInbox.
uint32_t receive_from_inbox(void* inbox, std::span<uint8_t> out, bool& passed_on);

// open_dpdk.cc
bool open_dpdk(Stack& stack, const OpenConfig& config, OpenError& error);

}  // namespace millrace
