// SPDX-License-Identifier: MIT
// ICMP errors that quote a segment of ours.
#pragma once

#include "tcp/core.h"

namespace millrace::tcp {

void take_icmp_error(Core& core, Instant now, const net::IcmpError& error);

}  // namespace millrace::tcp
