// SPDX-License-Identifier: MIT
// Several stacks on one interface: each with a queue of its own, rules that hold on it alone, and
// packets that are passed on from the wrong one to the right one.
#include "steer/sharing.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "support/member.h"

using namespace millrace;
using namespace millrace::test;
using steer::Owner;
using steer::Protocol;
using steer::Whose;

namespace {

const wire::FlowKey kFlow{at("10.77.0.1", 80), at("10.77.0.2", 5000)};

// An Ethernet frame with room for the notes of those who pass it on.
Bytes frame_of(const Bytes& ip_packet) {
  Bytes frame = ethernet(mac_of("lo"), Mac{}, ip_packet);
  std::fill(frame.begin() + 6, frame.begin() + 12, uint8_t(0));
  return frame;
}

}  // namespace

TEST_CASE("sharing: members take a queue each, and there are as many as queues" * needs_root()) {
  VethPair veth(2);
  REQUIRE(veth.ok);
  Member first(veth), second(veth);
  REQUIRE_MESSAGE(first.ok, first.error.text);
  REQUIRE_MESSAGE(second.ok, second.error.text);
  CHECK(!first.steering->joined());
  CHECK(second.steering->joined());
  CHECK(!first.port->has_all_queues());
  CHECK(first.port->queue_id(0) == 0);
  CHECK(second.port->queue_id(0) == 1);
  Member third(veth, Duration::millis(20));
  CHECK(!third.port);
  CHECK(third.error.code == EBUSY);
  CHECK(std::string(third.error.text) ==
        "all 2 receive queues of \"mrh\" are in use by other AF_XDP sockets");
  // The one that attached the program goes: it stays for the others, and there is room again.
  first.port.reset();
  first.steering.reset();
  Member fourth(veth, Duration::millis(500));
  REQUIRE_MESSAGE(fourth.ok, fourth.error.text);
  CHECK(fourth.steering->joined());
  CHECK(fourth.port->queue_id(0) == 0);
}

TEST_CASE("sharing: a rule by port holds on the queues of the stack that made it" * needs_root()) {
  VethPair veth(2);
  REQUIRE(veth.ok);
  Member first(veth), second(veth);
  REQUIRE(first.ok);
  REQUIRE(second.ok);
  REQUIRE(!first.steering->add_local(Protocol::kUdp, at("0.0.0.0", 53)));
  send_datagrams(veth, 64, 53);
  const uint32_t alone = first.receive();
  CHECK(alone > 0);
  CHECK(alone < 64);  // the kernel had the rest
  CHECK(second.receive() == 0);
  REQUIRE(!second.steering->add_local(Protocol::kUdp, at("0.0.0.0", 53)));
  send_datagrams(veth, 64, 53);
  const uint32_t one = first.receive(), other = second.receive();
  CHECK(one > 0);
  CHECK(other > 0);
  CHECK(one + other == 64);
  // The other's rule is not removed with this one's.
  REQUIRE(!first.steering->remove_local(Protocol::kUdp, at("0.0.0.0", 53)));
  CHECK(first.steering->remove_local(Protocol::kUdp, at("0.0.0.0", 53)).code == ENOENT);
  send_datagrams(veth, 64, 53);
  CHECK(first.receive() == 0);
  CHECK(second.receive() > 0);
}

TEST_CASE("sharing: what came to the wrong stack is passed on" * needs_root()) {
  VethPair veth(3);
  REQUIRE(veth.ok);
  Member first(veth), second(veth), third(veth);
  REQUIRE(first.ok);
  REQUIRE(second.ok);
  REQUIRE(third.ok);
  const Bytes original = frame_of(packet("10.77.0.2", "10.77.0.1", 6, tcp(5000, 80, kAck)));
  Bytes frame = original;
  CHECK(first.pass_on(veth, Protocol::kTcp, kFlow, frame) == Whose::kNobodys);
  REQUIRE(!second.steering->set_flow(Protocol::kTcp, kFlow, Owner::kOurs));
  CHECK(second.pass_on(veth, Protocol::kTcp, kFlow, frame) == Whose::kNobodys);
  CHECK(first.pass_on(veth, Protocol::kTcp, kFlow, frame) == Whose::kPassedOn);
  REQUIRE(second.receive() == 1);
  CHECK((second.last_flags & Frame::kPassedOn) != 0);
  CHECK(Bytes(second.last.begin() + 14, second.last.end()) ==
        Bytes(original.begin() + 14, original.end()));
  CHECK(third.receive(20) == 0);
  REQUIRE(!third.steering->set_flow(Protocol::kTcp, kFlow, Owner::kKernel));
  CHECK(first.pass_on(veth, Protocol::kTcp, kFlow, frame) == Whose::kKernels);

  // Where no rule tells it goes round once, and the last one is told so.
  frame = original;
  CHECK(second.pass_along(veth, frame));
  REQUIRE(third.receive() == 1);
  CHECK(third.pass_along(veth, third.last));
  REQUIRE(first.receive() == 1);
  CHECK(!first.pass_along(veth, first.last));
  CHECK(second.receive(20) == 0);

  frame = original;
  {
    Inside here(veth.here);
    first.steering->pass_on_to_all(frame);
  }
  CHECK(second.receive() == 1);
  CHECK(third.receive() == 1);
  CHECK(first.receive(20) == 0);

  // To a stack that has gone: its rule goes too.
  REQUIRE(!third.steering->set_flow(Protocol::kTcp, kFlow, Owner::kOurs));
  third.port.reset();
  third.steering.reset();
  frame = original;
  CHECK(first.pass_on(veth, Protocol::kTcp, kFlow, frame) == Whose::kNobodys);
  CHECK(first.steering->remove_flow(Protocol::kTcp, kFlow).code == ENOENT);
}

TEST_CASE("sharing: answers to connections of a block find the stack that has it" * needs_root()) {
  VethPair veth(2);
  REQUIRE(veth.ok);
  Member first(veth), second(veth);
  REQUIRE(first.ok);
  REQUIRE(second.ok);
  const wire::FlowKey flow{at("10.77.0.1", 40017), at("10.77.0.2", 80)};
  Bytes frame = frame_of(packet("10.77.0.2", "10.77.0.1", 6, tcp(80, 40017, kSyn | kAck)));
  CHECK(first.pass_on(veth, Protocol::kTcp, flow, frame) == Whose::kNobodys);
  REQUIRE(!second.steering->add_port_block(Protocol::kTcp, 40000));
  CHECK(first.pass_on(veth, Protocol::kUdp, flow, frame) == Whose::kNobodys);
  CHECK(second.pass_on(veth, Protocol::kTcp, flow, frame) == Whose::kNobodys);
  CHECK(first.pass_on(veth, Protocol::kTcp, flow, frame) == Whose::kPassedOn);
  CHECK(second.receive() == 1);
  // What was handed over to the kernel is no longer the block's.
  REQUIRE(!second.steering->set_flow(Protocol::kTcp, flow, Owner::kKernel));
  CHECK(first.pass_on(veth, Protocol::kTcp, flow, frame) == Whose::kKernels);
}

TEST_CASE("sharing: a receiver that does not read for a while loses nothing; then it is told" *
          needs_root()) {
  VethPair veth(2);
  REQUIRE(veth.ok);
  Member first(veth), second(veth);
  REQUIRE(first.ok);
  REQUIRE(second.ok);
  REQUIRE(!second.steering->set_flow(Protocol::kTcp, kFlow, Owner::kOurs));
  Bytes segment = tcp(5000, 80, kAck);
  segment.resize(1480);
  const Bytes full = frame_of(packet("10.77.0.2", "10.77.0.1", 6, segment));
  constexpr uint32_t kWindow = 2000;  // some 3 MB
  uint32_t sent = 0;
  for (; sent < kWindow; ++sent) {
    Bytes frame = full;
    if (first.pass_on(veth, Protocol::kTcp, kFlow, frame) != Whose::kPassedOn) break;
  }
  CHECK(sent == kWindow);
  CHECK(second.receive() == kWindow);
  CHECK(second.last.size() == full.size());
  Whose whose = Whose::kPassedOn;
  for (uint32_t i = 0; i < 100'000 && whose == Whose::kPassedOn; ++i) {
    Bytes frame = full;
    whose = first.pass_on(veth, Protocol::kTcp, kFlow, frame);
  }
  CHECK(whose == Whose::kLost);
}

TEST_CASE("sharing: a stack that is killed does no harm, and those who live on sweep up" *
          needs_root()) {
  VethPair veth(2);
  REQUIRE(veth.ok);
  Member survivor(veth);  // queue 0
  REQUIRE(survivor.ok);
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    Member victim(veth);
    const bool wired = victim.ok && victim.port->queue_id(0) == 1 &&
                       !victim.steering->add_local(Protocol::kUdp, at("0.0.0.0", 53)) &&
                       !victim.steering->add_port_block(Protocol::kUdp, 40000) &&
                       !victim.steering->set_flow(Protocol::kTcp, kFlow, Owner::kOurs);
    if (write(ready[1], wired ? "y" : "n", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  // Its rules are there still; without its socket the kernel gets what they match.
  REQUIRE(!survivor.steering->add_local(Protocol::kUdp, at("0.0.0.0", 54)));
  const uint64_t before = survivor.steering->counters().undeliverable;
  send_datagrams(veth, 64, 53);
  CHECK(survivor.steering->counters().undeliverable > before);
  CHECK(survivor.receive() == 0);
  // Within a second or two nothing of it is left.
  const auto dead = [&] {
    const uint64_t was = survivor.steering->counters().undeliverable;
    send_datagrams(veth, 64, 40001);
    return survivor.steering->counters().undeliverable == was;
  };
  const Instant deadline = clock_now() + Duration::seconds(10);
  while (!dead() && clock_now() < deadline) usleep(100'000);
  CHECK(dead());
  CHECK(survivor.steering->remove_flow(Protocol::kTcp, kFlow).code == ENOENT);

  Member next(veth, Duration::millis(500));
  REQUIRE_MESSAGE(next.ok, next.error.text);
  CHECK(next.port->queue_id(0) == 1);
  send_datagrams(veth, 64, 53);
  CHECK(next.receive() == 0);
  CHECK(next.steering->remove_flow(Protocol::kTcp, kFlow).code == ENOENT);
  CHECK(next.steering->remove_port_block(Protocol::kUdp, 40000).code == ENOENT);
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("sharing: many begin at once, and all of them find each other" * needs_root()) {
  constexpr int kMany = 6;
  VethPair veth(kMany);
  REQUIRE(veth.ok);
  int results[2], hold[2];
  REQUIRE(pipe(results) == 0);
  REQUIRE(pipe(hold) == 0);
  pid_t children[kMany];
  for (pid_t& child : children) {
    child = fork();
    if (child != 0) continue;
    close(hold[1]);
    Member member(veth, Duration::millis(500));
    char text = member.ok ? char('a' + member.port->queue_id(0)) : '-';
    if (!member.ok) std::fprintf(stderr, "%s\n", member.error.text);
    if (write(results[1], &text, 1) != 1) _exit(1);
    // Until the test is over: whoever goes makes room.
    if (read(hold[0], &text, 1) != 0) _exit(1);
    _exit(0);
  }
  std::string queues;
  for (int i = 0; i < kMany; ++i) {
    char one = '?';
    REQUIRE(read(results[0], &one, 1) == 1);
    queues += one;
  }
  std::sort(queues.begin(), queues.end());
  CHECK(queues == "abcdef");
  for (int fd : {hold[0], hold[1], results[0], results[1]}) close(fd);
  for (pid_t child : children) waitpid(child, nullptr, 0);
}
