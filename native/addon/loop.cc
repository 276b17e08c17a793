// SPDX-License-Identifier: MIT
#include "addon/loop.h"

#include <algorithm>

#include "base/clock_os.h"

namespace millrace {

namespace {
Loop* owner(void* handle) {
  return static_cast<Loop*>(static_cast<uv_handle_t*>(handle)->data);
}

// Only a handle that closes leads into the closing phase.
struct RoundEnd {
  uv_idle_t handle{};
  Napi::FunctionReference closing, after;
};
}  // namespace

Loop::Loop(napi_env env, std::shared_ptr<Driver> driver, const LoopConfig& config,
           Napi::Function dispatch, Napi::Function next_post, Napi::Function run_post)
    : env_(env),
      driver_(std::move(driver)),
      config_(config),
      contexts_(env),
      dispatch_(Napi::Persistent(dispatch)),
      next_post_(Napi::Persistent(next_post)),
      run_post_(Napi::Persistent(run_post)),
      nothing_(Napi::Persistent(Napi::Function::New(env, [](const Napi::CallbackInfo&) {}))),
      receiver_(Napi::Persistent(Napi::Object::New(env))),
      shared_(driver_->stack().shared()) {
  uv_loop_t* loop = nullptr;
  MR_ASSERT(napi_get_uv_event_loop(env, &loop) == napi_ok);
  start(loop);
}

Loop::~Loop() = default;

void Loop::start(uv_loop_t* loop) {
  const auto prepare = [](uv_handle_t* h, Loop* self) {
    h->data = self;
    uv_unref(h);
    ++self->open_handles_;
  };
  uv_prepare_init(loop, &prepare_);
  uv_check_init(loop, &check_);
  uv_idle_init(loop, &idle_);
  uv_timer_init(loop, &timer_);
  MR_ASSERT(uv_poll_init(loop, &poll_, driver_->poll_fd()) == 0);
  for (void* h : {(void*)&prepare_, (void*)&check_, (void*)&idle_, (void*)&timer_, (void*)&poll_}) {
    prepare(static_cast<uv_handle_t*>(h), this);
  }
  uv_prepare_start(&prepare_, [](uv_prepare_t* h) { owner(h)->before_wait(); });
  uv_check_start(&check_, [](uv_check_t* h) {
    Loop* self = owner(h);
    self->driver_->loop_runs();
    self->shared_.store(header::kRounds, self->shared_.load(header::kRounds) + 1);
  });
  // The check phase comes behind all descriptors' callbacks: whoever is called first says that the
  // loop waits no more, or nobody would guard while that callback is busy.
  uv_poll_start(&poll_, UV_READABLE, [](uv_poll_t* h, int, int) {
    owner(h)->driver_->loop_runs();
    owner(h)->run();
  });
  if (driver_->control_fd() >= 0) {
    MR_ASSERT(uv_poll_init(loop, &control_, driver_->control_fd()) == 0);
    prepare(reinterpret_cast<uv_handle_t*>(&control_), this);
    uv_poll_start(&control_, UV_READABLE, [](uv_poll_t* h, int, int) {
      owner(h)->driver_->loop_runs();
      owner(h)->driver_->follow_kernel();
      owner(h)->run();
    });
  }
}

void Loop::hold(bool on) {
  if (closing_) return;
  auto* handle = reinterpret_cast<uv_handle_t*>(&poll_);
  on ? uv_ref(handle) : uv_unref(handle);
}

void Loop::close(void (*done)(void*), void* argument) {
  if (closing_) return;
  closing_ = true;
  done_ = done;
  done_argument_ = argument;
  const auto closed = [](uv_handle_t* h) { owner(h)->handle_closed(); };
  for (void* h : {(void*)&prepare_, (void*)&check_, (void*)&idle_, (void*)&timer_, (void*)&poll_}) {
    uv_close(static_cast<uv_handle_t*>(h), closed);
  }
  if (control_.data) uv_close(reinterpret_cast<uv_handle_t*>(&control_), closed);
}

void Loop::handle_closed() {
  if (--open_handles_ == 0 && done_) done_(done_argument_);
}

void Loop::at_round_end(Napi::Function closing, Napi::Function after) {
  if (closing_) return;
  auto* end = new RoundEnd{{}, Napi::Persistent(closing), Napi::Persistent(after)};
  uv_idle_init(prepare_.loop, &end->handle);
  end->handle.data = this;
  ++open_handles_;
  ++round_ends_;
  uv_close(reinterpret_cast<uv_handle_t*>(&end->handle), [](uv_handle_t* h) {
    // The handle is the first member.
    std::unique_ptr<RoundEnd> end(reinterpret_cast<RoundEnd*>(h));
    Loop* self = owner(h);
    --self->round_ends_;
    if (!self->closing_) {
      Napi::HandleScope scope(self->env_);
      self->finish_round(end->closing.Value(), end->after.Value());
    }
    end.reset();
    self->handle_closed();
  });
}

// --- upcalls

void Loop::finish_round(napi_value closing, napi_value after) {
  if (call(closing, kNoContext)) run_posts();
  if (!closing_) call(after, kNoContext);
}

// `prepare` is ours, and returns what Node or the program is to be called with: a function that
// runs with none of our frames below it, as an outermost callback in its context.
bool Loop::call(napi_value prepare, uint32_t context) {
  napi_value receiver = receiver_.Value(), upcall, result;
  napi_status status = napi_call_function(env_, receiver, prepare, 0, nullptr, &upcall);
  napi_valuetype type = napi_undefined;
  if (status == napi_ok) status = napi_typeof(env_, upcall, &type);
  if (status == napi_ok && type == napi_function) {
    const napi_async_context async = contexts_.at(context);
    const bool scoped = async != nullptr || context == Contexts::kAnonymous;
    status = scoped ? napi_make_callback(env_, async, receiver, upcall, 0, nullptr, &result)
                    : napi_call_function(env_, receiver, upcall, 0, nullptr, &result);
  }
  contexts_.destroy_released();
  return told(status);
}

// False: the environment is ending.
bool Loop::told(napi_status status) {
  if (status == napi_ok) return true;
  if (status != napi_pending_exception) return false;
  // A listener threw. As under libuv: 'uncaughtException', and everybody else's events go on.
  napi_value error;
  if (napi_get_and_clear_last_exception(env_, &error) != napi_ok) return false;
  return report(error);
}

bool Loop::report(napi_value error) {
  return napi_fatal_exception(env_, error) == napi_ok;
}

// A callback of nothing, in no context: at its end Node runs what waits. What throws there leaves
// the rest for the next one.
void Loop::settle() {
  Napi::HandleScope scope(env_);
  napi_value result;
  told(napi_make_callback(env_, nullptr, receiver_.Value(), nothing_.Value(), 0, nullptr, &result));
}

// Consumers in C++ are called with no scope, and the first call that Node makes for them would run
// what is left: somebody else's callbacks in the middle of theirs.
void Loop::settle_first() {
  while (!closing_ && shared_.load(header::kTicksLeft) != 0) {
    shared_.store(header::kTicksLeft, 0);
    settle();
  }
}

uint32_t Loop::context_of(const uint32_t* event) const {
  // Accepted connections get their handle outside of any callback, as libuv makes it.
  if (Event(event[0]) == Event::kAccept || Event(event[0]) == Event::kFrames) return kNoContext;
  const uint32_t* line = shared_.socket(event[1]);
  return line[socket_word::kGeneration] == event[2] ? line[socket_word::kContext] : kNoContext;
}

// Hands up what waits now, and a bounded part of it: the other thread may bring more as fast as
// JavaScript takes it.
bool Loop::dispatch_events() {
  const uint32_t first = shared_.load(header::kEventHead);
  const uint32_t count = std::min(shared_.events_waiting(), kEventsPerRound);
  bool any = false;
  // JavaScript may take several at once, also some that came since.
  while (!closing_ && int32_t(first + count - shared_.load(header::kEventHead)) > 0) {
    // What a callback has written is one piece for a reader in this process, as in a socket's
    // buffer.
    const bool written = again_ || shared_.commands_waiting() > 0;
    if (written && driver_->turned_early()) driver_->turn();
    settle_first();
    if (closing_) return any;
    Napi::HandleScope scope(env_);
    const uint32_t* event = shared_.event(shared_.load(header::kEventHead));
    if (!call(dispatch_.Value(), context_of(event))) return any;
    any = true;
  }
  return any;
}

bool Loop::run_posts() {
  bool any = false;
  while (!closing_ && shared_.load(header::kPosts) > 0) {
    settle_first();
    Napi::HandleScope scope(env_);
    napi_value result;
    int32_t context = -1;
    if (napi_call_function(env_, receiver_.Value(), next_post_.Value(), 0, nullptr, &result) !=
            napi_ok ||
        napi_get_value_int32(env_, result, &context) != napi_ok || context < 0) {
      return any;
    }
    if (!call(run_post_.Value(), uint32_t(context))) return any;
    any = true;
  }
  return any;
}

bool Loop::anything_waits() const {
  return shared_.commands_waiting() > 0 || shared_.load(header::kPosts) > 0 ||
         shared_.events_waiting() > 0;
}

void Loop::run() {
  if (closing_ || running_) return;
  running_ = true;
  Napi::HandleScope scope(env_);
  config_.in_process ? run_round() : run_rounds();
  shared_.store(header::kAnswering, 0);
  running_ = false;
}

bool Loop::look() {
  shared_.store(header::kLooks, shared_.load(header::kLooks) + 1);
  return driver_->turn();
}

// What was promised for later comes before what arrived now, as in a round of libuv. Whatever is
// written by either is for the next round.
void Loop::run_round() {
  const uint32_t now = shared_.load(header::kRounds);
  more_ = true;
  if (last_round_ == now) return;
  last_round_ = now;
  again_ = false;
  const bool left = look();
  run_posts();
  dispatch_events();
  run_posts();
  more_ = left || again_ || anything_waits();
}

void Loop::run_rounds() {
  more_ = false;
  for (int round = 0; round < kRounds && !closing_; ++round) {
    const bool early = run_posts();
    shared_.store(header::kAnswering, uint32_t(2 * round + (early ? 1 : 0)));
    again_ = false;
    const bool left = look();
    const bool events = dispatch_events();
    const bool posts = run_posts() || early;
    more_ = left || again_ || anything_waits();
    if (events) hot_until_ns_ = uint64_t(monotonic_now().ns) + uint64_t(config_.spin_us) * 1000;
    if (!more_ || !(events || posts || shared_.commands_waiting() > 0)) break;
    // What closes waits for the end of libuv's round: dead sockets must not pile up, nor 'close'
    // come late, because others are busy.
    if (round_ends_ > 0) break;
  }
}

// --- waiting

void Loop::before_wait() {
  if (more_ || anything_waits() || driver_->due()) run();
  if (config_.spin_us > 0 && !more_) spin();
  if (closing_) return;
  // With work left the loop must not block; other sources get their turn in between.
  if (more_) {
    uv_idle_start(&idle_, [](uv_idle_t*) {});
    return;
  }
  uv_idle_stop(&idle_);
  arm_timer();
  driver_->loop_waits();
  // A turn of the guardian may have been under way since we looked. It is over when due() returns,
  // and before another begins the guardian wakes the loop.
  if (driver_->due() || anything_waits()) {
    more_ = true;
    uv_idle_start(&idle_, [](uv_idle_t*) {});
  }
}

// While traffic is hot the next packet is likely to be near: looking for it is cheaper than
// sleeping.
void Loop::spin() {
  while (!closing_ && uint64_t(monotonic_now().ns) < hot_until_ns_) {
    if (driver_->rx_ready()) {
      run();
      return;
    }
  }
}

void Loop::arm_timer() {
  const Instant next = driver_->next_deadline();
  if (next.is_never()) return;
  const uint64_t now_ms = uint64_t(monotonic_now().ns) / 1'000'000;
  const uint64_t due_ms = uint64_t(std::max<int64_t>(next.ns, 0)) / 1'000'000 + 1;
  // A timer that is armed for earlier looks again then: no re-arming per packet.
  if (uv_is_active(reinterpret_cast<uv_handle_t*>(&timer_)) && armed_until_ms_ <= due_ms) return;
  armed_until_ms_ = due_ms;
  uv_update_time(timer_.loop);
  uv_timer_start(
      // Before it blocks the loop looks what is due.
      &timer_, [](uv_timer_t*) {}, std::max<uint64_t>(due_ms - std::min(due_ms, now_ms), 1), 0);
}

}  // namespace millrace
