// SPDX-License-Identifier: MIT
// The rules of support/connection_rules.h as a doctest check.
#pragma once

#include <doctest/doctest.h>

#include "support/connection_rules.h"

namespace millrace::test {

inline void check_connection(const tcp::Connection& c) {
  // A REQUIRE that costs nothing while it holds: these are millions.
  if (const char* broken = broken_rule(c)) FAIL(broken);
}

}  // namespace millrace::test
