// SPDX-License-Identifier: MIT
// What one packet costs the stack, by the number of connections that it holds, and what one ACK
// costs by the length of a send queue full of holes. One thread, virtual time, hand-made packets;
// the CPU time and, where the machine counts them, the instructions of the stack alone are
// measured.
//   scale [--rounds N]
// Packets come as from a port, in bursts of up to 64, and the stack's user works as Stack::turn()
// does: what a burst brought is read, the answers are written and pushed in the next turn.
//
// "busy": all connections take turns, so that at 100,000 nearly every one is cold in the caches.
// "lines": what of that nobody can avoid: as much memory as those connections' segments touch, in
// the same order and asked for ahead in the same way, by a loop that does nothing else. So much the
// last connection would cost more than the first if the protocol itself cost nothing.
// "idle": ten are busy and the rest only there, with their timers; this shows the algorithms.
// "sacks": an ACK that SACKs one segment more, by the bytes in flight of which every second is
// missing; "holes": one that says again what is known.
//
// The machine is not ours alone: the sizes take turns in short rounds, each is compared with the
// smallest one of the same round, and the median over the rounds counts.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>

#include "exchanges.h"
#include "holes.h"

using namespace millrace;
using namespace millrace::scale;

namespace {

// One thing measured at one size.
struct Subject {
  const char* what;
  uint32_t size;
  std::function<uint32_t(Meter&)> round;  // returns the packets that it was
  std::vector<double> ns{}, instructions{};
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double median_ratio(const std::vector<double>& values, const std::vector<double>& base) {
  std::vector<double> ratios;
  for (size_t i = 0; i < values.size(); ++i) ratios.push_back(values[i] / base[i]);
  return median(ratios);
}

void print(const Subject& s, const Subject& base) {
  std::printf("%-6s %9u  %7.0f ns (%.2f x)", s.what, s.size, median(s.ns),
              median_ratio(s.ns, base.ns));
  if (median(base.instructions) > 0) {  // not every machine lets programs count them
    std::printf("  %7.0f instructions (%.2f x)", median(s.instructions),
                median_ratio(s.instructions, base.instructions));
  }
  std::printf("\n");
}

// The first of those that measure the same thing is what the others are compared with.
void measure(std::vector<Subject> subjects, uint32_t rounds) {
  Meter meter;
  for (uint32_t n = 0; n < rounds; ++n) {
    for (Subject& s : subjects) {
      meter.reset();
      const uint32_t packets = s.round(meter);
      s.ns.push_back(double(meter.ns()) / packets);
      s.instructions.push_back(double(meter.instructions()) / packets);
    }
  }
  const auto base_of = [&](const Subject& s) -> const Subject& {
    return *std::find_if(subjects.begin(), subjects.end(), [&](const Subject& candidate) {
      return std::string_view(candidate.what) == s.what;
    });
  };
  for (const Subject& s : subjects) print(s, base_of(s));
  std::fflush(stdout);
}

constexpr uint32_t kSettleExchanges = 6;  // of each connection, before it is measured
constexpr uint32_t kWarmPackets = 8'000;  // of a round: the caches hold another size's
constexpr uint32_t kPackets = 32'000;

void measure_connections(uint32_t rounds) {
  Meter unused;
  Random order = Random::from_seed(9);
  std::vector<std::unique_ptr<World>> worlds;
  std::vector<std::unique_ptr<Lines>> lines;
  std::vector<Subject> subjects;
  const auto add = [&](const char* what, uint32_t size, auto run) {
    subjects.push_back({what, size, [run, &unused](Meter& meter) {
                          run(kWarmPackets, unused);
                          return run(kPackets, meter);
                        }});
  };
  for (const uint32_t connections : {10u, 1'000u, 100'000u}) {
    World& w = *worlds.emplace_back(std::make_unique<World>(connections, 16'384));
    Lines& l = *lines.emplace_back(std::make_unique<Lines>(connections));
    exchange(w, connections, 2 * kSettleExchanges * connections, order, unused);
    add("busy", connections, [&w, &order, connections](uint32_t packets, Meter& meter) {
      return exchange(w, connections, packets, order, meter);
    });
    add("lines", connections,
        [&l, &order](uint32_t packets, Meter& meter) { return l.touch(packets, order, meter); });
    add("idle", connections, [&w, &order](uint32_t packets, Meter& meter) {
      return exchange(w, 10, packets, order, meter);
    });
  }
  measure(std::move(subjects), rounds);
}

constexpr uint32_t kAcks = 3'400;
constexpr uint32_t kRepetitions = 6;

void measure_holes(uint32_t rounds) {
  std::vector<std::unique_ptr<Holes>> queues;
  std::vector<Subject> subjects;
  for (const uint32_t bytes : {100'000u, 1'000'000u, 10'000'000u}) {
    Holes& holes = *queues.emplace_back(std::make_unique<Holes>(bytes));
    subjects.push_back({"sacks", bytes, [&holes](Meter& meter) {
                          uint32_t acks = 0;  // blocks are new only once
                          while (acks < kAcks) acks += holes.first_pass(meter);
                          return acks;
                        }});
    subjects.push_back({"holes", bytes, [&holes](Meter& meter) {
                          uint32_t acks = 0;
                          while (acks < kRepetitions * kAcks) acks += holes.pass(meter);
                          return acks;
                        }});
  }
  measure(std::move(subjects), rounds);
}

}  // namespace

int main(int argc, char** argv) {
  uint32_t rounds = 21;
  if (argc == 3 && std::string_view(argv[1]) == "--rounds") rounds = uint32_t(std::atoi(argv[2]));
  if (rounds == 0 || argc == 2 || argc > 3) {
    std::fprintf(stderr, "usage: scale [--rounds N]\n");
    return 2;
  }
  std::printf("each: the cost of a packet, and how many times that of the smallest size it is\n");
  measure_connections(rounds);
  measure_holes(rounds);
  return 0;
}
