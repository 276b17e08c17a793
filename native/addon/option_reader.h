// SPDX-License-Identifier: MIT
// Properties of an object that JavaScript has filled and validated. What cannot be read is empty,
// and failed() says so: in a worker thread that is being ended no property can be read any more,
// and node-addon-api's own way, an exception, cannot be thrown there either.
#pragma once

#include <napi.h>

#include <string>

namespace millrace {

class OptionReader {
 public:
  OptionReader(napi_env env, napi_value object) : env_(env), object_(object) {}

  bool failed() const { return failed_; }
  napi_value get(const char* name) {
    napi_value value = nullptr;
    return check(napi_get_named_property(env_, object_, name, &value)) ? value : nullptr;
  }
  uint32_t number(const char* name) {
    uint32_t value = 0;
    const napi_value property = get(name);
    return property && check(napi_get_value_uint32(env_, property, &value)) ? value : 0;
  }
  bool flag(const char* name) {
    bool value = false;
    const napi_value property = get(name);
    return property && check(napi_get_value_bool(env_, property, &value)) && value;
  }
  std::string text(const char* name) { return to_text(get(name)); }
  // Calls `visit(napi_value)` for each element of a property that is an array, or of the object
  // itself.
  template <typename Visit>
  void each(const char* name, Visit&& visit) {
    elements(get(name), visit);
  }
  template <typename Visit>
  void each_element(Visit&& visit) {
    elements(object_, visit);
  }
  std::string to_text(napi_value value) {
    size_t bytes = 0;
    if (!value || !check(napi_get_value_string_utf8(env_, value, nullptr, 0, &bytes))) return {};
    std::string text(bytes, '\0');
    check(napi_get_value_string_utf8(env_, value, text.data(), bytes + 1, &bytes));
    return text;
  }

 private:
  template <typename Visit>
  void elements(napi_value array, Visit& visit) {
    uint32_t length = 0;
    if (!array || !check(napi_get_array_length(env_, array, &length))) return;
    for (uint32_t i = 0; i < length; ++i) {
      napi_value element = nullptr;
      if (check(napi_get_element(env_, array, i, &element))) visit(element);
    }
  }
  bool check(napi_status status) {
    failed_ |= status != napi_ok;
    return status == napi_ok;
  }

  napi_env env_;
  napi_value object_;
  bool failed_ = false;
};

}  // namespace millrace
