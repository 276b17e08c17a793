// SPDX-License-Identifier: MIT
#include "base/timer_wheel.h"

#include <doctest/doctest.h>

#include <memory>
#include <random>
#include <vector>

using namespace millrace;

namespace {
constexpr int64_t kTick = 1 << 18;

struct Probe {
  Timer timer{[](Timer&, void* owner, Instant now) {
                auto* self = static_cast<Probe*>(owner);
                ++self->fired;
                self->at = now;
              },
              this};
  int fired = 0;
  Instant at{};
  Instant deadline{};
};
}  // namespace

TEST_CASE("a timer fires once, not early and at most a tick late") {
  for (int64_t start : {int64_t(0), int64_t(63) * kTick, int64_t(1023) * kTick,
                        (int64_t(1) << 28) * kTick - kTick, (int64_t(1) << 30) * kTick - kTick}) {
    std::mt19937_64 random(7);
    TimerWheel wheel(Instant{start});
    std::vector<std::unique_ptr<Probe>> probes;
    for (int i = 0; i < 5000; ++i) {
      auto probe = std::make_unique<Probe>();
      const int bits = int(random() % 40) + 10;
      probe->deadline = {start + int64_t(random() % (uint64_t(1) << bits))};
      wheel.arm(probe->timer, probe->deadline);
      probes.push_back(std::move(probe));
    }
    Instant now{start};
    while (wheel.armed_count() > 0) {
      const Instant next = wheel.next_deadline();
      REQUIRE(!next.is_never());
      now = std::max(next, now + Duration{1});
      wheel.advance(now);
    }
    for (auto& probe : probes) {
      CHECK(probe->fired == 1);
      CHECK(probe->at >= probe->deadline);
      CHECK((probe->at - probe->deadline).ns <= 2 * kTick);
    }
  }
}

TEST_CASE("a cancelled timer does not fire and a re-armed one fires at the new time") {
  TimerWheel wheel(Instant{0});
  Probe a, b;
  wheel.arm(a.timer, Instant{} + Duration::millis(5));
  wheel.arm(b.timer, Instant{} + Duration::millis(5));
  wheel.arm(b.timer, Instant{} + Duration::seconds(5));
  wheel.cancel(a.timer);
  wheel.advance(Instant{} + Duration::seconds(4));
  CHECK(a.fired == 0);
  CHECK(b.fired == 0);
  wheel.advance(Instant{} + Duration::seconds(6));
  CHECK(b.fired == 1);
  CHECK(wheel.next_deadline().is_never());
}

TEST_CASE("a callback may cancel a timer of its own slot and arm itself again") {
  struct Pair {
    TimerWheel wheel{Instant{0}};
    int fired = 0;
    Timer first{[](Timer& t, void* owner, Instant now) {
                  auto* self = static_cast<Pair*>(owner);
                  ++self->fired;
                  self->wheel.cancel(self->second);
                  if (self->fired < 3) self->wheel.arm(t, now);
                },
                this};
    Timer second{[](Timer&, void* owner, Instant) { static_cast<Pair*>(owner)->fired += 100; },
                 this};
  } pair;
  pair.wheel.arm(pair.first, Instant{kTick});
  pair.wheel.arm(pair.second, Instant{kTick});
  for (int i = 1; i < 10; ++i) pair.wheel.advance(Instant{i * kTick});
  CHECK(pair.fired == 3);
}

TEST_CASE("a deadline beyond the horizon still fires on time") {
  TimerWheel wheel(Instant{0});
  Probe probe;
  probe.deadline = Instant{} + Duration::seconds(30 * 24 * 3600);
  wheel.arm(probe.timer, probe.deadline);
  Instant now{};
  while (probe.fired == 0) {
    now = wheel.next_deadline();
    wheel.advance(now);
  }
  CHECK((now - probe.deadline).ns >= 0);
  CHECK((now - probe.deadline).ns <= 2 * kTick);
}

TEST_CASE("timers armed, moved and cancelled at random, from callbacks too, fire as a list says") {
  struct World {
    TimerWheel wheel{Instant{0}, 600};
    std::mt19937_64 random{11};
    std::vector<std::unique_ptr<Probe>> probes;
    std::vector<int64_t> due;  // -1: not armed
    Instant now{};
    int early = 0, late = 0, unexpected = 0;

    void disturb() {
      const size_t i = random() % probes.size();
      Probe& p = *probes[i];
      if (random() % 4 == 0) {
        wheel.cancel(p.timer);
        due[i] = -1;
      } else {
        due[i] = now.ns + int64_t(random() % (uint64_t(1) << (12 + random() % 24)));
        wheel.arm(p.timer, Instant{due[i]});
      }
    }
    void fired(size_t i, Instant at) {
      if (due[i] < 0) ++unexpected;
      if (at.ns < due[i]) ++early;
      if (at.ns - due[i] > 3 * kTick) ++late;
      due[i] = -1;
      for (uint64_t n = random() % 3; n > 0; --n) disturb();
    }
  };
  struct Owner {
    World* world;
    size_t index;
  };
  World world;
  std::vector<std::unique_ptr<Owner>> owners;
  for (size_t i = 0; i < 600; ++i) {
    world.probes.push_back(std::make_unique<Probe>());
    world.due.push_back(-1);
    owners.push_back(std::make_unique<Owner>(Owner{&world, i}));
    std::destroy_at(&world.probes[i]->timer);
    std::construct_at(
        &world.probes[i]->timer,
        [](Timer&, void* owner, Instant at) {
          auto* o = static_cast<Owner*>(owner);
          o->world->fired(o->index, at);
        },
        owners.back().get());
  }
  for (int step = 0; step < 20'000; ++step) {
    for (int n = 0; n < 5; ++n) world.disturb();
    world.now = world.now + Duration{int64_t(world.random() % (2 * kTick))};
    world.wheel.advance(world.now);
  }
  CHECK(world.early == 0);
  CHECK(world.late == 0);
  CHECK(world.unexpected == 0);
  size_t armed = 0;
  for (size_t i = 0; i < world.due.size(); ++i) {
    armed += world.due[i] >= 0 ? 1 : 0;
    CHECK(world.probes[i]->timer.armed() == (world.due[i] >= 0));
  }
  CHECK(world.wheel.armed_count() == armed);
  for (auto& probe : world.probes) world.wheel.cancel(probe->timer);
  CHECK(world.wheel.next_deadline().is_never());
}
