// SPDX-License-Identifier: MIT
// errno, poll events and TCP states by name.
#pragma once

#include <string>

namespace millrace::scripts {

// "ECONNRESET"; a number for what is not in the table.
std::string errno_name(int code);
bool is_errno_name(const std::string& name);
std::string poll_names(short events);  // "in out hup", "none"
std::string state_name(int state);     // Linux's number: "ESTABLISHED"

}  // namespace millrace::scripts
