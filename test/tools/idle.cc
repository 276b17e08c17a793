// SPDX-License-Identifier: MIT
// Does nothing, on purpose, for ever: what a guest runs at idle priority whose clock counts
// instructions (tools/guest). An emulated processor that halts has to wait for another thread of
// the emulator each time, which takes long where many want to run; one that runs through these
// instructions, each of which the emulator translates to nothing, comes to its next timer by
// itself, at hardly any cost.
int main() {
  for (;;) {
    __asm__ volatile(
        ".rept 128\n"
        "nop\n"
        ".endr\n");
  }
}
