// SPDX-License-Identifier: MIT
// The simulator: whole stacks against each other on a bad network, one run per seed.
// --stalls lists the seeds in which no application got on for so long.
//   sim --seeds N --from S [--jobs J] [--verify] [--verbose] [--profile NAME] [--failures-shown N]
//       [--until-failure]
// Prints the seeds that fail with their parameters, and as its last line how many passed and
// failed. Each job is a process of its own, so that a crash costs one seed and not the run.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>

#include "sim/world.h"

using namespace millrace;
using namespace millrace::sim;

namespace {

struct Arguments {
  uint64_t seeds = 100, from = 1, jobs = 1, failures_shown = 10;
  uint64_t stalls = 0;  // seconds; 0: do not list them
  bool verify = false, verbose = false;
  bool until_failure = false;
  std::string_view profile;  // only seeds of this one
};

// What the jobs share: memory mapped before they are forked.
struct Shared {
  std::atomic<uint64_t> next{0}, passed{0}, failed{0}, skipped{0}, frames{0}, virtual_ms{0};
  std::atomic<uint64_t> current[64];  // the seed that a job is at, plus one; 0: none
};

[[noreturn]] void usage(const char* problem, std::string_view value) {
  std::fprintf(stderr, "sim: %s '%.*s'\n", problem, int(value.size()), value.data());
  std::fprintf(
      stderr,
      "usage: sim [--seeds N] [--from S] [--jobs J (1-64)] [--verify] [--verbose]\n"
      "           [--profile NAME] [--failures-shown N] [--stalls SECONDS] [--until-failure]\n");
  std::exit(2);
}

Arguments parse_arguments(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--verify") {
      a.verify = true;
    } else if (name == "--verbose") {
      a.verbose = true;
    } else if (name == "--until-failure") {
      a.until_failure = true;
    } else {
      uint64_t* number = name == "--seeds"            ? &a.seeds
                         : name == "--from"           ? &a.from
                         : name == "--jobs"           ? &a.jobs
                         : name == "--stalls"         ? &a.stalls
                         : name == "--failures-shown" ? &a.failures_shown
                                                      : nullptr;
      if (!number && name != "--profile") usage("unknown option", name);
      if (++i == argc) usage("no value for", name);
      const std::string_view value = argv[i];
      if (!number) {
        a.profile = value;
        continue;
      }
      const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), *number);
      if (code != std::errc() || end != value.data() + value.size()) usage("not a number:", value);
    }
  }
  if (a.jobs < 1 || a.jobs > 64) usage("--jobs must be 1 to 64, not", std::to_string(a.jobs));
  return a;
}

void report(const Arguments& a, Shared& shared, uint64_t seed, const std::string& failure) {
  const uint64_t before = shared.failed.fetch_add(1);
  if (before >= a.failures_shown) return;
  const Scenario scenario = draw_scenario(seed);
  std::printf("FAILED seed %llu: %s\n%s", (unsigned long long)seed, failure.c_str(),
              before < 3 ? describe(scenario).c_str() : "");
  std::fflush(stdout);
}

void run_seed(const Arguments& a, Shared& shared, uint64_t seed) {
  const Scenario scenario = draw_scenario(seed);
  if (!a.profile.empty() && a.profile != scenario.profile) {
    ++shared.skipped;
    return;
  }
  if (a.verbose) std::printf("seed %llu\n%s", (unsigned long long)seed, describe(scenario).c_str());
  Outcome outcome = World(scenario, a.verbose).run();
  if (a.verify && outcome.failure.empty()) {
    const Outcome again = World(scenario, false).run();
    if (again.hash != outcome.hash) outcome.failure = "the second run of the seed differs";
  }
  if (a.stalls && outcome.longest_stall >= Duration::seconds(int64_t(a.stalls))) {
    std::printf("seed %llu (%s) stalled for %.1f s\n", (unsigned long long)seed, scenario.profile,
                double(outcome.longest_stall.ns) / 1e9);
  }
  shared.frames += outcome.frames;
  shared.virtual_ms += uint64_t(outcome.virtual_time.millis());
  if (a.verbose) {
    std::printf("hash %016llx, %llu frames, %.3f s, %llu bytes retransmitted\n",
                (unsigned long long)outcome.hash, (unsigned long long)outcome.frames,
                double(outcome.virtual_time.ns) / 1e9,
                (unsigned long long)outcome.retransmitted_bytes);
  }
  if (outcome.failure.empty()) {
    ++shared.passed;
  } else {
    report(a, shared, seed, outcome.failure);
  }
}

void run_job(const Arguments& a, Shared& shared, uint32_t job) {
  while (true) {
    const uint64_t n = shared.next.fetch_add(1);
    if (n >= a.seeds || (a.until_failure && shared.failed > 0)) return;
    shared.current[job] = a.from + n + 1;
    run_seed(a, shared, a.from + n);
    shared.current[job] = 0;
  }
}

pid_t start_job(const Arguments& a, Shared& shared, uint32_t job) {
  std::fflush(stdout);
  const pid_t pid = fork();
  if (pid < 0) {
    std::perror("sim: fork");
    std::exit(1);
  }
  if (pid > 0) return pid;
  run_job(a, shared, job);
  std::fflush(stdout);
  _exit(0);
}

// Runs the jobs; one that crashes is counted with its seed and started again.
void run_all(const Arguments& a, Shared& shared) {
  pid_t pids[64] = {};
  uint64_t running = 0;
  for (uint32_t job = 0; job < a.jobs; ++job, ++running) pids[job] = start_job(a, shared, job);
  while (running > 0) {
    int status = 0;
    const pid_t pid = wait(&status);
    if (pid < 0) break;
    uint32_t job = 0;
    while (job < a.jobs && pids[job] != pid) ++job;
    if (job == a.jobs) continue;
    --running;
    const uint64_t seed = shared.current[job].exchange(0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && seed == 0) continue;
    report(a, shared, seed - 1,
           WIFSIGNALED(status) ? std::string("crashed: ") + strsignal(WTERMSIG(status))
                               : "ended with code " + std::to_string(WEXITSTATUS(status)));
    if (a.until_failure) continue;
    pids[job] = start_job(a, shared, job);
    ++running;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments a = parse_arguments(argc, argv);
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("sim: mmap");
    return 1;
  }
  Shared& shared = *new (memory) Shared();
  const auto begin = std::chrono::steady_clock::now();
  run_all(a, shared);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%llu frames, %.0f s of virtual time in %.1f s\n",
              (unsigned long long)shared.frames.load(), double(shared.virtual_ms.load()) / 1000,
              seconds);
  std::printf("%llu passed, %llu failed\n", (unsigned long long)shared.passed.load(),
              (unsigned long long)shared.failed.load());
  return shared.failed ? 1 : 0;
}
