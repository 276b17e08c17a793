// SPDX-License-Identifier: MIT
#include <napi.h>

#include "addon/stack_wrap.h"
#include "control/desk.h"

// (desk, patience in ms): the answer, or a negative errno. Waits for it: for the command line.
static Napi::Value ask(const Napi::CallbackInfo& info) {
  const std::string desk = info[0].As<Napi::String>();
  const auto patience = millrace::Duration::millis(info[1].As<Napi::Number>().Int64Value());
  std::string answer;
  const millrace::Error error = millrace::control::ask_desk(desk, patience, answer);
  if (error) return Napi::Number::New(info.Env(), -error.code);
  return Napi::String::New(info.Env(), answer);
}

static Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  exports.Set("Stack", millrace::StackWrap::define(env));
  exports.Set("ask", Napi::Function::New<ask>(env, "ask"));
  return exports;
}

NODE_API_MODULE(millrace, initialize)
