// SPDX-License-Identifier: MIT
// The script language, first half: lines, words, numbers and times. docs/testing.md describes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::scripts {

// When a statement happens, or its packet is expected, in nanoseconds.
struct When {
  enum Kind { kNow, kAfter, kAt } kind = kNow;
  int64_t from_ns = 0;
  int64_t to_ns = 0;  // == from_ns unless a range was given
};

struct Line {
  int number = 0;
  std::string text;
  When when;
  std::vector<std::string> words;
};

struct Script {
  std::string path;
  std::string ours_only;  // "# Ours only: REASON": why it does not run against the kernel
  std::vector<Line> lines;
};

// Splits a file's text. `problem` says what is wrong with it: a first line that names no RFC, no
// line that states what Linux does, an unreadable time.
std::optional<Script> parse_script(const std::string& path, const std::string& text,
                                   std::string& problem);

// "0.2", "200ms", "30us", "2h": nanoseconds. Plain numbers are seconds.
std::optional<int64_t> parse_duration(const std::string& word);
// "1460", "0x12", "1+i*1000": integers, + - * without spaces, and i, the counter of the innermost
// repetition.
std::optional<int64_t> parse_number(const std::string& word, int64_t i);
std::optional<std::vector<uint8_t>> parse_hex(const std::string& word);
std::string format_seconds(int64_t ns);

}  // namespace millrace::scripts
