// SPDX-License-Identifier: MIT
// Which Linux capabilities (capabilities(7)) the calling thread has in effect: only to say in an
// error which one is missing. The kernel decides; nothing is refused on the strength of this alone.
#pragma once

#include <cstdint>

namespace millrace {

enum class Capability : uint8_t {
  kNetAdmin = 12,
  kNetRaw = 13,
  kIpcLock = 14,
  kSysAdmin = 21,
  kPerfmon = 38,
  kBpf = 39,
};

bool has_capability(Capability capability);
// "CAP_NET_RAW".
const char* capability_name(Capability capability);

}  // namespace millrace
