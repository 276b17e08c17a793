// SPDX-License-Identifier: MIT
// Finds and loads the DPDK shared object, once it is asked for. Its absence is the normal case.
#pragma once

#include "base/setup_error.h"
#include "plugin/dpdk/abi.h"

namespace millrace {

// Null, and `error` says which package to install or what to rebuild. The object is never unloaded.
const dpdk::Plugin* load_dpdk(const char* file, SetupError& error);

}  // namespace millrace
