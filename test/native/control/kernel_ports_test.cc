// SPDX-License-Identifier: MIT
// Port blocks and kernel flows, against the kernel of a namespace of the test's own.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "control/kernel_flows.h"
#include "control/port_blocks.h"
#include "support/netns.h"
#include "support/raw_packets.h"

using namespace millrace;
using namespace millrace::test;
using control::KernelFlows;
using control::PortBlocks;

namespace {

constexpr uint8_t kTcp = 6, kUdp = 17;

struct Observer : control::PortBlockObserver {
  Error block_reserved(uint8_t, uint16_t first_port) override {
    if (answer) return answer;
    blocks.insert(first_port);
    return kOk;
  }
  void block_returned(uint8_t, uint16_t first_port) override {
    CHECK(blocks.erase(first_port) == 1);
  }
  std::set<uint16_t> blocks;
  Error answer = kOk;
};

int bind_errno(int type, const char* address, uint16_t port) {
  const bool v4 = ip(address).is_v4();
  const int fd = socket(v4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);
  sockaddr_in a4{};
  a4.sin_family = AF_INET;
  a4.sin_port = htons(port);
  sockaddr_in6 a6{};
  a6.sin6_family = AF_INET6;
  a6.sin6_port = htons(port);
  inet_pton(v4 ? AF_INET : AF_INET6, address,
            v4 ? static_cast<void*>(&a4.sin_addr) : &a6.sin6_addr);
  const int rc = v4 ? bind(fd, reinterpret_cast<sockaddr*>(&a4), sizeof(a4))
                    : bind(fd, reinterpret_cast<sockaddr*>(&a6), sizeof(a6));
  const int code = rc == 0 ? 0 : errno;
  close(fd);
  return code;
}

}  // namespace

TEST_CASE("port blocks: ports are the kernel's to give, aligned, and nobody else's then" *
          needs_root()) {
  Namespace ns;
  Inside inside(ns);
  Random random = Random::from_seed(1);
  Observer observer;
  PortBlocks ports(kTcp, random, {.blocks_max = 2}, observer);
  const auto remote = at("192.0.2.1", 80);
  const auto port = ports.allocate(remote);
  REQUIRE(port.ok());
  REQUIRE(observer.blocks.size() == 1);
  const uint16_t first = *observer.blocks.begin();
  CHECK(first % 64 == 0);
  CHECK(first >= 32768);
  CHECK(first + 63 <= 60999);
  CHECK(*const_cast<Result<uint16_t>&>(port) / 64 == first / 64);
  for (uint16_t p = first; p < first + 64; ++p) {
    CHECK(bind_errno(SOCK_STREAM, "127.0.0.1", p) == EADDRINUSE);
    CHECK(bind_errno(SOCK_STREAM, "::1", p) == EADDRINUSE);
    CHECK(ports.owns(p));
  }
  CHECK(bind_errno(SOCK_DGRAM, "127.0.0.1", first) == 0);
  CHECK(!ports.owns(uint16_t(first + 64)));
  ports.close();
  CHECK(observer.blocks.empty());
  CHECK(bind_errno(SOCK_STREAM, "127.0.0.1", first) == 0);
}

TEST_CASE(
    "port blocks: one port serves many remotes; one remote has every port once; then "
    "EADDRNOTAVAIL" *
    needs_root()) {
  Namespace ns;
  Inside inside(ns);
  Random random = Random::from_seed(2);
  Observer observer;
  PortBlocks ports(kTcp, random, {.blocks_max = 2}, observer);
  const auto a = at("192.0.2.1", 80), b = at("192.0.2.1", 81);
  std::set<uint16_t> taken;
  std::vector<uint16_t> order;
  for (int i = 0; i < 128; ++i) {
    auto port = ports.allocate(a);
    REQUIRE(port.ok());
    CHECK(taken.insert(*port).second);
    order.push_back(*port);
    REQUIRE(ports.allocate(b).ok());
  }
  CHECK(observer.blocks.size() == 2);
  CHECK(!std::is_sorted(order.begin(), order.begin() + 64));  // RFC 6056: not in plain sequence
  CHECK(ports.allocate(a).error().code == EADDRNOTAVAIL);
  CHECK(ports.in_use() == 256);
  CHECK(ports.release(order[17], a));
  CHECK(!ports.release(order[17], a));
  auto again = ports.allocate(a);
  REQUIRE(again.ok());
  CHECK(*again == order[17]);
  auto third = ports.allocate(at("2001:db8::1", 80));
  CHECK(third.ok());
}

TEST_CASE("port blocks: of the ports that are free, one that is liked" * needs_root()) {
  struct OddOnly final : control::PortPreference {
    bool likes(uint16_t port) override {
      ++asked;
      return port % 2 == 1;
    }
    int asked = 0;
  };
  Namespace ns;
  Inside inside(ns);
  Random random = Random::from_seed(5);
  Observer observer;
  PortBlocks ports(kTcp, random, {.blocks_max = 1}, observer);
  const auto remote = at("192.0.2.1", 80);
  OddOnly odd;
  // The block is made when the first port is asked for, and its ports are asked about then.
  for (int i = 0; i < 32; ++i) {
    auto port = ports.allocate(remote, &odd);
    REQUIRE(port.ok());
    CHECK(*port % 2 == 1);
  }
  // Then it has to be one of the others, until one that is liked is free again.
  auto even = ports.allocate(remote, &odd);
  REQUIRE(even.ok());
  CHECK(*even % 2 == 0);
  const auto free_again = uint16_t(*observer.blocks.begin() + 33);
  REQUIRE(ports.release(free_again, remote));
  auto again = ports.allocate(remote, &odd);
  REQUIRE(again.ok());
  CHECK(*again == free_again);
  CHECK(odd.asked <= 34 * 64);
  while (ports.allocate(remote, &odd).ok()) continue;
  CHECK(ports.in_use() == 64);
}

TEST_CASE("port blocks: for a preference there are more of them, but not many, nor in vain" *
          needs_root()) {
  struct EveryFourth final : control::PortPreference {
    bool likes(uint16_t port) override { return port % 4 == 1; }
  };
  struct None final : control::PortPreference {
    bool likes(uint16_t) override { return false; }
  };
  Namespace ns;
  Inside inside(ns);
  Random random = Random::from_seed(5);
  Observer observer;
  PortBlocks ports(kTcp, random, {.blocks_max = 4, .preferred_blocks_max = 3}, observer);
  const auto remote = at("192.0.2.1", 80);
  None none;
  for (int i = 0; i < 64; ++i) REQUIRE(ports.allocate(at("192.0.2.2", 80), &none).ok());
  CHECK(ports.blocks() == 1);
  EveryFourth fourth;
  for (int i = 0; i < 3 * 16; ++i) {
    auto port = ports.allocate(remote, &fourth);
    REQUIRE(port.ok());
    CHECK(*port % 4 == 1);
  }
  CHECK(ports.blocks() == 3);
  auto other = ports.allocate(remote, &fourth);
  REQUIRE(other.ok());
  CHECK(*other % 4 != 1);
  CHECK(ports.blocks() == 3);
  // In the end every port serves, liked or not.
  while (ports.allocate(remote).ok()) continue;
  CHECK(ports.in_use() == 64 + 4 * 64);
}

TEST_CASE("port blocks: who knows some ports does not know the next (RFC 6056 3.3.4)" *
          needs_root()) {
  const auto places = [](uint64_t seed) {
    Namespace ns;
    Inside inside(ns);
    Random random = Random::from_seed(seed);
    Observer observer;
    PortBlocks ports(kTcp, random, {.blocks_max = 1}, observer);
    std::vector<int> all;
    for (int i = 0; i < 256; ++i) {
      const std::string host = "198.51.100." + std::to_string(i);
      auto port = ports.allocate(at(host.c_str(), 443));
      REQUIRE(port.ok());
      all.push_back(*port % 64);
    }
    ports.close();
    return all;
  };
  const std::vector<int> one = places(1), two = places(2);
  int following = 0, same = 0;
  for (size_t i = 0; i < one.size(); ++i) {
    following += i > 0 && one[i] == (one[i - 1] + 1) % 64;
    same += one[i] == two[i];
  }
  CHECK(following < 16);  // 4 by chance
  CHECK(same < 16);       // another secret, another order
  CHECK(std::set<int>(one.begin(), one.end()).size() > 56);
}

TEST_CASE("port blocks: taken ports, the administrator's ports and refused blocks are left alone" *
          needs_root()) {
  Namespace ns;
  Inside inside(ns);
  Random random = Random::from_seed(3);
  Observer observer;
  const int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(40010);
  REQUIRE(bind(udp, reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
  std::ofstream("/proc/sys/net/ipv4/ip_local_reserved_ports") << "40070-40072,40128";
  // Blocks 40000, 40064 and 40128 fit; the first has a user, the others are reserved.
  PortBlocks none(kUdp, random, {.first_port = 40000, .last_port = 40191}, observer);
  CHECK(none.allocate(at("192.0.2.1", 53)).error().code == EADDRNOTAVAIL);
  close(udp);
  observer.answer = {ENOBUFS};
  CHECK(none.allocate(at("192.0.2.1", 53)).error().code == ENOBUFS);
  CHECK(bind_errno(SOCK_DGRAM, "127.0.0.1", 40010) == 0);
  observer.answer = kOk;
  auto port = none.allocate(at("192.0.2.1", 53));
  REQUIRE(port.ok());
  CHECK(*port / 64 == 40000 / 64);
  CHECK(bind_errno(SOCK_DGRAM, "127.0.0.1", 40010) == EADDRINUSE);
}

TEST_CASE("port blocks: without descriptors the error is the kernel's" * needs_root()) {
  Namespace ns;
  Inside inside(ns);
  Random random = Random::from_seed(4);
  Observer observer;
  rlimit old;
  getrlimit(RLIMIT_NOFILE, &old);
  const rlimit few{40, old.rlim_max};
  PortBlocks ports(kTcp, random, {}, observer);
  setrlimit(RLIMIT_NOFILE, &few);
  const auto port = ports.allocate(at("192.0.2.1", 80));
  setrlimit(RLIMIT_NOFILE, &old);
  CHECK(port.error().code == EMFILE);
  CHECK(ports.allocate(at("192.0.2.1", 80)).ok());
}

TEST_CASE("kernel flows: connections on a port, both families, and their end" * needs_root()) {
  Namespace ns;
  Inside inside(ns);
  const int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(8080);
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0);
  REQUIRE(listen(listener, 8) == 0);
  KernelFlows flows;
  REQUIRE(!flows.open());
  std::vector<wire::FlowKey> list;
  REQUIRE(!flows.list(kTcp, 8080, 100, list));
  CHECK(list.empty());  // a listener is no flow

  const auto dial = [&](const char* address) {
    const bool v4 = ip(address).is_v4();
    const int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in a4{};
    a4.sin_family = AF_INET;
    a4.sin_port = htons(8080);
    sockaddr_in6 a6 = any;
    inet_pton(v4 ? AF_INET : AF_INET6, address,
              v4 ? static_cast<void*>(&a4.sin_addr) : &a6.sin6_addr);
    REQUIRE((v4 ? connect(fd, reinterpret_cast<sockaddr*>(&a4), sizeof(a4))
                : connect(fd, reinterpret_cast<sockaddr*>(&a6), sizeof(a6))) == 0);
    return fd;
  };
  const int four = dial("127.0.0.1"), six = dial("::1");
  REQUIRE(!flows.list(kTcp, 8080, 100, list));
  REQUIRE(list.size() == 2);  // as the listening side has them, accepted or not
  std::sort(list.begin(), list.end());
  CHECK(list[0].local == at("::1", 8080));
  CHECK(list[1].local == at("127.0.0.1", 8080));
  CHECK(list[1].remote.address == ip("127.0.0.1"));
  CHECK(list[1].remote.port != 0);
  std::vector<wire::FlowKey> one;
  CHECK(flows.list(kTcp, 8080, 1, one).code == ENOBUFS);
  CHECK(one.size() == 1);

  // A reset ends one for good.
  const linger hard{1, 0};
  setsockopt(four, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
  close(four);
  const wire::FlowKey ended = list[1];
  std::vector<wire::FlowKey> gone;
  for (int i = 0; i < 50 && gone.empty(); ++i) {
    REQUIRE(!flows.take_gone(kTcp, 8080, list, gone));
    usleep(2000);
  }
  REQUIRE(gone.size() == 1);
  CHECK(gone[0] == ended);
  CHECK(list.size() == 1);

  // The side that closes first keeps TIME-WAIT: still the kernel's.
  const int accepted_four = accept(listener, nullptr, nullptr);
  const int accepted_six = accept(listener, nullptr, nullptr);
  close(accepted_four);
  close(accepted_six);
  close(six);
  usleep(20000);
  gone.clear();
  REQUIRE(!flows.take_gone(kTcp, 8080, list, gone));
  CHECK(gone.empty());
  CHECK(list.size() == 1);
  close(listener);
}

TEST_CASE("kernel flows: connected datagram sockets count, others do not" * needs_root()) {
  Namespace ns;
  Inside inside(ns);
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(5353);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
  KernelFlows flows;
  REQUIRE(!flows.open());
  std::vector<wire::FlowKey> list;
  REQUIRE(!flows.list(kUdp, 5353, 100, list));
  CHECK(list.empty());
  a.sin_port = htons(99);
  REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
  REQUIRE(!flows.list(kUdp, 5353, 100, list));
  REQUIRE(list.size() == 1);
  CHECK(list[0] == wire::FlowKey{at("127.0.0.1", 5353), at("127.0.0.1", 99)});
  close(fd);
}
