// SPDX-License-Identifier: MIT
// `replay_TARGET FOLDER`: a fuzz target without libFuzzer, over every input of its corpus once. A
// part of the native tests, so that targets compile and the corpus stays good between long runs.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

// What libFuzzer gives to a mutator; nothing is mutated here.
extern "C" size_t LLVMFuzzerMutate(uint8_t*, size_t size, size_t) {
  return size;
}

int main(int argc, char** argv) {
  std::vector<std::filesystem::path> files;
  std::error_code error;
  if (argc == 2) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[1], error)) {
      files.push_back(entry.path());
    }
  }
  if (files.empty()) {
    std::fprintf(stderr, "usage: %s FOLDER, one with inputs in it\n", argv[0]);
    return 2;
  }
  std::sort(files.begin(), files.end());
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    // Named before it runs: what fails ends the program.
    std::fprintf(stderr, "%s\n", file.filename().c_str());
    // A copy of its exact size, so that a byte too far is seen.
    const std::vector<uint8_t> exact(bytes.begin(), bytes.end());
    LLVMFuzzerTestOneInput(exact.data(), exact.size());
  }
  std::printf("%zu inputs\n", files.size());
  return 0;
}
