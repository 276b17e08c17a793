// SPDX-License-Identifier: MIT
// The stack inside libuv's loop. Before the loop blocks, and whenever a port becomes readable, the
// loop runs turns until nothing moves: turn, events up to JavaScript, what JavaScript wrote in
// return, turn. With a port inside the process every write is answered at once, so there events go
// up once in a round of libuv's loop, as libuv asks the kernel once: timers and setImmediate come
// in between. JavaScript is called straight from libuv, so that every upcall is an outermost
// callback.
#pragma once

#include <napi.h>
#include <uv.h>

#include <memory>

#include "addon/contexts.h"
#include "stack/driver.h"

namespace millrace {

struct LoopConfig {
  // How long to look for packets before the loop blocks, while traffic is hot.
  uint32_t spin_us = 0;
  bool in_process = false;  // the port is
};

class Loop {
 public:
  // `dispatch` handles the event at the ring's head; `next_post` returns the context of the oldest
  // waiting post or -1; `run_post` runs it.
  Loop(napi_env env, std::shared_ptr<Driver> driver, const LoopConfig& config,
       Napi::Function dispatch, Napi::Function next_post, Napi::Function run_post);
  ~Loop();

  Contexts& contexts() { return contexts_; }
  // A turn is due although nothing waits in the rings: JavaScript has read or written by a call.
  void run_again() { again_ = true; }
  // What an exception has left behind of nextTick and microtasks runs: nothing inside a callback.
  void settle();
  // As an exception that nobody has caught.
  bool report(napi_value error);
  // Keeps the process alive, or no longer.
  void hold(bool on);
  // In the closing phase of this round of libuv's loop: calls `closing` with no scope, then runs
  // all posts, then calls `after`.
  void at_round_end(Napi::Function closing, Napi::Function after);
  // Ends the handles; `done` is called when libuv has let go of them.
  void close(void (*done)(void*), void* argument);

 private:
  static constexpr uint32_t kEventsPerRound = 1024;
  static constexpr int kRounds = 64;  // before other sources of the loop have their turn
  static constexpr int kHandles = 6;

  void start(uv_loop_t* loop);
  void run();
  void run_round();
  void run_rounds();
  bool look();
  bool anything_waits() const;
  uint32_t context_of(const uint32_t* event) const;
  bool dispatch_events();
  bool run_posts();
  bool told(napi_status status);
  void settle_first();
  void finish_round(napi_value closing, napi_value after);
  void handle_closed();
  bool call(napi_value prepare, uint32_t context);
  void before_wait();
  void spin();
  void arm_timer();

  napi_env env_;
  std::shared_ptr<Driver> driver_;
  LoopConfig config_;
  Contexts contexts_;
  Napi::FunctionReference dispatch_, next_post_, run_post_, nothing_;
  Napi::ObjectReference receiver_;
  const SharedArea& shared_;

  uv_prepare_t prepare_{};
  uv_check_t check_{};
  uv_idle_t idle_{};
  uv_timer_t timer_{};
  uv_poll_t poll_{};
  uv_poll_t control_{};
  bool closing_ = false;
  bool more_ = false;   // the last run left work behind
  bool again_ = false;  // see run_again()
  bool running_ = false;
  uint32_t last_round_ = ~0u;  // of libuv's loop, in which run_round() did its work
  uint64_t armed_until_ms_ = 0;
  uint64_t hot_until_ns_ = 0;
  int open_handles_ = 0;
  int round_ends_ = 0;  // waiting for the closing phase of libuv's loop
  void (*done_)(void*) = nullptr;
  void* done_argument_ = nullptr;
};

}  // namespace millrace
