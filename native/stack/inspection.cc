// SPDX-License-Identifier: MIT
#include "stack/inspection.h"

#include <net/if.h>
#include <unistd.h>

#include <cstdio>

namespace millrace {
namespace {

// Objects and lists, with a comma in front of all but the first member.
class Json {
 public:
  void open(char bracket) {
    separate();
    text_ += bracket;
    first_ = true;
  }
  void close(char bracket) {
    text_ += bracket;
    first_ = false;
  }
  void name(const char* name) {
    string(name);
    text_ += ':';
    first_ = true;
  }
  void string(std::string_view value) {
    separate();
    text_ += '"';
    for (const char c : value) {
      if (c == '"' || c == '\\') text_ += '\\';
      if (uint8_t(c) >= 0x20) {
        text_ += c;
        continue;
      }
      char escaped[8];
      std::snprintf(escaped, sizeof(escaped), "\\u%04x", unsigned(uint8_t(c)));
      text_ += escaped;
    }
    text_ += '"';
  }
  void word(std::string_view value) {  // a number, true, false, null
    separate();
    text_ += value;
  }
  void number(uint64_t value) { word(std::to_string(value)); }
  template <typename Value>
  void member(const char* key, const Value& value) {
    name(key);
    if constexpr (std::is_same_v<Value, bool>) {
      word(value ? "true" : "false");
    } else if constexpr (std::is_integral_v<Value>) {
      number(value);
    } else {
      string(value);
    }
  }
  std::string take() { return std::move(text_); }

 private:
  void separate() {
    if (!first_) text_ += ',';
    first_ = false;
  }

  std::string text_;
  bool first_ = true;
};

const char* family_of(const steer::RuleReport& rule) {
  const wire::IpAddress& address = rule.local.address;
  if (address.is_unspecified() && rule.kind == steer::RuleReport::Kind::kBlock) return "both";
  return address.is_v4() ? "ipv4" : "ipv6";
}

void put_rule(Json& json, const steer::RuleReport& rule) {
  json.open('{');
  json.member("by", rule.by);
  json.member("kind", steer::name_of(rule.kind));
  json.member("family", family_of(rule));
  json.member("protocol", unsigned(rule.protocol));
  if (!rule.local.address.is_unspecified()) {
    json.member("address", steer::text_of(rule.local.address));
  }
  if (rule.local.port != 0) {
    json.member("port", rule.local.port);
    json.member("portMask", rule.port_mask);
  }
  if (rule.remote.port != 0) {
    json.member("remoteAddress", steer::text_of(rule.remote.address));
    json.member("remotePort", rule.remote.port);
  }
  if (rule.kind == steer::RuleReport::Kind::kIcmp && !rule.any_icmp)
    json.member("icmpType", unsigned(rule.icmp_type));
  json.name("queues");
  json.open('[');
  for (const uint16_t queue : rule.queues) json.number(queue);
  json.close(']');
  json.member("rss", rule.spread);
  json.member("deviceRules", rule.rules);
  if (rule.counted) {
    json.member("packets", rule.packets);
    json.member("bytes", rule.bytes);
  }
  json.member("words", steer::words_of(rule));
  json.close('}');
}

void put_interface(Json& json, const SteeringReport& report) {
  json.open('{');
  char name[IF_NAMESIZE] = "";
  json.member("interface", if_indextoname(report.ifindex, name) ? name : "");
  json.name("kinds");
  json.open('{');
#define X(name, meaning) json.member(#name, report.counters.name);
  MILLRACE_STEERING_COUNTERS(X)
#undef X
  json.close('}');
  json.name("rules");
  json.open('[');
  for (const steer::RuleReport& rule : report.rules) put_rule(json, rule);
  json.close(']');
  json.member("more", report.more);
  json.name("refused");
  json.open('[');
  for (const steer::Refusal& refusal : report.refusals) {
    json.open('{');
    json.member("rule", refusal.text);
    json.member("times", refusal.times);
    json.close('}');
  }
  json.close(']');
  json.close('}');
}

}  // namespace

std::string describe_steering(Stack& stack) {
  Json json;
  json.open('{');
  json.member("pid", uint64_t(getpid()));
  json.name("ports");
  json.open('[');
  for (const auto& port : stack.ports()) {
    json.open('{');
    json.member("name", port->info().name);
    json.member("mode", port->info().mode);
    json.close('}');
  }
  json.close(']');
  json.name("interfaces");
  json.open('[');
  if (stack.director()) {
    for (const SteeringReport& report : stack.director()->reports()) put_interface(json, report);
  }
  json.close(']');
  json.close('}');
  return json.take();
}

}  // namespace millrace
