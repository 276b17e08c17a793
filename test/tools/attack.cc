// SPDX-License-Identifier: MIT
// The rows of the attack suite, one per run:
//
//   attack <row> <interface> <mill-mac> <own-ipv4> <mill-ipv4> <own-ipv6> <mill-ipv6> [scale
//   [seed]] attack list
//
// Prints a line of JSON: what was sent and what came of it. See attack.test.ts for what must.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

#include "attack.h"

namespace attack {

Peer::Peer(Wire& wire, const Path& p, uint16_t s, uint16_t d) : Peer(wire, p, s, d, Settings{}) {}

Peer::Peer(Wire& wire, const Path& p, uint16_t s, uint16_t d, Settings how)
    : settings(std::move(how)), path(p), source(s), destination(d), wire_(wire) {
  wire_.peers_[source] = this;
}

Peer::~Peer() {
  if (connected) reset();
  wire_.peers_.erase(source);
}

Tcp Peer::next(uint8_t flags) const {
  Tcp tcp;
  tcp.source = source;
  tcp.destination = destination;
  tcp.seq = snd_nxt;
  tcp.ack = rcv_nxt;
  tcp.flags = flags;
  tcp.window = settings.window;
  return tcp;
}

void Peer::segment(const Tcp& tcp) {
  wire_.send(tcp_packet(path, tcp));
}

bool Peer::open(uint32_t ms) {
  snd_nxt = settings.isn;
  Tcp syn = next(kSyn);
  syn.ack = 0;
  syn.options = settings.syn_options;
  segment(syn);
  ++snd_nxt;
  wire_.pump(ms, [this] { return connected || resets > 0; });
  return connected;
}

void Peer::write(std::string_view text) {
  for (size_t at = 0; at < text.size(); at += 1400) {
    Tcp tcp = next(kAck | kPsh);
    tcp.payload = bytes_of(text.substr(at, 1400));
    segment(tcp);
    snd_nxt += static_cast<uint32_t>(tcp.payload.size());
  }
}

bool Peer::wait_for(size_t bytes, uint32_t ms) {
  wire_.pump(ms, [&] { return received.size() >= bytes || resets > 0; });
  return received.size() >= bytes;
}

bool Peer::echoes(std::string_view text, uint32_t ms) {
  const size_t before = received.size();
  write(text);
  if (!wait_for(before + text.size(), ms)) return false;
  return std::string_view(received).substr(before) == text;
}

void Peer::on_segment(const Tcp& tcp) {
  ++segments;
  if (tcp.flags & kRst) {
    ++resets;
    return;
  }
  peer_window = tcp.window;
  if (tcp.flags & kSyn) {
    if (!(tcp.flags & kAck) || connected) return;
    isn_of_server = tcp.seq;
    rcv_nxt = highest = tcp.seq + 1;
    connected = true;
    if (settings.answers) acknowledge();
    return;
  }
  const auto length = static_cast<uint32_t>(tcp.payload.size());
  if (length == 0 && !(tcp.flags & kFin)) {
    ++pure_acks;
    return;
  }
  if (on_data) on_data(tcp);
  if (length > 0) {
    ++data_segments;
    largest = std::max(largest, length);
    smallest = std::min(smallest, length);
  }
  const uint32_t right = tcp.seq + length;
  if (static_cast<int32_t>(right - highest) > 0) highest = right;
  const uint32_t known = rcv_nxt - tcp.seq;
  if (known <= length) {
    received.append(tcp.payload.begin() + known, tcp.payload.end());
    rcv_nxt = right;
    if (tcp.flags & kFin) {
      fin = true;
      ++rcv_nxt;
    }
  }
  if (settings.answers) acknowledge();
}

void Context::say(const char* name, uint64_t value) {
  if (!result.empty()) result += ',';
  result += '"' + std::string(name) + "\":" + std::to_string(value);
}

void Context::say(const char* name, bool value) {
  if (!result.empty()) result += ',';
  result += '"' + std::string(name) + "\":" + (value ? "true" : "false");
}

void Context::paced(const Bytes& ip, uint32_t per_second) {
  if (pace_start == 0) pace_start = now_us();
  wire.send(ip);
  ++sent;
  const uint64_t due = pace_start + uint64_t(++pace_sent) * 1000000 / per_second;
  const uint64_t now = now_us();
  if (due > now + 2000) sleep_us(static_cast<uint32_t>(due - now));
}

}  // namespace attack

int main(int argc, char** argv) {
  using namespace attack;
  constexpr unsigned kSecondsMax = 120;
  const Row* row = nullptr;
  for (const auto* rows : {&kStreamRows, &kStateRows, &kLoadRows, &kPacketRows}) {
    for (const Row& one : *rows) {
      if (argc == 2 && strcmp(argv[1], "list") == 0) printf("%s\n", one.name);
      if (argc >= 8 && strcmp(argv[1], one.name) == 0) row = &one;
    }
  }
  if (argc == 2) return 0;
  if (!row) {
    fprintf(stderr,
            "attack <row> <interface> <mill-mac> <own-ipv4> <mill-ipv4> <own-ipv6> "
            "<mill-ipv6> [scale [seed]]\n");
    return 2;
  }
  alarm(kSecondsMax);
  signal(SIGPIPE, SIG_IGN);
  Wire wire(argv[2], argv[3]);
  Context context{.wire = wire,
                  .v4 = {parse(argv[4]), parse(argv[5])},
                  .v6 = {parse(argv[6]), parse(argv[7])},
                  .random = tools::Random(1),
                  .result = {}};
  if (argc > 8) context.scale = static_cast<uint32_t>(std::clamp(atoi(argv[8]), 1, 100));
  context.random = tools::Random(argc > 9 ? strtoull(argv[9], nullptr, 10) : 1);
  const uint64_t start = now_us();
  row->run(context);
  context.say("sent", uint64_t(context.sent));
  printf("{%s,\"seconds\":%.3f}\n", context.result.c_str(),
         static_cast<double>(now_us() - start) / 1e6);
  return 0;
}
