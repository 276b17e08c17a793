// SPDX-License-Identifier: MIT
#include "port/wrap/fault_config.h"

#include <charconv>
#include <optional>

namespace millrace {

namespace {

enum class Kind : uint8_t { kRate, kRateOrAll, kCount, kMicros };

struct Field {
  std::string_view name;
  Kind kind;
  uint32_t FaultRates::*rate = nullptr;
  uint64_t FaultRates::*count = nullptr;
  Duration FaultRates::*micros = nullptr;
};

constexpr Field kFields[] = {
    {.name = "drop", .kind = Kind::kRate, .rate = &FaultRates::drop},
    {.name = "dup", .kind = Kind::kRate, .rate = &FaultRates::duplicate},
    {.name = "reorder", .kind = Kind::kRate, .rate = &FaultRates::reorder},
    {.name = "corrupt", .kind = Kind::kRate, .rate = &FaultRates::corrupt},
    {.name = "delay", .kind = Kind::kRate, .rate = &FaultRates::delay},
    {.name = "cut", .kind = Kind::kRateOrAll, .rate = &FaultRates::cut},
    {.name = "drop_at", .kind = Kind::kCount, .count = &FaultRates::drop_at},
    {.name = "dup_at", .kind = Kind::kCount, .count = &FaultRates::duplicate_at},
    {.name = "reorder_at", .kind = Kind::kCount, .count = &FaultRates::reorder_at},
    {.name = "corrupt_at", .kind = Kind::kCount, .count = &FaultRates::corrupt_at},
    {.name = "delay_at", .kind = Kind::kCount, .count = &FaultRates::delay_at},
    {.name = "cut_at", .kind = Kind::kCount, .count = &FaultRates::cut_at},
    {.name = "reorder_us", .kind = Kind::kMicros, .micros = &FaultRates::reorder_by},
    {.name = "delay_us", .kind = Kind::kMicros, .micros = &FaultRates::delay_by},
    {.name = "cut_us", .kind = Kind::kMicros, .micros = &FaultRates::cut_for},
    {.name = "jitter_us", .kind = Kind::kMicros, .micros = &FaultRates::jitter},
};

constexpr uint64_t kMicrosMax = 60'000'000;
constexpr std::optional<uint32_t> kAll = 1'000'000;

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

std::optional<uint64_t> parse_integer(std::string_view s, uint64_t max) {
  uint64_t value = 0;
  const auto [end, code] = std::from_chars(s.data(), s.data() + s.size(), value);
  if (s.empty() || code != std::errc() || end != s.data() + s.size() || value > max) return {};
  return value;
}

// "0.01", "1", ".5", "2.5%" in millionths; digits beyond the sixth are ignored.
std::optional<uint32_t> parse_rate(std::string_view s) {
  const bool percent = !s.empty() && s.back() == '%';
  if (percent) s.remove_suffix(1);
  const uint64_t one = percent ? 10'000 : 1'000'000;
  const size_t dot = s.find('.');
  const std::string_view whole = s.substr(0, dot);
  const std::string_view part = dot == s.npos ? std::string_view() : s.substr(dot + 1);
  if (whole.empty() && part.empty()) return {};
  const auto integer = whole.empty() ? 0 : parse_integer(whole, 100);
  if (!integer) return {};
  uint64_t value = *integer * one;
  uint64_t digit_worth = one / 10;
  for (char c : part) {
    if (c < '0' || c > '9') return {};
    value += uint64_t(c - '0') * digit_worth;
    digit_worth /= 10;
  }
  if (value > 1'000'000) return {};
  return uint32_t(value);
}

const char* allowed(Kind kind) {
  switch (kind) {
    case Kind::kRate:
      return "a share from 0 to 1, or from 0% to 100%";
    case Kind::kCount:
      return "the number of a frame, from 1";
    case Kind::kMicros:
      return "microseconds from 0 to 60000000";
    case Kind::kRateOrAll:
      return "no value, which means all, or a share from 0 to 1, or from 0% to 100%";
  }
  return "";
}

bool assign(const Field& field, std::string_view value, bool has_value, FaultRates& rates) {
  switch (field.kind) {
    case Kind::kRate:
    case Kind::kRateOrAll: {
      const bool all = field.kind == Kind::kRateOrAll && !has_value;
      const auto rate = all ? kAll : parse_rate(value);
      if (rate) rates.*field.rate = *rate;
      return rate.has_value();
    }
    case Kind::kCount: {
      const auto count = parse_integer(value, UINT64_MAX);
      if (count) rates.*field.count = *count;
      return count && *count > 0;
    }
    case Kind::kMicros: {
      const auto micros = parse_integer(value, kMicrosMax);
      if (micros) rates.*field.micros = Duration::micros(int64_t(*micros));
      return micros.has_value();
    }
  }
  return false;
}

std::string known_names() {
  std::string names;
  for (const Field& field : kFields) names += std::string(field.name) + ", ";
  return names + "seed, off";
}

std::string complain(std::string_view name, std::string_view value, const char* what) {
  return "fault option '" + std::string(name) + "': value '" + std::string(value) +
         "' is not allowed; allowed: " + what;
}

// Which fields were named, by their place in kFields.
struct Given {
  uint32_t rx = 0, tx = 0;
};

uint32_t bit_of(const Field& field) {
  return 1u << (&field - kFields);
}

constexpr uint32_t bit_named(std::string_view name) {
  for (const Field& field : kFields) {
    if (field.name == name) return 1u << (&field - kFields);
  }
  return 0;
}

// A time of delay alone is meant for every frame.
void complete(FaultRates& rates, uint32_t given) {
  constexpr uint32_t kWhich = bit_named("delay") | bit_named("delay_at");
  if ((given & bit_named("delay_us")) && !(given & kWhich) && rates.delay_by.ns > 0) {
    rates.delay = *kAll;
  }
}

std::string parse_item(std::string_view item, FaultConfig& config, Given& given) {
  const size_t equals = item.find('=');
  const bool has_value = equals != item.npos;
  const std::string_view full = trim(item.substr(0, equals));
  const std::string_view value = has_value ? trim(item.substr(equals + 1)) : std::string_view();
  std::string_view name = full;
  const bool rx = name.starts_with("rx."), tx = name.starts_with("tx.");
  if (rx || tx) name.remove_prefix(3);
  if (full == "off" && !has_value) {
    const uint64_t seed = config.seed;
    config = {};
    config.seed = seed;
    given = {};
    return {};
  }
  if (full == "seed") {
    const auto seed = parse_integer(value, UINT64_MAX);
    if (!seed) return complain(full, value, "an integer from 0");
    config.seed = *seed;
    return {};
  }
  for (const Field& field : kFields) {
    if (field.name != name) continue;
    bool good = true;
    if (!tx) good = assign(field, value, has_value, config.rx), given.rx |= bit_of(field);
    if (!rx) good = good && assign(field, value, has_value, config.tx), given.tx |= bit_of(field);
    return good ? std::string() : complain(full, value, allowed(field.kind));
  }
  return "unknown fault option '" + std::string(full) + "'; known: " + known_names() +
         ", each but the last two also with rx. or tx. before it";
}

}  // namespace

FaultParse parse_faults(std::string_view text) {
  FaultParse result;
  text = trim(text);
  Given given;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view item = trim(text.substr(0, comma));
    result.error = item.empty() ? "empty fault option: two commas in a row, or one at the end"
                                : parse_item(item, result.config, given);
    if (!result.error.empty()) {
      result.config = {};
      return result;
    }
    if (comma == text.npos) break;
    text.remove_prefix(comma + 1);
    if (trim(text).empty()) {
      result = {.config = {},
                .error = "empty fault option: two commas in a row, or one at the end"};
      return result;
    }
  }
  complete(result.config.rx, given.rx);
  complete(result.config.tx, given.tx);
  return result;
}

}  // namespace millrace
