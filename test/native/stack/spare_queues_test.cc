// SPDX-License-Identifier: MIT
#include "stack/spare_queues.h"

#include <doctest/doctest.h>

#include "support/member.h"

using namespace millrace;
using namespace millrace::test;
using steer::Protocol;

namespace {

constexpr int kDatagrams = 96;

// A member that looks after queues too.
struct Keeper : Member {
  explicit Keeper(VethPair& veth) : Member(veth, Duration::millis(500)) {
    if (!ok) return;
    Inside here(veth.here);
    spare =
        SpareQueues::open(VethPair::kHere, *steering, port->device_queues(), pool.frame_bytes());
  }
  std::unique_ptr<SpareQueues> spare;
};

// Of datagrams to a block of ports, over all queues: how many come to stacks. The rest is the
// kernel's.
int delivered(VethPair& veth, std::initializer_list<Member*> members) {
  send_datagrams(veth, kDatagrams, 40001);
  int sum = 0;
  for (Member* member : members) sum += int(member->receive(50));
  return sum;
}

template <typename Condition>
bool within_seconds(int seconds, Condition&& condition) {
  const Instant deadline = clock_now() + Duration::seconds(seconds);
  while (!condition()) {
    if (clock_now() >= deadline) return false;
    usleep(50'000);
  }
  return true;
}

}  // namespace

TEST_CASE("spare queues: what comes by a queue of nobody's comes to a stack" * needs_root()) {
  VethPair veth(4);
  REQUIRE(veth.ok);
  Member plain(veth);
  REQUIRE(plain.ok);
  REQUIRE(!plain.steering->add_port_block(Protocol::kUdp, 40000));
  CHECK(delivered(veth, {&plain}) < kDatagrams);
  CHECK(!plain.steering->covers_all_queues());
  plain.port.reset();
  plain.steering.reset();

  Keeper first(veth);
  REQUIRE_MESSAGE(first.ok, first.error.text);
  // The kernel may still be letting go of the socket before it: tried again with the next look.
  CHECK(within_seconds(10, [&] { return first.steering->covers_all_queues(); }));
  Keeper second(veth);
  REQUIRE_MESSAGE(second.ok, second.error.text);
  REQUIRE(!second.steering->add_port_block(Protocol::kUdp, 40000));
  CHECK(within_seconds(10, [&] { return second.steering->covers_all_queues(); }));
  CHECK(delivered(veth, {&first, &second}) == kDatagrams);
  CHECK(first.spare->frames() > 0);
  CHECK(first.spare->lost() == 0);
  CHECK(second.spare->frames() == 0);
  CHECK((first.last_flags & Frame::kPassedOn) == 0);

  // A rule by port does not hold there: these are the kernel's, to which whoever comes by the queue
  // of a stack that does not listen goes.
  REQUIRE(!first.steering->add_local(Protocol::kUdp, at("0.0.0.0", 53)));
  REQUIRE(!second.steering->add_local(Protocol::kUdp, at("0.0.0.0", 53)));
  send_datagrams(veth, kDatagrams, 53);
  const uint32_t by_port = first.receive() + second.receive();
  CHECK(by_port > 0);
  CHECK(by_port < kDatagrams);

  // A newcomer gets its queue, and has it to itself; the other one is kept again.
  {
    Member third(veth, Duration::millis(500));
    REQUIRE_MESSAGE(third.ok, third.error.text);
    CHECK(within_seconds(10, [&] {
      return delivered(veth, {&first, &second, &third}) == kDatagrams;
    }));
    CHECK(third.receive(20) == 0);
    Member fourth(veth, Duration::millis(500));
    REQUIRE_MESSAGE(fourth.ok, fourth.error.text);
    uint32_t sum = 0;
    for (const Member* member :
         std::initializer_list<const Member*>{&first, &second, &third, &fourth}) {
      sum += member->port->queue_id(0);
    }
    CHECK(sum == 0 + 1 + 2 + 3);
  }
  CHECK(within_seconds(10, [&] { return delivered(veth, {&first, &second}) == kDatagrams; }));

  // The one that looked after them goes: the next takes over, and the queue that has lost its
  // owner.
  first.spare.reset();
  first.port.reset();
  first.steering.reset();
  CHECK(within_seconds(10, [&] { return delivered(veth, {&second}) == kDatagrams; }));
  CHECK(second.spare->frames() > 0);
}
