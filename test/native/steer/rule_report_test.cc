// SPDX-License-Identifier: MIT
// Rules in words, and the list of those that could not be had.
#include "steer/rule_report.h"

#include <doctest/doctest.h>

#include "support/packets.h"

using namespace millrace;
using namespace millrace::test;
using steer::RuleReport;
using Kind = steer::RuleReport::Kind;

TEST_CASE("rules in words: every kind, both families, one port and many, one queue and many") {
  const wire::Endpoint local{ip("10.0.0.1"), 80}, remote{ip("10.0.0.2"), 4000};
  const std::pair<RuleReport, const char*> cases[] = {
      {{.local = local, .queues = {3}}, "tcp to 10.0.0.1 port 80: queue 3"},
      {{.protocol = 17, .local = {ip("fd00::1"), 53}, .queues = {0, 2}},
       "udp to fd00::1 port 53: queues 0, 2"},
      {{.local = {ip("0.0.0.0"), 80}, .queues = {0, 1}, .spread = true},
       "tcp to any IPv4 address port 80: spread over queues 0, 1"},
      {{.local = {ip("::"), 80}}, "tcp to any IPv6 address port 80: ours, by any queue"},
      {{.kind = Kind::kBlock, .local = {ip("::"), 40000}, .port_mask = 0xffc0},
       "tcp to any address port 40000-40063: ours, by any queue"},
      {{.kind = Kind::kOurFlow, .local = local, .remote = remote, .queues = {0}},
       "tcp to 10.0.0.1 port 80 from 10.0.0.2 port 4000: queue 0"},
      {{.kind = Kind::kKernelFlow, .local = local, .remote = remote},
       "tcp to 10.0.0.1 port 80 from 10.0.0.2 port 4000: the kernel's"},
      {{.kind = Kind::kIcmp, .protocol = 1, .local = {ip("10.0.0.1"), 0}, .icmp_type = 3},
       "icmp type 3 to 10.0.0.1: ours, by any queue"},
      {{.kind = Kind::kIcmp, .protocol = 58, .local = {ip("fd00::1"), 0}, .icmp_type = 2},
       "icmp6 type 2 to fd00::1: ours, by any queue"},
  };
  for (const auto& [rule, words] : cases) CHECK(steer::words_of(rule) == words);
}

TEST_CASE("refused rules: once each, the newest last, the oldest forgotten") {
  steer::Refusals refusals;
  CHECK(refusals.last().empty());
  refusals.note("a");
  refusals.note("b");
  refusals.note("a");
  REQUIRE(refusals.list().size() == 2);
  CHECK(refusals.last() == "a");
  CHECK(refusals.list()[1].times == 2);
  for (int i = 0; i < 100; ++i) refusals.note(std::to_string(i));
  CHECK(refusals.list().size() == 16);
  CHECK(refusals.list()[0].text == "84");
  CHECK(refusals.last() == "99");
}
