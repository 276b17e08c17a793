// SPDX-License-Identifier: MIT
// Golden tables of throughput: what each congestion control gets out of paths of different round
// trip times, losses and buffers, kept in test/golden/throughput.txt so that a change shows as a
// difference; one beyond what the order of two packets makes fails. `golden FILE` compares, `golden
// --write FILE` writes the table anew, `golden one KEY=VALUE ...` shows one path with the sender's
// counters. The last line of a comparison is how many rows passed and failed.
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "golden/transfer.h"

using namespace millrace;
using namespace millrace::golden;

namespace {

struct Name {
  tcp::CongestionControl congestion;
  const char* text;
};
constexpr Name kNames[] = {
    {tcp::CongestionControl::kCubic, "cubic"},
    {tcp::CongestionControl::kNewReno, "newreno"},
    {tcp::CongestionControl::kBbr, "bbr"},
};

std::string line_of(const char* name, const Path& p, double buffer) {
  const Figures f = transfer(p);
  char text[200];
  std::snprintf(text, sizeof text,
                "%-8s rtt %3d ms  loss %4.1f %%  buffer %4.2f  %s: share %3.0f %%  again %4.1f %%  "
                "queue %3.0f ms  timeouts %2llu",
                name, int(p.round_trip.millis()), p.loss / 1e4, buffer,
                p.mark_from_bytes ? "ecn " : "drop", f.share * 100, f.resent * 100, f.queue_ms,
                (unsigned long long)f.counters.tcp_timeouts);
  return text;
}

// A hundredth of all packets overtakes what is under way, both ways: an order of 40 packets is
// turned round several times in each round trip, and nothing is lost but at the queue's end.
std::string overtaking(const Name& name) {
  Path p;
  p.congestion = name.congestion;
  p.rate_bits_per_s = 100'000'000;
  p.queue_bytes = 125'000;
  p.early = 10'000;
  return line_of(name.text, p, 1.0) + "  100 Mbit/s, early 1 %";
}

std::vector<std::string> table() {
  std::vector<std::string> lines;
  for (const Name& name : kNames) {
    for (const int rtt_ms : {1, 10, 100}) {
      for (const uint32_t loss : {0u, 1'000u, 10'000u, 50'000u}) {
        for (const double buffer : {0.25, 1.0, 4.0}) {
          Path p;
          p.congestion = name.congestion;
          p.round_trip = Duration::millis(rtt_ms);
          p.loss = loss;
          const double product = double(p.rate_bits_per_s) / 8 * rtt_ms / 1000;
          p.queue_bytes = uint32_t(std::max(product * buffer, 6000.0));
          lines.push_back(line_of(name.text, p, buffer));
          if (loss || buffer != 1.0) continue;
          p.ecn = tcp::Ecn::kOn;
          p.mark_from_bytes = p.queue_bytes / 2;
          lines.push_back(line_of(name.text, p, buffer));
        }
      }
    }
  }
  for (const Name& name : kNames) lines.push_back(overtaking(name));
  return lines;
}

int write(const char* file) {
  std::ofstream out(file);
  out << "# Share of a 20 Mbit/s line that one bulk transfer gets within 20 s, by round trip, "
         "random "
         "loss and\n# buffer of the line (in bandwidth-delay products, at least four packets); "
         "what "
         "was sent again; the\n# mean wait for the line; timeouts. Written by: golden --write "
         "FILE\n";
  for (const std::string& line : table()) out << line << "\n";
  return out.good() ? 0 : 1;
}

struct Row {
  double share = 0, again = 0, queue_ms = 0, timeouts = 0;
};

bool read_row(const std::string& line, Row& row) {
  const size_t at = line.find("share");
  return at != line.npos &&
         std::sscanf(line.c_str() + at, "share %lf %% again %lf %% queue %lf ms timeouts %lf",
                     &row.share, &row.again, &row.queue_ms, &row.timeouts) == 4;
}

// Another order of two packets moves a row a little: that is shown, and is no failure.
bool much_the_same(const std::string& was, const std::string& is) {
  Row a, b;
  if (was.substr(0, was.find("share")) != is.substr(0, is.find("share"))) return false;
  if (!read_row(was, a) || !read_row(is, b)) return false;
  auto near = [](double x, double y, double part, double least) {
    return std::fabs(x - y) <= std::max(part * std::max(x, y), least);
  };
  return near(a.share, b.share, 0.12, 3) && near(a.again, b.again, 0.25, 1) &&
         near(a.queue_ms, b.queue_ms, 0.3, 4) && near(a.timeouts, b.timeouts, 0.5, 5);
}

int compare(const char* file) {
  std::ifstream in(file);
  std::vector<std::string> expected;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] != '#') expected.push_back(line);
  }
  const std::vector<std::string> got = table();
  size_t passed = 0, failed = 0;
  for (size_t i = 0; i < std::max(got.size(), expected.size()); ++i) {
    const std::string was = i < expected.size() ? expected[i] : "(nothing)";
    const std::string is = i < got.size() ? got[i] : "(nothing)";
    if (was == is) {
      ++passed;
      continue;
    }
    const bool small = much_the_same(was, is);
    ++(small ? passed : failed);
    std::printf("- %s\n+ %s%s\n", was.c_str(), is.c_str(), small ? "" : "  <-- FAILED");
  }
  if (failed) std::printf("if that is meant: golden --write %s\n", file);
  std::printf("%zu passed, %zu failed\n", passed, failed);
  return failed ? 1 : 0;
}

bool set(Path& p, std::string_view key, std::string_view value) {
  if (key == "cc") {
    for (const Name& name : kNames) {
      if (value == name.text) return p.congestion = name.congestion, true;
    }
    return false;
  }
  uint64_t n = 0;
  const auto [end, code] = std::from_chars(value.data(), value.data() + value.size(), n);
  if (code != std::errc() || end != value.data() + value.size()) return false;
  if (key == "ecn") return p.ecn = n ? tcp::Ecn::kOn : tcp::Ecn::kPassive, true;
  if (key == "seed") return p.seed = n, true;
  if (key == "mbit") return p.rate_bits_per_s = n * 1'000'000, true;
  if (key == "rtt_us") return p.round_trip = Duration::micros(int64_t(n)), true;
  if (key == "queue") return p.queue_bytes = uint32_t(n), true;
  if (key == "mark_from") return p.mark_from_bytes = uint32_t(n), true;
  if (key == "loss") return p.loss = uint32_t(n), true;
  if (key == "ack_loss") return p.loss_of_acks = uint32_t(n), true;
  if (key == "ack_reorder") return p.reorder_of_acks = uint32_t(n), true;
  if (key == "reorder") return p.reorder = uint32_t(n), true;
  if (key == "reorder_us") return p.reorder_by = Duration::micros(int64_t(n)), true;
  if (key == "early") return p.early = uint32_t(n), true;
  if (key == "duplicate") return p.duplicate = uint32_t(n), true;
  if (key == "seconds") return p.time = Duration::seconds(int64_t(n)), true;
  return false;
}

int one(int argc, char** argv) {
  Path p;
  for (int i = 0; i < argc; ++i) {
    const std::string_view word = argv[i];
    const size_t equals = word.find('=');
    if (equals == word.npos || !set(p, word.substr(0, equals), word.substr(equals + 1))) {
      std::fprintf(
          stderr,
          "golden: '%s'? cc ecn seed mbit rtt_us queue mark_from loss ack_loss ack_reorder reorder "
          "reorder_us early duplicate seconds, each with =NUMBER\n",
          argv[i]);
      return 2;
    }
  }
  const Figures f = transfer(p);
  std::printf("share %.1f %%, %.1f MB, sent again %.2f %%, queue %.2f ms, longest pause %.1f ms\n",
              f.share * 100, double(f.bytes) / 1e6, f.resent * 100, f.queue_ms,
              double(f.longest_pause.ns) / 1e6);
  const tcp::Counters& n = f.counters;
#define X(name, meaning) \
  if (n.name) std::printf("  %-28s %10llu  %s\n", #name, (unsigned long long)n.name, meaning);
  MILLRACE_TCP_COUNTERS(X)
#undef X
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2 && !std::strcmp(argv[1], "one")) return one(argc - 2, argv + 2);
  if (argc == 3 && !std::strcmp(argv[1], "--write")) return write(argv[2]);
  if (argc == 2) return compare(argv[1]);
  std::fprintf(stderr, "usage: golden FILE | golden --write FILE | golden one KEY=VALUE ...\n");
  return 2;
}
