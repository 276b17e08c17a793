// SPDX-License-Identifier: MIT
// Rows about what is inside a segment: urgent pointers, options, sizes, timestamps, windows.
#include <string.h>

#include <algorithm>
#include <set>

#include "attack.h"

namespace attack {

namespace {

std::string text_of(tools::Random& random, size_t length) {
  std::string text(length, ' ');
  for (char& c : text) c = static_cast<char>('a' + random.below(26));
  return text;
}

// URGENT/11 (CVE-2019-12255 and its kin): pointers of 0, beyond, before, in data out of order, and
// again on a new connection from the same port. The stream must be what was sent, byte for byte.
void urgent(Context& c) {
  bool exact = true;
  uint32_t resets = 0;
  for (int round = 0; round < 2; ++round) {
    Peer peer(c.wire, c.v4, 20001, kEcho, {.isn = 1000 + uint32_t(round) * 100000});
    exact &= peer.open();
    for (const uint16_t pointer : {0, 1, 3, 4, 5, 9, 1000, 32768, 65535}) {
      const std::string text = text_of(c.random, 8);
      const size_t before = peer.received.size();
      // The second half first, then the first: both urgent.
      Tcp late = peer.next(kAck | kUrg), early = late;
      late.seq += 4;
      late.payload = bytes_of(text.substr(4));
      early.payload = bytes_of(text.substr(0, 4));
      late.urgent = early.urgent = pointer;
      for (const Tcp& tcp : {late, early, late}) peer.segment(tcp), ++c.sent;
      peer.snd_nxt += 8;
      exact &= peer.wait_for(before + 8) && peer.received.substr(before) == text;
    }
    Tcp empty = peer.next(kAck | kUrg);  // urgent, with nothing in it
    empty.urgent = 65535;
    peer.segment(empty);
    exact &= peer.echoes("afterwards");
    resets += peer.resets;
  }
  c.say("exact", exact);
  c.say("resets", uint64_t(resets));
}

const std::vector<Bytes>& malformed_options() {
  static const std::vector<Bytes> all = {
      {29, 2, 1, 1},   {29, 3, 1, 1},  {29, 4, 0, 0},      {29, 0, 0, 0},
      {19, 2, 1, 1},   {19, 18, 1, 1}, {5, 0, 1, 1},       {5, 1, 1, 1},
      {5, 40, 1, 1},   {5, 3, 1, 1},   {8, 2, 1, 1},       {8, 10, 1, 1},
      {8, 255, 1, 1},  {2, 0, 1, 1},   {2, 1, 1, 1},       {2, 5, 180, 1},
      {3, 0, 1, 1},    {3, 1, 14, 1},  {1, 1, 1, 8},       {1, 1, 1, 2},
      {1, 1, 30, 255}, {30, 2, 1, 1},  {34, 1, 1, 1},      {34, 255, 1, 1},
      {253, 2, 1, 1},  {255, 0, 0, 0}, {0, 255, 255, 255}, {69, 4, 1, 2, 70, 0, 0, 0},
  };
  return all;
}

// CVE-2019-12260, -12258: a malformed option never resets a connection. AMNESIA:33: parsing stops.
void options(Context& c) {
  Peer peer(c.wire, c.v4, 20002, kEcho);
  bool exact = peer.open();
  for (const Bytes& option : malformed_options()) {
    const size_t before = peer.received.size();
    Tcp tcp = peer.next(kAck | kPsh);
    tcp.options = option;
    tcp.payload = bytes_of("option");
    peer.segment(tcp);
    ++c.sent;
    // What carries a malformed option may be dropped or taken; sent again without, it must be
    // taken.
    c.wire.pump(3);
    tcp.options.clear();
    peer.segment(tcp);
    peer.snd_nxt += 6;
    exact &= peer.wait_for(before + 6) && peer.received.substr(before) == "option";
  }
  c.say("exact", exact);
  c.say("resets", uint64_t(peer.resets));
}

// The same in a SYN: it is answered all the same.
void syn_options(Context& c) {
  uint32_t answered = 0, echoed = 0;
  uint16_t port = 20100;
  for (const Bytes& option : malformed_options()) {
    Peer peer(c.wire, c.v4, ++port, kEcho, {.syn_options = option});
    ++c.sent;
    if (!peer.open()) continue;
    ++answered;
    echoed += peer.echoes("hello");
  }
  c.say("syns", uint64_t(malformed_options().size()));
  c.say("answered", uint64_t(answered));
  c.say("echoed", uint64_t(echoed));
}

// MSS 0, 1, 65535, none, ten of them (FreeRTOS+TCP 16523, CVE-2019-11479): clamped, no flood of
// tiny segments.
void mss(Context& c) {
  const std::vector<Bytes> syns = {
      {2, 4, 0, 0}, {2, 4, 0, 1}, {2, 4, 255, 255}, {}, {2, 4, 0, 0, 2, 4, 0, 1, 2, 4, 0, 2, 2, 4,
                                                         0, 3, 2, 4, 0, 4, 2, 4, 0, 5, 2, 4, 0, 6,
                                                         2, 4, 0, 7, 2, 4, 0, 8, 2, 4, 0, 9}};
  constexpr uint32_t kBytes = 20000;
  uint32_t complete = 0, smallest = 0xffff, most = 0, largest_without = 0;
  uint16_t port = 20200;
  for (const Bytes& syn : syns) {
    Peer peer(c.wire, c.v4, ++port, kSource, {.syn_options = syn});
    if (!peer.open()) continue;
    peer.write(std::to_string(kBytes) + "\n");
    ++c.sent;
    c.wire.pump(3000, [&] { return peer.fin; });
    complete += peer.received.size() == kBytes;
    if (syn.empty()) largest_without = peer.largest;
    smallest = std::min(smallest, peer.largest);
    most = std::max(most, peer.data_segments);
  }
  c.say("connections", uint64_t(syns.size()));
  c.say("complete", uint64_t(complete));
  c.say("smallest_segment", uint64_t(smallest));
  c.say("most_segments", uint64_t(most));
  c.say("segment_without_mss", uint64_t(largest_without));
}

// Nucleus 31889: block lengths that are none, blocks that lie anywhere.
void sack_nonsense(Context& c) {
  Peer peer(c.wire, c.v4, 20003, kEcho, {.syn_options = {2, 4, 5, 180, 4, 2, 1, 1}});
  bool exact = peer.open();
  const auto sack = [&](std::vector<uint32_t> edges, uint8_t length) {
    Tcp tcp = peer.next();
    tcp.options = {1, 1, 5, length};
    for (const uint32_t edge : edges) {
      tcp.options.resize(tcp.options.size() + 4);
      put32(&tcp.options[tcp.options.size() - 4], edge);
    }
    peer.segment(tcp);
    ++c.sent;
  };
  for (uint32_t i = 0; i < 200 * c.scale; ++i) {
    const uint32_t una = peer.rcv_nxt;
    sack({una + 100, una + 50}, 10);
    sack({una + 1000000, una + 2000000}, 10);
    sack({una - 5000, una - 1000}, 10);
    sack({0, 0xffffffff}, 10);
    sack({una, una}, 10);
    sack({static_cast<uint32_t>(c.random.next()), static_cast<uint32_t>(c.random.next()),
          static_cast<uint32_t>(c.random.next()), static_cast<uint32_t>(c.random.next())},
         18);
    sack({una + 1, una + 2}, static_cast<uint8_t>(c.random.below(40)));
    if (i % 50 == 0) exact &= peer.echoes(text_of(c.random, 3000));
  }
  exact &= peer.echoes("afterwards");
  c.say("exact", exact);
  c.say("resets", uint64_t(peer.resets));
}

Bytes timestamps(uint32_t value, uint32_t echo) {
  Bytes b(12);
  b[0] = b[1] = 1;
  b[2] = 8;
  b[3] = 10;
  put32(&b[4], value);
  put32(&b[8], echo);
  return b;
}

// A timestamp far ahead, in window and out of it, then the true ones again.
void paws(Context& c) {
  Bytes syn = {2, 4, 5, 180};
  const Bytes stamp = timestamps(1000, 0);
  syn.insert(syn.end(), stamp.begin(), stamp.end());
  Peer peer(c.wire, c.v4, 20004, kEcho, {.syn_options = syn});
  const bool opened = peer.open();
  uint32_t value = 1001;
  const auto send = [&](uint32_t at, uint32_t tsval, std::string_view text) {
    Tcp tcp = peer.next(kAck | kPsh);
    tcp.seq = at;
    tcp.options = timestamps(tsval, 0);
    tcp.payload = bytes_of(text);
    peer.segment(tcp);
    ++c.sent;
  };
  send(peer.snd_nxt, value, "one");
  peer.snd_nxt += 3;
  const bool before = peer.wait_for(3);
  for (uint32_t i = 0; i < 20; ++i) {
    send(peer.snd_nxt + 100000, value + 0x80000000u + i, "out");  // outside of the window
    send(peer.snd_nxt - 100000, value + 0x7fffffffu - i, "old");
    send(peer.snd_nxt, value - 1000000, "old");  // in window, but old: dropped
  }
  send(peer.snd_nxt, ++value, "two");
  peer.snd_nxt += 3;
  const bool after = peer.wait_for(6) && peer.received == "onetwo";
  c.say("opened", opened && before);
  c.say("survives", after);
  c.say("resets", uint64_t(peer.resets));
}

// Windows that open and close by a byte a thousand times a second; window scale 255.
void window(Context& c) {
  Peer::Settings how{.syn_options = {2, 4, 5, 180, 3, 3, 255, 1}, .window = 1000, .answers = false};
  Peer peer(c.wire, c.v4, 20005, kSource, how);
  bool opened = peer.open();
  peer.acknowledge();
  peer.write("300000\n");
  c.wire.pump(50);
  const uint32_t before = peer.segments;
  const uint32_t rounds = 1000 * c.scale;
  for (uint32_t i = 0; i < rounds; ++i) {
    Tcp tcp = peer.next();
    tcp.window = i % 2;
    peer.segment(tcp);
    ++c.sent;
    c.wire.pump(1);
  }
  c.say("opened", opened);
  c.say("rounds", uint64_t(rounds));
  c.say("segments", uint64_t(peer.segments - before));
  peer.settings.answers = true;
  peer.settings.window = 65535;
  peer.acknowledge();
  c.wire.pump(3000, [&] { return peer.fin; });
  c.say("complete", peer.received.size() == 300000);
}

// NUMBER:JACK, CVE-2024-10026: initial sequence numbers and timestamps that nobody can guess.
void isn(Context& c) {
  const uint32_t count = 1000 * c.scale;
  std::set<uint32_t> numbers;
  uint32_t ones[32] = {}, answered = 0, last = 0, stamps_equal = 0, last_stamp = 0;
  Bytes syn = timestamps(1, 0);
  for (uint32_t i = 0; i < count; ++i) {
    Peer peer(c.wire, c.v4, static_cast<uint16_t>(1025 + i % 60000), kEcho,
              {.syn_options = syn, .answers = false});
    c.wire.seen = [&](const Received& r) {
      if (r.protocol == 6 && r.tcp.options.size() >= 12) {
        // Ours come first or behind an MSS and SACK-permitted; look for kind 8.
        for (size_t k = 0; k + 10 <= r.tcp.options.size(); ++k) {
          if (r.tcp.options[k] == 8 && r.tcp.options[k + 1] == 10) {
            const uint32_t stamp = get32(&r.tcp.options[k + 2]);
            stamps_equal += stamp - last_stamp + 50 < 100;
            last_stamp = stamp;
            break;
          }
        }
      }
    };
    ++c.sent;
    if (!peer.open(300)) continue;
    ++answered;
    numbers.insert(peer.isn_of_server);
    const uint32_t step = peer.isn_of_server - last;
    last = peer.isn_of_server;
    for (int bit = 0; bit < 32; ++bit) ones[bit] += step >> bit & 1;
  }
  c.wire.seen = nullptr;
  uint32_t worst = 0;  // how far from one half, in per mille
  for (const uint32_t n : ones) {
    const auto share = static_cast<int>(n * 1000 / std::max(1u, answered));
    worst = std::max(worst, static_cast<uint32_t>(share > 500 ? share - 500 : 500 - share));
  }
  c.say("syns", uint64_t(count));
  c.say("answered", uint64_t(answered));
  c.say("distinct", uint64_t(numbers.size()));
  c.say("worst_bit_per_mille", uint64_t(worst));
  c.say("timestamps_alike", uint64_t(stamps_equal));
}

}  // namespace

const std::vector<Row> kStreamRows = {
    {"urgent", urgent},
    {"options", options},
    {"syn-options", syn_options},
    {"mss", mss},
    {"sack-nonsense", sack_nonsense},
    {"paws", paws},
    {"window", window},
    {"isn", isn},
};

}  // namespace attack
