// SPDX-License-Identifier: MIT
// Runs the exchanges of one family against whatever stands behind millrace_testing.h, the stack or
// the kernel, and prints one line for each. `exchanges 4|6 [TEXT...]`: only those whose names
// contain one of the texts. tools/differential.mjs compares.
#include <sched.h>

#include <cstdio>
#include <cstring>

#include "differential/exchanges.h"

using namespace millrace::differential;

int main(int argc, char** argv) {
  const bool v6 = argc > 1 && std::strcmp(argv[1], "6") == 0;
  if (argc < 2 || (!v6 && std::strcmp(argv[1], "4") != 0)) {
    std::fprintf(stderr, "usage: %s 4|6 [TEXT...]\n", argv[0]);
    return 2;
  }
  // The kernel's time is real, and a busy machine would be measured instead.
  const sched_param first{.sched_priority = 1};
  (void)sched_setscheduler(0, SCHED_FIFO, &first);
  mrt_options options;
  mrt_options_init(&options);
  mrt_stack* stack = mrt_create(&options);
  if (!stack || mrt_address_add(stack, v6 ? "2001:db8::1/64" : "192.0.2.1/16") != 0) {
    std::fprintf(stderr, "exchanges: no stack\n");
    return 1;
  }
  uint16_t number = 0;
  for (size_t place = 0; place < std::size(kPlaceNames); ++place) {
    for (const Probe& probe : probes()) {
      if (!probe.fits(Place(place), v6)) continue;
      ++number;
      const std::string name =
          std::string(v6 ? "v6 " : "") + kPlaceNames[place] + ": " + probe.name;
      bool wanted = argc == 2;
      for (int i = 2; i < argc; ++i) wanted = wanted || name.find(argv[i]) != std::string::npos;
      if (!wanted) continue;
      Exchange exchange(stack, number, Place(place), probe, v6);
      std::printf("%s%s\n", name.c_str(), exchange.run().c_str());
      std::fflush(stdout);
    }
  }
  mrt_destroy(stack);
  return 0;
}
