// SPDX-License-Identifier: MIT
// Linux's sysctls of TCP, as far as the stack has the same knobs: what new connections begin with.
#include <charconv>
#include <cstring>

#include "testing/door.h"

namespace millrace::testing {

namespace {

// Up to three numbers, apart by blanks. The count, or 0 when there is something else.
int numbers_of(const char* text, uint32_t (&out)[3]) {
  int count = 0;
  const char* const end = text + std::strlen(text);
  while (count < 3) {
    while (text < end && (*text == ' ' || *text == '\t' || *text == '\n')) ++text;
    if (text == end) break;
    const auto [next, error] = std::from_chars(text, end, out[count]);
    if (error != std::errc{}) return 0;
    text = next;
    ++count;
  }
  return text == end ? count : 0;
}

struct ByteKnob {
  const char* name;
  uint8_t tcp::StackOptions::*place;
};
constexpr ByteKnob kRetries[] = {{"tcp_syn_retries", &tcp::StackOptions::syn_retries},
                                 {"tcp_synack_retries", &tcp::StackOptions::syn_ack_retries},
                                 {"tcp_retries2", &tcp::StackOptions::data_retries},
                                 {"tcp_orphan_retries", &tcp::StackOptions::orphan_retries}};

struct SwitchKnob {
  const char* name;
  bool tcp::StackOptions::*place;
};
constexpr SwitchKnob kSwitches[] = {
    {"tcp_timestamps", &tcp::StackOptions::timestamps},
    {"tcp_sack", &tcp::StackOptions::sack},
    {"tcp_window_scaling", &tcp::StackOptions::window_scaling},
    {"tcp_slow_start_after_idle", &tcp::StackOptions::slow_start_after_idle},
    {"tcp_tw_reuse", &tcp::StackOptions::reuse_time_wait}};

struct TimeKnob {
  const char* name;
  int64_t unit_ns;
  Duration tcp::StackOptions::*place;
};
constexpr TimeKnob kTimes[] = {{"tcp_fin_timeout", 1'000'000'000, &tcp::StackOptions::fin_timeout},
                               {"tcp_rto_min_us", 1'000, &tcp::StackOptions::rto_min},
                               {"tcp_rto_max_ms", 1'000'000, &tcp::StackOptions::rto_max}};

bool set_number(tcp::StackOptions& o, std::string_view name, uint32_t number) {
  for (const ByteKnob& k : kRetries) {
    if (name == k.name) return number <= 255 && (o.*k.place = uint8_t(number), true);
  }
  for (const SwitchKnob& k : kSwitches) {
    if (name == k.name) return o.*k.place = number != 0, true;
  }
  for (const TimeKnob& k : kTimes) {
    if (name == k.name) return number > 0 && (o.*k.place = Duration{number * k.unit_ns}, true);
  }
  return false;
}

bool known_number(std::string_view name) {
  const auto named = [&](const auto& k) { return name == k.name; };
  return std::any_of(std::begin(kRetries), std::end(kRetries), named) ||
         std::any_of(std::begin(kSwitches), std::end(kSwitches), named) ||
         std::any_of(std::begin(kTimes), std::end(kTimes), named);
}

}  // namespace

int Door::set_default(std::string_view name, const char* value) {
  if (name.starts_with("net.ipv4.")) name.remove_prefix(9);
  tcp::StackOptions& o = tcp_->options();
  if (name == "tcp_congestion_control") {
    const std::string_view algorithm(value);
    if (algorithm != "cubic" && algorithm != "reno") return -ENOENT;
    defaults_.congestion =
        algorithm == "cubic" ? tcp::CongestionControl::kCubic : tcp::CongestionControl::kNewReno;
    return 0;
  }
  uint32_t n[3] = {};
  const int count = numbers_of(value, n);
  if (name == "tcp_rmem" || name == "tcp_wmem") {
    if (count != 3 || n[0] == 0 || n[1] < n[0] || n[2] < n[1]) return -EINVAL;
    const bool receive = name == "tcp_rmem";
    (receive ? o.receive_buffer_bytes : o.send_buffer_bytes) = receive ? n[1] / 2 : n[1];
    (receive ? o.receive_buffer_max_bytes : o.send_buffer_max_bytes) = n[2];
    return 0;
  }
  if (name == "tcp_notsent_lowat") {
    unsent_low_water_ = n[0];
    return count == 1 ? 0 : -EINVAL;
  }
  const bool seconds = name == "tcp_keepalive_time" || name == "tcp_keepalive_intvl";
  if (seconds || name == "tcp_keepalive_probes") {
    if (count != 1 || n[0] == 0 || n[0] > 32767) return -EINVAL;
    if (!seconds) {
      defaults_.keepalive_probes = std::min<uint32_t>(n[0], 127);
    } else {
      (name == "tcp_keepalive_time" ? defaults_.keepalive_idle : defaults_.keepalive_interval) =
          Duration::seconds(n[0]);
    }
    return 0;
  }
  if (!known_number(name)) return -ENOENT;
  return count == 1 && set_number(o, name, n[0]) ? 0 : -EINVAL;
}

}  // namespace millrace::testing
