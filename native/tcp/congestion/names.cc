// SPDX-License-Identifier: MIT
#include "tcp/options.h"

namespace millrace::tcp {

namespace {

constexpr struct {
  CongestionControl algorithm;
  const char* name;
} kNames[] = {
    {CongestionControl::kCubic, "cubic"},
    {CongestionControl::kNewReno, "reno"},
    {CongestionControl::kBbr, "bbr"},
};

}  // namespace

std::optional<CongestionControl> congestion_control_named(std::string_view name) {
  for (const auto& known : kNames) {
    if (name == known.name) return known.algorithm;
  }
  return std::nullopt;
}

const char* name_of(CongestionControl algorithm) {
  for (const auto& known : kNames) {
    if (algorithm == known.algorithm) return known.name;
  }
  return "";
}

}  // namespace millrace::tcp
