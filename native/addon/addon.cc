// SPDX-License-Identifier: MIT
#include <napi.h>

#include "addon/stack_wrap.h"

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("Stack", millrace::StackWrap::define(env));
  return exports;
}

NODE_API_MODULE(millrace, initialize)
