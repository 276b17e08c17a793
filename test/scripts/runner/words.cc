// SPDX-License-Identifier: MIT
#include "scripts/runner/words.h"

#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace millrace::scripts {

namespace {

bool parse_when(const std::string& word, When& when) {
  when.kind = word[0] == '+' ? When::kAfter : When::kAt;
  const std::string rest = word.substr(1);
  const size_t dots = rest.find("..");
  const auto from = parse_duration(rest.substr(0, dots));
  const auto to = dots == std::string::npos ? from : parse_duration(rest.substr(dots + 2));
  if (!from || !to) return false;
  when.from_ns = *from;
  when.to_ns = *to;
  return true;
}

bool is_time(const std::string& word) {
  return word.size() > 1 && (word[0] == '+' || word[0] == '@') && std::isdigit(uint8_t(word[1]));
}

struct Reader {
  const std::string& text;
  int64_t i;
  size_t at = 0;
  bool good = true;

  int64_t atom() {
    if (at < text.size() && text[at] == 'i') {
      ++at;
      return i;
    }
    if (at >= text.size() || !std::isdigit(uint8_t(text[at]))) {
      good = false;
      return 0;
    }
    char* end = nullptr;
    const bool hex = text.compare(at, 2, "0x") == 0;
    const int64_t value = std::strtoll(text.c_str() + at, &end, hex ? 16 : 10);
    at = size_t(end - text.c_str());
    return value;
  }
  int64_t product() {
    int64_t value = atom();
    while (good && at < text.size() && text[at] == '*') {
      ++at;
      value *= atom();
    }
    return value;
  }
  int64_t sum() {
    int64_t value = 0;
    char sign = '+';
    if (at < text.size() && text[at] == '-') sign = text[at++];
    while (good) {
      const int64_t next = product();
      value += sign == '+' ? next : -next;
      if (at >= text.size() || (text[at] != '+' && text[at] != '-')) break;
      sign = text[at++];
    }
    return value;
  }
};

}  // namespace

std::optional<int64_t> parse_duration(const std::string& word) {
  char* end = nullptr;
  const double value = std::strtod(word.c_str(), &end);
  const std::string unit = end;
  if (end == word.c_str() || value < 0) return std::nullopt;
  double scale = 1e9;
  if (unit == "ms") {
    scale = 1e6;
  } else if (unit == "us") {
    scale = 1e3;
  } else if (unit == "h") {
    scale = 3600e9;
  } else if (!unit.empty() && unit != "s") {
    return std::nullopt;
  }
  return int64_t(std::llround(value * scale));
}

std::optional<int64_t> parse_number(const std::string& word, int64_t i) {
  Reader reader{word, i};
  const int64_t value = reader.sum();
  if (!reader.good || reader.at != word.size()) return std::nullopt;
  return value;
}

std::optional<std::vector<uint8_t>> parse_hex(const std::string& word) {
  if (word.size() % 2 != 0) return std::nullopt;
  std::vector<uint8_t> bytes;
  for (size_t at = 0; at < word.size(); at += 2) {
    if (!std::isxdigit(uint8_t(word[at])) || !std::isxdigit(uint8_t(word[at + 1])))
      return std::nullopt;
    bytes.push_back(uint8_t(std::strtoul(word.substr(at, 2).c_str(), nullptr, 16)));
  }
  return bytes;
}

std::string format_seconds(int64_t ns) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6f", double(ns) / 1e9);
  return text;
}

std::optional<Script> parse_script(const std::string& path, const std::string& text,
                                   std::string& problem) {
  Script script{path, {}, {}};
  std::istringstream stream(text);
  std::string raw;
  bool linux_stated = false;
  for (int number = 1; std::getline(stream, raw); ++number) {
    if (number == 1 && raw.rfind("# RFC ", 0) != 0) {
      problem = "the first line must name the clause: # RFC 9293 3.10.7.1: ...";
      return std::nullopt;
    }
    linux_stated |= raw.rfind("# Linux: ", 0) == 0;
    const std::string ours = "# Ours only: ";
    if (raw.rfind(ours, 0) == 0) script.ours_only = raw.substr(ours.size());
    Line line{number, raw, {}, {}};
    std::istringstream words(raw.substr(0, raw.find('#')));
    for (std::string word; words >> word;) line.words.push_back(word);
    if (line.words.empty()) continue;
    if (is_time(line.words[0])) {
      if (!parse_when(line.words[0], line.when)) {
        problem = "line " + std::to_string(number) + ": not a time: " + line.words[0];
        return std::nullopt;
      }
      line.words.erase(line.words.begin());
    }
    if (line.words.empty()) {
      problem = "line " + std::to_string(number) + ": a time alone; write 'wait'";
      return std::nullopt;
    }
    script.lines.push_back(std::move(line));
  }
  if (!linux_stated) {
    problem = "no line states what Linux does: # Linux: same";
    return std::nullopt;
  }
  return script;
}

}  // namespace millrace::scripts
