// SPDX-License-Identifier: MIT
// The rules in software, with the packets that the XDP program's own tests use.
#include "steer/soft/soft_steering.h"

#include <doctest/doctest.h>

#include "support/raw_packets.h"

using namespace millrace;
using namespace millrace::test;
using steer::Owner;
using steer::Protocol;
using steer::SoftSteering;

namespace {

constexpr uint8_t kTcp = 6, kUdp = 17, kIcmp = 1, kIcmp6 = 58;
const Mac kHere{2, 0, 0, 0, 0, 1};
const Mac kThere{2, 0, 0, 0, 0, 2};
const Mac kGroup{1, 0, 0x5e, 1, 2, 3};

struct Fixture : SoftSteering {
  explicit Fixture(Limits limits = {}) : SoftSteering({1, 2}, limits) {
    REQUIRE(!add_address(ip("10.77.0.1")));
    REQUIRE(!add_address(ip("fd77::1")));
  }
  bool ours(const Bytes& packet, const Mac& to = kHere, int vlan = -1) {
    return judge(ethernet(to, kThere, packet, vlan));
  }
};

Bytes tcp4(uint16_t from, uint16_t to, const char* local = "10.77.0.1") {
  return packet("10.77.0.2", local, kTcp, tcp(from, to, kSyn));
}
Bytes tcp6(uint16_t from, uint16_t to) {
  return packet("fd77::2", "fd77::1", kTcp, tcp(from, to, kSyn));
}
Bytes udp4(uint16_t from, uint16_t to, const char* local = "10.77.0.1") {
  return packet("10.77.0.2", local, kUdp, udp(from, to, "data"));
}

}  // namespace

TEST_CASE("soft steering: without rules everything is the kernel's") {
  Fixture s;
  CHECK(!s.ours(tcp4(5000, 80)));
  CHECK(!s.ours(tcp6(5000, 80)));
  CHECK(!s.judge({}));
  CHECK(s.counters().kernel_other == 2);
  CHECK(s.counters().kernel_malformed == 1);
}

TEST_CASE("soft steering: local address and port") {
  Fixture s;
  REQUIRE(!s.add_local(Protocol::kTcp, at("10.77.0.1", 80)));
  CHECK(s.ours(tcp4(5000, 80)));
  CHECK(!s.ours(tcp4(5000, 81)));
  CHECK(!s.ours(tcp6(5000, 80)));
  CHECK(!s.ours(udp4(5000, 80)));
  CHECK(!s.ours(tcp4(5000, 80), kHere, 5));  // another VLAN is another interface's
  CHECK(s.ours(tcp4(5000, 80), kHere, 0));
  CHECK(s.counters().ours_local == 2);
  REQUIRE(!s.remove_local(Protocol::kTcp, at("10.77.0.1", 80)));
  CHECK(!s.ours(tcp4(5000, 80)));
  CHECK(s.remove_local(Protocol::kTcp, at("10.77.0.1", 80)).code == ENOENT);
  CHECK(s.add_local(Protocol::kTcp, at("10.77.0.1", 0)).code == EINVAL);
}

TEST_CASE("soft steering: any address means the interface's own, of one family") {
  Fixture s;
  REQUIRE(!s.add_local(Protocol::kTcp, at("0.0.0.0", 80)));
  CHECK(s.ours(tcp4(5000, 80)));
  CHECK(!s.ours(tcp6(5000, 80)));
  CHECK(!s.ours(tcp4(5000, 80, "10.88.0.1")));  // routed through this machine
  REQUIRE(!s.add_local(Protocol::kTcp, at("::", 80)));
  CHECK(s.ours(tcp6(5000, 80)));
  REQUIRE(!s.remove_address(ip("10.77.0.1")));
  CHECK(!s.ours(tcp4(5000, 80)));
}

TEST_CASE("soft steering: port blocks") {
  Fixture s;
  REQUIRE(!s.add_port_block(Protocol::kTcp, 40000));
  CHECK(s.ours(tcp4(80, 40000)));
  CHECK(s.ours(tcp6(80, 40063)));
  CHECK(!s.ours(tcp4(80, 40064)));
  CHECK(!s.ours(tcp4(80, 39999)));
  CHECK(!s.ours(udp4(80, 40000)));
  CHECK(s.add_port_block(Protocol::kTcp, 40001).code == EINVAL);
  REQUIRE(!s.remove_port_block(Protocol::kTcp, 40000));
  CHECK(!s.ours(tcp4(80, 40000)));
  CHECK(s.remove_port_block(Protocol::kTcp, 40000).code == ENOENT);
}

TEST_CASE("soft steering: exact flows win, whosever they are") {
  Fixture s;
  const wire::FlowKey flow{at("10.77.0.1", 80), at("10.77.0.2", 5000)};
  REQUIRE(!s.set_flow(Protocol::kTcp, flow, Owner::kOurs));
  CHECK(s.ours(tcp4(5000, 80)));
  CHECK(!s.ours(tcp4(5001, 80)));
  REQUIRE(!s.add_local(Protocol::kTcp, at("10.77.0.1", 80)));
  REQUIRE(!s.set_flow(Protocol::kTcp, flow, Owner::kKernel));
  CHECK(!s.ours(tcp4(5000, 80)));
  CHECK(s.ours(tcp4(5001, 80)));
  CHECK(s.counters().kernel_flow == 1);
  REQUIRE(!s.remove_flow(Protocol::kTcp, flow));
  CHECK(s.ours(tcp4(5000, 80)));
  CHECK(s.remove_flow(Protocol::kTcp, flow).code == ENOENT);
  CHECK(s.set_flow(Protocol::kTcp, {at("10.77.0.1", 80), at("fd77::2", 1)}, Owner::kOurs).code ==
        EINVAL);
}

TEST_CASE("soft steering: ICMP errors that quote one of our packets, and no others") {
  Fixture s;
  REQUIRE(!s.add_local(Protocol::kUdp, at("10.77.0.1", 53)));
  REQUIRE(!s.add_local(Protocol::kTcp, at("fd77::1", 80)));
  const Bytes sent = packet("10.77.0.1", "10.77.0.2", kUdp, udp(53, 5000, "answer"));
  const Bytes other = packet("10.77.0.1", "10.77.0.2", kUdp, udp(54, 5000, "answer"));
  const Bytes sent6 = packet("fd77::1", "fd77::2", kTcp, tcp(80, 5000, kAck));
  const auto error4 = [&](uint8_t type, const Bytes& quoted) {
    return packet("10.77.0.9", "10.77.0.1", kIcmp, icmp(type, 3, 0, quoted));
  };
  for (const uint8_t type : {3, 11, 12}) CHECK(s.ours(error4(type, sent)));
  CHECK(!s.ours(error4(8, sent)));
  CHECK(!s.ours(error4(3, other)));
  CHECK(!s.ours(packet("10.77.0.9", "10.77.0.3", kIcmp, icmp(3, 3, 0, sent))));
  for (const uint8_t type : {1, 2, 3, 4}) {
    CHECK(s.ours(packet("fd77::9", "fd77::1", kIcmp6, icmp(type, 0, 0, sent6))));
  }
  CHECK(!s.ours(packet("fd77::9", "fd77::1", kIcmp6, icmp(128, 0, 0, sent6))));
  CHECK(s.counters().ours_icmp == 7);
}

TEST_CASE("soft steering: groups") {
  Fixture s;
  REQUIRE(!s.add_local(Protocol::kUdp, at("239.1.2.3", 5000)));
  CHECK(s.ours(udp4(1, 5000, "239.1.2.3"), kGroup));
  CHECK(!s.ours(udp4(1, 5000, "239.1.2.3")));
  CHECK(!s.ours(udp4(1, 5001, "239.1.2.3"), kGroup));
  REQUIRE(!s.add_local(Protocol::kUdp, at("10.77.0.1", 5000)));
  CHECK(!s.ours(udp4(1, 5000), kGroup));
  // What we sent ourselves comes back by the kernel.
  CHECK(!s.ours(packet("10.77.0.1", "239.1.2.3", kUdp, udp(1, 5000, "data")), kGroup));
}

TEST_CASE("soft steering: fragments and what cannot be read are the kernel's") {
  Fixture s;
  REQUIRE(!s.add_local(Protocol::kUdp, at("10.77.0.1", 53)));
  const Bytes fragment =
      packet("10.77.0.2", "10.77.0.1", kUdp, udp(5000, 53, "data"), {.fragment = 0x2000});
  CHECK(!s.ours(fragment));
  CHECK(s.counters().kernel_fragment == 1);
  const Bytes whole = udp4(5000, 53);
  REQUIRE(s.ours(whole));
  for (size_t n = 1; n < 28; ++n) CHECK(!s.ours(Bytes(whole.begin(), whole.begin() + long(n))));
}

TEST_CASE("soft steering: limits, and nothing is left after close") {
  Fixture s({.flows_max = 1, .locals_max = 1, .addresses_max = 2});
  CHECK(s.add_address(ip("10.77.0.5")).code == ENOBUFS);
  REQUIRE(!s.add_local(Protocol::kTcp, at("10.77.0.1", 80)));
  REQUIRE(!s.add_local(Protocol::kTcp, at("10.77.0.1", 80)));
  CHECK(s.add_local(Protocol::kTcp, at("10.77.0.1", 81)).code == ENOBUFS);
  s.close();
  CHECK(!s.ours(tcp4(5000, 80)));
}

TEST_CASE(
    "soft steering: each rule counts what it takes, and the next with its place begins anew") {
  Fixture soft({.flows_max = 1, .locals_max = 2});
  REQUIRE(!soft.add_local(Protocol::kTcp, {ip("0.0.0.0"), 80}));
  REQUIRE(!soft.add_port_block(Protocol::kTcp, 40000));
  const Bytes frame = ethernet(kHere, kThere, tcp4(5000, 80));
  CHECK(soft.ours(tcp4(5000, 80)));
  CHECK(soft.ours(tcp4(5001, 80)));
  CHECK(soft.ours(tcp4(5000, 40001)));
  REQUIRE(!soft.set_flow(Protocol::kTcp, {{ip("10.77.0.1"), 80}, {ip("10.77.0.2"), 5000}},
                         Owner::kKernel));
  CHECK(!soft.ours(tcp4(5000, 80)));
  const auto told = [&] {
    std::string text;
    soft.each_rule([&](const steer::RuleReport& rule) {
      CHECK(rule.counted);
      CHECK(rule.bytes == rule.packets * frame.size());
      text += steer::words_of(rule) + " = " + std::to_string(rule.packets) + "\n";
      return true;
    });
    return text;
  };
  CHECK(told() ==
        "tcp to any IPv4 address port 80: ours, by any queue = 2\n"
        "tcp to any address port 40000-40063: ours, by any queue = 1\n"
        "tcp to 10.77.0.1 port 80 from 10.77.0.2 port 5000: the kernel's = 1\n");
  REQUIRE(!soft.remove_port_block(Protocol::kTcp, 40000));
  REQUIRE(!soft.add_port_block(Protocol::kTcp, 40000));
  CHECK(told().find("port 40000-40063: ours, by any queue = 0\n") != std::string::npos);
  // What there is no room for is told with its reason, however often it was asked for.
  for (int i = 0; i < 2; ++i) {
    CHECK(soft.set_flow(Protocol::kTcp, {{ip("10.77.0.1"), 80}, {ip("10.77.0.2"), 5001}},
                        Owner::kOurs)
              .code == ENOBUFS);
  }
  REQUIRE(soft.refusals().size() == 1);
  CHECK(soft.refusals()[0].times == 2);
  CHECK(soft.refusals()[0].text ==
        "tcp to 10.77.0.1 port 80 from 10.77.0.2 port 5001: ours, by any queue: there are as many "
        "such rules as are allowed");
}
