// SPDX-License-Identifier: MIT
#include "stack/driver.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/clock_os.h"
#include "port/loopback/loopback_port.h"
#include "stack/script_side.h"

using namespace millrace;

namespace {

const wire::IpAddress kLocal = wire::IpAddress::v4(0x7f000001);

struct Bed {
  explicit Bed(Duration guardian_after) {
    StackConfig config;
    config.frames = 2048;
    config.frame_bytes = 2048;
    config.shared.sockets = 64;
    config.tcp.connections_max = 64;
    auto stack = std::make_unique<Stack>(config, Random::from_seed(1), monotonic_now());
    net::LinkConfig link;
    link.mtu_bytes = 1500;
    stack->add_port(std::make_unique<LoopbackPort>(stack->pool(), 1500, 512), link, true);
    script = std::make_unique<ScriptSide>(*stack);
    driver = std::make_unique<Driver>(std::move(stack), DriverConfig{guardian_after, 256});
  }
  std::pair<uint32_t, uint32_t> connect() {
    const wire::Endpoint to{kLocal, 80};
    const auto opened = driver->with_stack([&](Stack& stack, Instant now) {
      MR_ASSERT(stack.listen(now, to, false, 16).ok());
      return stack.connect(now, {wire::IpAddress::v4(0), 0}, to);
    });
    REQUIRE(opened.ok());
    driver->turn();
    uint32_t server = UINT32_MAX;
    for (const ScriptEvent& event : script->events()) {
      if (event.type == Event::kAccept) server = event.args[0];
    }
    REQUIRE(server != UINT32_MAX);
    return {opened->slot, server};
  }
  // Turns until nothing is left to do for a second.
  void settle() {
    const Instant end = monotonic_now() + Duration::seconds(5);
    do {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      driver->turn();
      REQUIRE(monotonic_now() < end);
    } while (driver->due() || driver->next_deadline() - monotonic_now() < Duration::seconds(1));
  }
  std::vector<ScriptEvent> events_within(Duration at_most) {
    std::vector<ScriptEvent> events;
    const Instant end = monotonic_now() + at_most;
    while (events.empty() && monotonic_now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      events = script->events();
    }
    return events;
  }
  std::unique_ptr<ScriptSide> script;
  std::unique_ptr<Driver> driver;
};

uint32_t guardian_turns(Bed& bed) {
  return uint32_t(bed.driver->with_stack([](Stack& stack, Instant) {
    uint64_t turns = 0;
    stack.each_counter([&](const char*, const char* name, const char*, uint64_t value) {
      if (std::string_view(name) == "guardian_turns") turns = value;
    });
    return turns;
  }));
}

}  // namespace

TEST_CASE("the guardian runs turns while the loop is busy, and bytes written before go out") {
  Bed bed(Duration::millis(2));
  auto [client, server] = bed.connect();
  bed.script->read_on(server);
  bed.driver->loop_runs();
  bed.script->write(client, "before the long computation");
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // JavaScript computes
  CHECK(guardian_turns(bed) > 0);
  const auto events = bed.script->events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].bytes == "before the long computation");
}

TEST_CASE("work that lies there although the loop waits: it is at something else, or is woken") {
  Bed bed(Duration::millis(2));
  auto [client, server] = bed.connect();
  bed.script->read_on(server);
  bed.settle();
  const uint32_t before = guardian_turns(bed);
  bed.driver->loop_waits();
  pollfd ports{bed.driver->poll_fd(), POLLIN, 0};
  CHECK(poll(&ports, 1, 0) == 0);
  bed.script->write(client, "in a callback that we know nothing of");
  CHECK(poll(&ports, 1, 2000) == 1);
  const auto events = bed.events_within(Duration::millis(2000));
  REQUIRE(events.size() == 1);
  CHECK(events[0].bytes == "in a callback that we know nothing of");
  CHECK(guardian_turns(bed) > before);
  bed.driver->loop_runs();
  CHECK(poll(&ports, 1, 0) == 0);
}

TEST_CASE("the guardian does nothing while the loop waits, and sleeps for good after a while") {
  Bed bed(Duration::millis(1));
  bed.connect();
  bed.settle();
  const uint32_t before = guardian_turns(bed);
  bed.driver->loop_waits();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(guardian_turns(bed) == before);
  // Woken again when the loop runs and then stays busy.
  bed.driver->loop_runs();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(guardian_turns(bed) > before);
}

TEST_CASE(
    "the guardian is there for the first connection too, and when the loop stays where it "
    "listened") {
  Bed bed(Duration::millis(1));
  bed.driver->loop_runs();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(guardian_turns(bed) > 0);  // the loop is late, whatever there is
  bed.driver->loop_waits();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // asleep
  bed.driver->loop_runs();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const uint32_t asleep = guardian_turns(bed);
  bed.driver->with_stack([](Stack& stack, Instant now) {
    MR_ASSERT(stack.listen(now, {kLocal, 80}, false, 16).ok());
    return 0;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  CHECK(guardian_turns(bed) > asleep);
}

TEST_CASE("without a guardian nothing runs behind JavaScript's back") {
  Bed bed(Duration{});
  bed.connect();
  bed.driver->loop_runs();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CHECK(guardian_turns(bed) == 0);
}

TEST_CASE("both threads at once: every byte arrives once and in order") {
  Bed bed(Duration::millis(1));
  auto [client, server] = bed.connect();
  bed.script->read_on(server);
  std::string sent, got;
  for (int i = 0; got.size() < 2'000'000; ++i) {
    if (sent.size() < 2'000'000) {
      const std::string piece(777, char('a' + i % 26));
      const uint32_t* line = bed.driver->stack().shared().socket(client);
      const uint32_t unacknowledged =
          uint32_t(sent.size()) -
          std::atomic_ref(const_cast<uint32_t&>(line[socket_word::kAcked])).load();
      if (unacknowledged < 60'000) sent += piece.substr(0, bed.script->write(client, piece));
    }
    bed.driver->loop_runs();
    if (i % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(3));  // busy
    bed.driver->turn();
    for (const ScriptEvent& event : bed.script->events()) {
      if (event.type == Event::kData) got += event.bytes;
    }
    if (bed.script->needs_slabs()) {
      bed.driver->with_stack([&](Stack&, Instant) {
        bed.script->supply(8);
        return 0;
      });
    }
    REQUIRE(i < 100'000);
  }
  CHECK(got == sent.substr(0, got.size()));
  CHECK(guardian_turns(bed) > 0);
}

TEST_CASE("settling lets the peer have everything before the end") {
  Bed bed(Duration::millis(1));
  auto [client, server] = bed.connect();
  bed.script->read_on(server);
  bed.script->write(client, "last");
  bed.driver->settle(Duration::seconds(1));
  CHECK_FALSE(bed.driver->stack().has_unsettled());
}
