// SPDX-License-Identifier: MIT
// TCP options between bytes and the words of the language: mss 1460 sackok ts 1 0 ws 7
// sack 1:101,201:301. Numbers of SACK blocks are relative to the initial sequence number given.
#pragma once

#include <string>
#include <vector>

#include "scripts/runner/packet.h"

namespace millrace::scripts {

struct OptionContext {
  uint32_t sack_base = 0;  // the initial sequence number that SACK blocks count from
  uint32_t ts_last = 0;    // the word "last"
  int64_t i = 0;           // see parse_number()
};

// Words from `at` on, in the order in which they are to stand in the header; nop, eol and
// "raw HEX" besides. False with the offending word in `problem`.
bool build_options(const std::vector<std::string>& words, size_t at, const OptionContext& context,
                   Bytes& out, std::string& problem);
// As words, padding left out. What is malformed becomes "bad HEX".
std::vector<std::string> describe_options(const Bytes& options, const OptionContext& context);
// The TSval of an option list; false when there is none.
bool find_timestamp(const Bytes& options, uint32_t& value);

}  // namespace millrace::scripts
