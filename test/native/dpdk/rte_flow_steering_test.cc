// SPDX-License-Identifier: MIT
// What each kind of rule becomes in the words of rte_flow (golden/rules.txt), and that nothing is
// left, whatever a device refuses. MILLRACE_GOLDEN=write writes the golden file anew.
#include "steer/rte_flow/rte_flow_steering.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "recording_device.h"

namespace millrace::steer {
namespace {

const wire::IpAddress kOur4 = wire::IpAddress::v4(0x0a000001);
const wire::IpAddress kOther4 = wire::IpAddress::v4(0x0a000101);
const wire::IpAddress kPeer4 = wire::IpAddress::v4(0x0a000002);

wire::IpAddress v6(uint8_t last) {
  const uint8_t bytes[16] = {0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
  return wire::IpAddress::v6_bytes(bytes);
}

wire::FlowKey flow(const wire::IpAddress& local, uint16_t port, const wire::IpAddress& remote) {
  return {{local, port}, {remote, 4000}};
}

struct Bench {
  Recording card;
  RteFlowSteering steering;
  explicit Bench(RteFlowOptions options = {})
      : steering(std::make_unique<RecordingDevice>(card), options) {}
};

bool contains(const std::string& text, const char* part) {
  return text.find(part) != text.npos;
}

std::string kinds(RteFlowOptions options) {
  std::string text;
  const auto section = [&](const char* name, auto&& ask) {
    options.icmp_errors = false;
    Bench bench(options);
    REQUIRE(!bench.steering.add_address(kOur4));
    REQUIRE(!bench.steering.add_address(v6(1)));
    ask(bench.steering);
    text += std::string("# ") + name + "\n" + bench.card.rules() + "\n";
    bench.steering.close();
    CHECK(bench.card.present.empty());
  };
  section("exact flow: ours", [](Steering& s) {
    CHECK(!s.set_flow(Protocol::kTcp, flow(kOur4, 80, kPeer4), Owner::kOurs));
    CHECK(!s.set_flow(Protocol::kTcp, flow(v6(1), 80, v6(2)), Owner::kOurs));
    CHECK(!s.set_flow(Protocol::kUdp, flow(kOur4, 53, kPeer4), Owner::kOurs));
  });
  section("local address and port", [](Steering& s) {
    CHECK(!s.add_local(Protocol::kTcp, {kOur4, 80}));
    CHECK(!s.add_local(Protocol::kUdp, {v6(1), 53}));
  });
  section("any address, both families", [](Steering& s) {
    CHECK(!s.add_local(Protocol::kTcp, {{}, 80}));
    CHECK(!s.add_local(Protocol::kTcp, {wire::IpAddress::v4(0), 80}));
  });
  section("a group", [](Steering& s) {
    CHECK(!s.add_local(Protocol::kUdp, {wire::IpAddress::v4(0xef010203), 5000}));
  });
  section("port block", [](Steering& s) {
    CHECK(!s.add_port_block(Protocol::kTcp, 40000));
    CHECK(!s.add_port_block(Protocol::kUdp, 40064));
  });
  options.icmp_errors = true;
  Bench bench(options);
  REQUIRE(!bench.steering.add_address(kOur4));
  REQUIRE(!bench.steering.add_address(v6(1)));
  return text + "# ICMP errors\n" + bench.card.rules();
}

}  // namespace

TEST_CASE("every kind of rule, v4 and v6, as in the golden file") {
  const std::string got =
      "## one queue\n\n" + kinds({}) + "\n## two queues\n\n" + kinds({.queues = 2});
  const std::string path = std::string(MILLRACE_SOURCE) + "/test/native/dpdk/golden/rules.txt";
  if (const char* what = std::getenv("MILLRACE_GOLDEN"); what && std::string(what) == "write") {
    std::ofstream(path) << got;
  }
  std::ifstream file(path);
  std::stringstream golden;
  golden << file.rdbuf();
  CHECK(got == golden.str());
}

TEST_CASE("a flow of the kernel's") {
  Bench bench;
  REQUIRE(!bench.steering.add_address(kOur4));
  const Error error =
      bench.steering.set_flow(Protocol::kTcp, flow(kOur4, 80, kPeer4), Owner::kKernel);
  FlowRule rule;
  rule.target = FlowRule::Target::kKernel;
  if (FlowTexts(rule).expressible) {
    CHECK(!error);
  } else {
    CHECK(error.code == ENOTSUP);
    CHECK(contains(bench.steering.refusal(),
                   "tcp to 10.0.0.1 port 80 from 10.0.0.2 port 4000: the kernel's: "));
    CHECK(bench.steering.remove_flow(Protocol::kTcp, flow(kOur4, 80, kPeer4)).code == ENOENT);
  }
}

TEST_CASE("an owner that changes leaves one rule") {
  Bench bench({.icmp_errors = false});
  const auto key = flow(kOur4, 80, kPeer4);
  CHECK(!bench.steering.set_flow(Protocol::kTcp, key, Owner::kOurs));
  CHECK(!bench.steering.set_flow(Protocol::kTcp, key, Owner::kOurs));
  CHECK(bench.card.present.size() == 1);
  static_cast<void>(bench.steering.set_flow(Protocol::kTcp, key, Owner::kKernel));
  CHECK(bench.card.present.size() == 1);
  CHECK(!bench.steering.remove_flow(Protocol::kTcp, key));
  CHECK(bench.card.present.empty());
}

TEST_CASE("every rule is asked for before it is made") {
  Bench bench;
  REQUIRE(!bench.steering.add_address(kOur4));
  REQUIRE(!bench.steering.add_local(Protocol::kTcp, {kOur4, 80}));
  for (size_t i = 0; i < bench.card.log.size(); i += 2) {
    REQUIRE(bench.card.log[i].rfind("validate ", 0) == 0);
    CHECK("validate " + bench.card.log[i + 1].substr(7) == bench.card.log[i]);
  }
}

TEST_CASE("addresses that come and go take their rules along") {
  Bench bench;
  REQUIRE(!bench.steering.add_local(Protocol::kTcp, {wire::IpAddress::v4(0), 80}));
  REQUIRE(!bench.steering.add_port_block(Protocol::kTcp, 40000));
  CHECK(bench.card.present.empty());
  REQUIRE(!bench.steering.add_address(kOur4));
  const std::string one = bench.card.rules();
  CHECK(contains(one, "10.0.0.1"));
  REQUIRE(!bench.steering.add_address(kOther4));
  CHECK(contains(bench.card.rules(), "10.0.1.1"));
  REQUIRE(!bench.steering.remove_address(kOther4));
  CHECK(bench.card.rules() == one);
  REQUIRE(!bench.steering.remove_address(kOur4));
  CHECK(bench.card.present.empty());
  CHECK(bench.steering.remove_address(kOur4).code == ENOENT);
}

TEST_CASE("a device without port masks gets a rule per port") {
  Bench bench({.masked_ports = false, .icmp_errors = false});
  REQUIRE(!bench.steering.add_address(kOur4));
  REQUIRE(!bench.steering.add_port_block(Protocol::kTcp, 40000));
  CHECK(bench.card.present.size() == 64);
  CHECK(contains(bench.card.rules(), "tcp dst 40063"));
  CHECK(!contains(bench.card.rules(), "tcp dst 40064"));
  REQUIRE(!bench.steering.remove_port_block(Protocol::kTcp, 40000));
  CHECK(bench.card.present.empty());
}

TEST_CASE("a device that cannot tell fragments") {
  Bench bench({.icmp_errors = false});
  bench.card.refuse_validate = [](const std::string& rule) {
    return contains(rule, "fragment") ? "fragment offset is not supported" : nullptr;
  };
  REQUIRE(!bench.steering.add_local(Protocol::kTcp, {kOur4, 80}));
  CHECK(bench.card.rules() ==
        "group 0 priority 2: eth / ipv4 dst 10.0.0.1 / tcp dst 80 -> count queue 0\n");
}

TEST_CASE("a device that cannot spread puts a listener on one queue") {
  Bench bench({.queues = 2, .icmp_errors = false});
  const auto no_rss = [](const std::string& rule) {
    return contains(rule, "rss") ? "no RSS" : nullptr;
  };
  SUBCASE("it says so when asked") {
    bench.card.refuse_validate = no_rss;
  }
  SUBCASE("it says so when the rule is made") {
    bench.card.refuse_create = no_rss;
  }
  REQUIRE(!bench.steering.add_local(Protocol::kTcp, {kOur4, 80}));
  CHECK(contains(bench.card.rules(), "tcp dst 80 -> count queue 1"));
}

TEST_CASE("what a device refuses is named with its reason, and leaves nothing") {
  Bench bench({.masked_ports = false, .icmp_errors = false});
  REQUIRE(!bench.steering.add_address(kOur4));
  SUBCASE("when asked") {
    bench.card.refuse_validate = [](const std::string& rule) {
      return contains(rule, "dst 40003 ") ? "no room for masks" : nullptr;
    };
    CHECK(bench.steering.add_port_block(Protocol::kUdp, 40000 / 64 * 64).code == ENOTSUP);
    CHECK(bench.steering.refusal() == "udp to 10.0.0.1 port 40003: queue 0: no room for masks");
  }
  SUBCASE("when made") {
    bench.card.refuse_create = [&](const std::string& rule) {
      return contains(rule, "dst 40003 ") ? "table full" : nullptr;
    };
    CHECK(bench.steering.add_port_block(Protocol::kUdp, 40000 / 64 * 64).code == ENOSPC);
    CHECK(bench.steering.refusal() == "udp to 10.0.0.1 port 40003: queue 0: table full");
  }
  CHECK(bench.card.present.empty());
  CHECK(bench.steering.rules() == 0);
}

TEST_CASE("ICMP errors that cannot be had do not keep an address from working") {
  Bench bench;
  bench.card.refuse_validate = [](const std::string& rule) {
    return contains(rule, "icmp type 12") ? "type 12" : contains(rule, "proto") ? "proto" : nullptr;
  };
  CHECK(!bench.steering.add_address(kOur4));
  CHECK(bench.card.present.empty());
  CHECK(bench.steering.refusal() == "icmp type 12 to 10.0.0.1: queue 0: type 12");
}

TEST_CASE("a device that knows no types of ICMP gives all of IPv4's and none of IPv6's") {
  Bench bench;
  bench.card.refuse_validate = [](const std::string& rule) {
    return contains(rule, "icmp") ? "no such item" : nullptr;
  };
  CHECK(!bench.steering.add_address(kOur4));
  CHECK(bench.steering.refusal().empty());
  const std::string all = bench.card.rules();
  CHECK(
      all ==
      "group 0 priority 4: eth / ipv4 dst 10.0.0.1 proto 1 fragment 0x0/0x3fff -> count queue 0\n");
  CHECK(!bench.steering.add_address(v6(1)));
  CHECK(bench.card.rules() == all);
  CHECK(!bench.steering.remove_address(kOur4));
  CHECK(bench.card.present.empty());
}

TEST_CASE("the limit, and what cannot be a rule") {
  Bench bench({.icmp_errors = false, .rules_max = 1});
  CHECK(bench.steering.add_local(Protocol::kTcp, {kOur4, 0}).code == EINVAL);
  CHECK(bench.steering.add_port_block(Protocol::kTcp, 40001).code == EINVAL);
  CHECK(bench.steering.set_flow(Protocol::kTcp, {{kOur4, 1}, {v6(1), 2}}, Owner::kOurs).code ==
        EINVAL);
  CHECK(!bench.steering.add_local(Protocol::kTcp, {kOur4, 80}));
  CHECK(!bench.steering.add_local(Protocol::kTcp, {kOur4, 80}));
  CHECK(bench.steering.add_local(Protocol::kTcp, {kOur4, 81}).code == ENOBUFS);
  CHECK(bench.steering.remove_local(Protocol::kTcp, {kOur4, 81}).code == ENOENT);
}

TEST_CASE("a device that does not count") {
  Bench bench({.icmp_errors = false});
  const auto no_count = [](const std::string& rule) {
    return contains(rule, "count") ? "no counters" : nullptr;
  };
  SUBCASE("it says so when asked") {
    bench.card.refuse_validate = no_count;
  }
  SUBCASE("it says so when the rule is made") {
    bench.card.refuse_create = no_count;
  }
  REQUIRE(!bench.steering.add_local(Protocol::kTcp, {kOur4, 80}));
  CHECK(contains(bench.card.rules(), "tcp dst 80 -> queue 0\n"));
  CHECK(bench.steering.refusals().empty());
  // It is not asked again for each rule.
  bench.card.log.clear();
  REQUIRE(!bench.steering.add_local(Protocol::kTcp, {kOur4, 81}));
  CHECK(bench.card.log.size() == 2);
  bench.steering.each_rule([](const RuleReport& rule) {
    CHECK(!rule.counted);
    return true;
  });
}

TEST_CASE("a device that neither counts nor tells fragments") {
  Bench bench({.icmp_errors = false});
  bench.card.refuse_validate = [](const std::string& rule) {
    return contains(rule, "count") || contains(rule, "fragment") ? "too much" : nullptr;
  };
  REQUIRE(!bench.steering.add_local(Protocol::kTcp, {kOur4, 80}));
  CHECK(bench.card.rules() ==
        "group 0 priority 2: eth / ipv4 dst 10.0.0.1 / tcp dst 80 -> queue 0\n");
  CHECK(bench.steering.refusals().empty());
}

TEST_CASE("the reason for a refusal is the one that the whole rule met") {
  Bench bench({.icmp_errors = false});
  bench.card.refuse_validate = [](const std::string& rule) {
    return contains(rule, "count") ? "the first reason" : "another reason";
  };
  CHECK(bench.steering.add_local(Protocol::kTcp, {kOur4, 80}).code == ENOTSUP);
  CHECK(bench.steering.refusal() == "tcp to 10.0.0.1 port 80: queue 0: the first reason");
}

TEST_CASE("rules are told with what the device has counted for each") {
  Bench bench({.queues = 2, .masked_ports = false});
  REQUIRE(!bench.steering.add_address(kOur4));
  REQUIRE(!bench.steering.add_local(Protocol::kTcp, {wire::IpAddress::v4(0), 80}));
  REQUIRE(!bench.steering.add_port_block(Protocol::kTcp, 40000));
  REQUIRE(!bench.steering.set_flow(Protocol::kTcp, flow(kOur4, 81, kPeer4), Owner::kOurs));
  for (const auto& [handle, rule] : bench.card.present) {
    if (contains(rule, "dst 80 ")) bench.card.hits[handle] = 7;
    if (contains(rule, "dst 40001 ") || contains(rule, "dst 40063 ")) bench.card.hits[handle] = 2;
  }
  std::string told;
  bench.steering.each_rule([&](const RuleReport& rule) {
    CHECK(rule.counted);
    told += std::string(name_of(rule.kind)) + " " + words_of(rule) + " x" +
            std::to_string(rule.rules) + " = " + std::to_string(rule.packets) + ", " +
            std::to_string(rule.bytes) + "\n";
    return true;
  });
  CHECK(told ==
        "local tcp to 10.0.0.1 port 80: spread over queues 0, 1 x1 = 7, 700\n"
        "port-block tcp to 10.0.0.1 port 40000-40063: queue 1 x64 = 4, 400\n"
        "icmp-error icmp type 3 to 10.0.0.1: queue 0 x1 = 0, 0\n"
        "icmp-error icmp type 11 to 10.0.0.1: queue 0 x1 = 0, 0\n"
        "icmp-error icmp type 12 to 10.0.0.1: queue 0 x1 = 0, 0\n"
        "our-flow tcp to 10.0.0.1 port 81 from 10.0.0.2 port 4000: queue 1 x1 = 0, 0\n");
  // Whoever has heard enough is told no more.
  int heard = 0;
  bench.steering.each_rule([&](const RuleReport&) { return ++heard < 2; });
  CHECK(heard == 2);
}

}  // namespace millrace::steer
