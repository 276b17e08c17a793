// SPDX-License-Identifier: MIT
// What a stack's steering does at this moment, as JSON for `npx millrace flows`. Called with the
// baton held, when somebody asks and never else.
#pragma once

#include <string>

#include "stack/stack.h"

namespace millrace {

std::string describe_steering(Stack& stack);

}  // namespace millrace
