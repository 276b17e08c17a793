// SPDX-License-Identifier: MIT
// The stack as JavaScript sees it: one method per line of `Binding` in lib/binding.ts. It asserts
// and never validates; it returns numbers or negative errno numbers. Addresses go through the
// shared header.
#pragma once

#include <napi.h>

#include <memory>

#include "addon/loop.h"
#include "stack/driver.h"
#include "stack/open.h"

namespace millrace {

class StackWrap : public Napi::ObjectWrap<StackWrap> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit StackWrap(const Napi::CallbackInfo& info);
  ~StackWrap() override;

 private:
  using Info = const Napi::CallbackInfo&;
  // Memory and its layout.
  Napi::Value shared_memory(Info info);
  Napi::Value frame_memory(Info info);
  Napi::Value layout(Info info);
  void add_slab(Info info);
  // Running.
  void flush(Info info);
  void hold(Info info);
  void at_round_end(Info info);
  void settle(Info);
  void probe(Info);
  void report(Info);
  void close(Info info);
  Napi::Value create_context(Info info);
  void free_context(Info info);
  // Sockets.
  Napi::Value tcp_reaches(Info info);
  Napi::Value tcp_connect(Info info);
  Napi::Value tcp_listen(Info info);
  void close_at_exit(Info info);
  void keep_at_exit(Info info);
  Napi::Value tcp_peer(Info info);
  Napi::Value tcp_hand_over(Info info);
  Napi::Value tcp_info(Info info);
  Napi::Value tcp_take(Info info);
  Napi::Value tcp_write(Info info);
  void tcp_listener_congestion(Info info);
  Napi::Value udp_bind(Info info);
  Napi::Value udp_connect(Info info);
  void udp_disconnect(Info info);
  Napi::Value udp_membership(Info info);
  Napi::Value udp_limit(Info info);
  void close_socket(Info info);
  // Facts.
  Napi::Value counter_names(Info info);
  Napi::Value counters(Info info);
  Napi::Value ports(Info info);
  Napi::Value refusals(Info info);
  Napi::Value take_refusal(Info info);

  wire::Endpoint endpoint(uint32_t offset, uint32_t port) const;
  Napi::Value external(Napi::Env env, uint8_t* data, size_t bytes);
  void end(bool at_cleanup);

  std::shared_ptr<Driver> driver_;
  std::unique_ptr<Loop> loop_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
};

}  // namespace millrace
