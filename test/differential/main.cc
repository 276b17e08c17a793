// SPDX-License-Identifier: MIT
// Runs the exchanges against whatever stands behind millrace_testing.h, the stack or the kernel,
// and prints one line for each. `exchanges [TEXT...]`: only those whose names contain one of the
// texts. tools/differential.mjs compares.
#include <cstdio>

#include "differential/exchanges.h"

using namespace millrace::differential;

int main(int argc, char** argv) {
  mrt_options options;
  mrt_options_init(&options);
  mrt_stack* stack = mrt_create(&options);
  if (!stack || mrt_address_add(stack, "192.0.2.1/24") != 0) {
    std::fprintf(stderr, "exchanges: no stack\n");
    return 1;
  }
  uint16_t number = 0;
  for (size_t place = 0; place < std::size(kPlaceNames); ++place) {
    for (const Probe& probe : kProbes) {
      ++number;
      const std::string name = std::string(kPlaceNames[place]) + ": " + probe.name;
      bool wanted = argc == 1;
      for (int i = 1; i < argc; ++i) wanted = wanted || name.find(argv[i]) != std::string::npos;
      if (!wanted) continue;
      Exchange exchange(stack, number, Place(place), probe);
      std::printf("%s\n", exchange.run().c_str());
      std::fflush(stdout);
    }
  }
  mrt_destroy(stack);
  return 0;
}
