// SPDX-License-Identifier: MIT
// Async contexts by number. An upcall runs as an outermost callback in the context of the handle or
// request it belongs to: nextTicks and microtasks drain after it and AsyncLocalStorage holds.
// Number 0 is "no context": a plain call. Number 1 is nobody's: whose the upcall is, it says
// itself.
#pragma once

#include <napi.h>

#include <cstdint>
#include <vector>

namespace millrace {

class Contexts {
 public:
  static constexpr uint32_t kAnonymous = 1;
  explicit Contexts(napi_env env) : env_(env), contexts_(kAnonymous + 1, nullptr) {}
  // The caller keeps `resource` alive until it frees the number.
  uint32_t create(napi_value resource, napi_value name) {
    napi_async_context context = nullptr;
    if (napi_async_init(env_, resource, name, &context) != napi_ok) return 0;
    if (free_.empty()) {
      contexts_.push_back(context);
      return uint32_t(contexts_.size() - 1);
    }
    const uint32_t id = free_.back();
    free_.pop_back();
    contexts_[id] = context;
    return id;
  }
  // The upcall under way may still need it: it ends with the next destroy_released().
  void release(uint32_t id) {
    if (id != 0 && id < contexts_.size() && contexts_[id]) released_.push_back(id);
  }
  void destroy_released() {
    for (const uint32_t id : released_) {
      napi_async_destroy(env_, contexts_[id]);
      contexts_[id] = nullptr;
      free_.push_back(id);
    }
    released_.clear();
  }
  napi_async_context at(uint32_t id) const {
    return id < contexts_.size() ? contexts_[id] : nullptr;
  }

 private:
  napi_env env_;
  std::vector<napi_async_context> contexts_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> released_;
};

}  // namespace millrace
