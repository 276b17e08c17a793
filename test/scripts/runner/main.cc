// SPDX-License-Identifier: MIT
// scripts [--verbose] FILE|FOLDER...: runs every *.mrs file, each against a stack of its own.
// Prints a line for each and "N passed, N failed" at the end; the exit code is 1 when one failed.
#include <algorithm>
#include <cstdio>
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

enum class Outcome { kPassed, kFailed, kLeftOut };

// Against the kernel, in real time, only what takes less.
constexpr int64_t kKernelMostNs = 4'000'000'000;

Outcome run_file(const std::string& path, bool verbose, bool kernel) {
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
  if (kernel && machine.beyond_kernel(kKernelMostNs)) return Outcome::kLeftOut;
  if (machine.run(problem)) {
    std::printf("ok %s\n", path.c_str());
    return Outcome::kPassed;
  }
  std::printf("not ok %s\n", problem.c_str());
  return Outcome::kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  bool verbose = false;
#ifdef MILLRACE_SCRIPTS_KERNEL
  constexpr bool kKernel = true;
#else
  constexpr bool kKernel = false;
#endif
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--verbose") == 0) {
      verbose = true;
    } else {
      paths.emplace_back(argv[i]);
    }
  }
  int passed = 0, failed = 0;
  for (const std::string& path : files_of(paths)) {
    const Outcome outcome = run_file(path, verbose, kKernel);
    if (outcome == Outcome::kPassed) ++passed;
    if (outcome == Outcome::kFailed) ++failed;
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
