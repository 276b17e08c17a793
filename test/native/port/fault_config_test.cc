// SPDX-License-Identifier: MIT
#include "port/wrap/fault_config.h"

#include <doctest/doctest.h>

using namespace millrace;

TEST_CASE("the compact text sets both directions") {
  const auto [config, error] =
      parse_faults("drop=0.01,reorder=2%,dup=.5,corrupt=0.000001,delay_us=5000,cut,seed=77");
  CHECK(error == "");
  CHECK(config.rx.drop == 10'000);
  CHECK(config.rx.reorder == 20'000);
  CHECK(config.rx.duplicate == 500'000);
  CHECK(config.rx.corrupt == 1);
  CHECK(config.rx.delay_by == Duration::millis(5));
  CHECK(config.rx.delay == 1'000'000);
  CHECK(config.rx.cut == 1'000'000);
  CHECK(config.tx == config.rx);
  CHECK(config.seed == 77);
}

TEST_CASE("rx. and tx. set one direction, _at a single frame, off nothing") {
  const auto [config, error] =
      parse_faults(" rx.drop=1, tx.drop_at=5 ,tx.cut=0,rx.jitter_us=10,tx.reorder_us=7");
  CHECK(error == "");
  CHECK(config.rx.drop == 1'000'000);
  CHECK(config.tx.drop == 0);
  CHECK(config.tx.drop_at == 5);
  CHECK(config.rx.drop_at == 0);
  CHECK(config.tx.cut == 0);
  CHECK(config.rx.jitter == Duration::micros(10));
  CHECK(config.tx.reorder_by == Duration::micros(7));
  CHECK(parse_faults("").config.harmless());
  CHECK(parse_faults("off").error == "");
  CHECK(parse_faults("drop=0.5,off").config.harmless());
}

TEST_CASE("every fault comes at a rate or once") {
  const struct {
    const char* name;
    uint32_t FaultRates::*rate;
    uint64_t FaultRates::*at;
  } kinds[] = {
      {"drop", &FaultRates::drop, &FaultRates::drop_at},
      {"dup", &FaultRates::duplicate, &FaultRates::duplicate_at},
      {"reorder", &FaultRates::reorder, &FaultRates::reorder_at},
      {"corrupt", &FaultRates::corrupt, &FaultRates::corrupt_at},
      {"delay", &FaultRates::delay, &FaultRates::delay_at},
      {"cut", &FaultRates::cut, &FaultRates::cut_at},
  };
  for (const auto& kind : kinds) {
    CAPTURE(kind.name);
    const std::string name = kind.name;
    FaultRates expected;
    expected.*kind.rate = 20'000;
    CHECK(parse_faults(name + "=2%").config.rx == expected);
    expected = {};
    expected.*kind.at = 7;
    const auto once = parse_faults("tx." + name + "_at=7");
    CHECK(once.error == "");
    CHECK(once.config.tx == expected);
    CHECK(once.config.rx == FaultRates{});
    CHECK(!once.config.harmless());
  }
}

TEST_CASE("a time of delay alone is for every frame, beside a rate or a number it is for those") {
  CHECK(parse_faults("delay_us=700").config.rx.delay == 1'000'000);
  CHECK(parse_faults("delay_us=0").config.harmless());
  const auto rate = parse_faults("delay_us=700,delay=1%").config.rx;
  CHECK(rate.delay == 10'000);
  CHECK(rate.delay_by == Duration::micros(700));
  const auto once = parse_faults("rx.delay_us=700,rx.delay_at=4").config;
  CHECK(once.rx.delay == 0);
  CHECK(once.rx.delay_at == 4);
  CHECK(parse_faults("tx.delay_us=700,rx.delay_at=4").config.tx.delay == 1'000'000);
  CHECK(parse_faults("delay_us=700,off").config.harmless());
  CHECK(parse_faults("cut_at=9,cut_us=50").config.rx.cut_for == Duration::micros(50));
}

TEST_CASE("what is not understood is named, with what is allowed") {
  const struct {
    const char* text;
    const char* says;
  } cases[] = {
      {"drop=1.5", "'drop': value '1.5' is not allowed; allowed: a share from 0 to 1"},
      {"drop=-1", "'drop': value '-1'"},
      {"drop=", "'drop': value ''"},
      {"drop", "'drop': value ''"},
      {"drop=101%", "'drop': value '101%'"},
      {"drop=0.1x", "'drop': value '0.1x'"},
      {"rx.drop=.", "'rx.drop': value '.'"},
      {"drop_at=0", "'drop_at': value '0' is not allowed; allowed: the number of a frame, from 1"},
      {"delay_us=60000001", "'delay_us': value '60000001'"},
      {"delay_us=99999999999999999999999", "'delay_us'"},
      {"cut=2", "'cut': value '2' is not allowed; allowed: no value, which means all, or a share"},
      {"cut=", "'cut': value ''"},
      {"cut_at=0", "'cut_at': value '0'"},
      {"delay=2", "'delay': value '2' is not allowed; allowed: a share"},
      {"delay", "'delay': value ''"},
      {"seed=x", "'seed': value 'x'"},
      {"loss=0.1", "unknown fault option 'loss'; known: drop, dup"},
      {"rx.seed=1", "unknown fault option 'rx.seed'"},
      {"drop=0.1,,dup=0.1", "empty fault option"},
      {"drop=0.1,", "empty fault option"},
      {",", "empty fault option"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.text);
    const auto [config, error] = parse_faults(c.text);
    CHECK(error.find(c.says) != std::string::npos);
    CHECK(config == FaultConfig{});
  }
}
