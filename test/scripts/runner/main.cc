// SPDX-License-Identifier: MIT
// scripts [--verbose] FILE|FOLDER...: runs every *.mrs file, each against a stack of its own.
// Prints a line for each and "N passed, N failed" at the end; the exit code is 1 when one failed.
// Against the kernel: scripts_kernel [--verbose] [--seconds N] FILE|FOLDER..., real seconds.
// "ours": says why it does not run there; "long": would take more than N seconds (4).
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "scripts/runner/machine.h"

namespace {

namespace fs = std::filesystem;

std::vector<std::string> files_of(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      files.push_back(path);
      continue;
    }
    for (const auto& entry : fs::recursive_directory_iterator(path, error)) {
      if (entry.path().extension() == ".mrs") files.push_back(entry.path().string());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

enum class Outcome { kPassed, kFailed, kOurs, kLong };

struct Settings {
  bool verbose = false;
  bool kernel = false;
  int64_t seconds_most = 4;  // against the kernel
};

// Whether the script is left out of a run against the kernel, and why.
bool left_out(const millrace::scripts::Script& script, millrace::scripts::Machine& machine,
              int64_t seconds_most, Outcome& outcome) {
  int64_t takes_ns = 0;
  const std::string why = machine.beyond_kernel(takes_ns);
  if (!script.ours_only.empty()) {
    std::printf("ours %s: %s\n", script.path.c_str(), script.ours_only.c_str());
    outcome = Outcome::kOurs;
  } else if (!why.empty()) {
    std::printf("not ok %s: %s are not to be had of a kernel: say so, '# Ours only: REASON'\n",
                script.path.c_str(), why.c_str());
    outcome = Outcome::kFailed;
  } else if (takes_ns > seconds_most * 1'000'000'000) {
    std::printf("long %s: %s s\n", script.path.c_str(),
                millrace::scripts::format_seconds(takes_ns).c_str());
    outcome = Outcome::kLong;
  } else {
    return false;
  }
  return true;
}

Outcome run_file(const std::string& path, const Settings& settings) {
  const auto [verbose, kernel, seconds_most] = settings;
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  std::string problem;
  if (verbose) std::printf("%s\n", path.c_str());
  const auto script = millrace::scripts::parse_script(path, text.str(), problem);
  if (!script) {
    std::printf("not ok %s: %s\n", path.c_str(), problem.c_str());
    return Outcome::kFailed;
  }
  millrace::scripts::Machine machine(*script, verbose, kernel);
  Outcome outcome;
  if (kernel && left_out(*script, machine, seconds_most, outcome)) return outcome;
  if (machine.run(problem)) {
    std::printf("ok %s\n", path.c_str());
    return Outcome::kPassed;
  }
  std::printf("not ok %s\n", problem.c_str());
  return Outcome::kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  Settings settings;
#ifdef MILLRACE_SCRIPTS_KERNEL
  settings.kernel = true;
  // A busy machine would be measured instead. It mostly sleeps; without the privilege it is as it
  // is.
  const sched_param first{.sched_priority = 1};
  (void)sched_setscheduler(0, SCHED_FIFO, &first);
#endif
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--verbose") == 0) {
      settings.verbose = true;
    } else if (settings.kernel && std::strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
      settings.seconds_most = std::atoll(argv[++i]);
    } else {
      paths.emplace_back(argv[i]);
    }
  }
  int counts[4] = {};
  for (const std::string& path : files_of(paths)) {
    ++counts[int(run_file(path, settings))];
    std::fflush(stdout);
  }
  const int passed = counts[int(Outcome::kPassed)], failed = counts[int(Outcome::kFailed)];
  const int others = counts[int(Outcome::kOurs)] + counts[int(Outcome::kLong)];
  if (settings.kernel) {
    std::printf("%d ours only, %d long\n", counts[int(Outcome::kOurs)],
                counts[int(Outcome::kLong)]);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed + others > 0 ? 0 : 1;
}
