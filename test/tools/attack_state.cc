// SPDX-License-Identifier: MIT
// Rows about who may change a connection's state: resets, SYNs and data from somebody who does not
// know the numbers, forged ICMP, TIME-WAIT, crossed acknowledgements.
#include <string.h>

#include <algorithm>
#include <memory>

#include "attack.h"

namespace attack {

namespace {

// CVE-2004-0230: a reset at every 65,536th number, SYNs in the window, data whose ACK is off by
// more than a window: none of them ends the connection, and none of the data is taken.
void blind(Context& c) {
  Peer peer(c.wire, c.v4, 21001, kEcho);
  bool alive = peer.open() && peer.echoes("before");
  const uint32_t answers = peer.segments;
  for (uint32_t at = 1; at < 65536; at += 65536 / (128 * c.scale)) {
    Tcp tcp = peer.next(kRst);
    tcp.seq += at << 16;
    c.paced(tcp_packet(peer.path, tcp), 5000);
  }
  for (uint32_t i = 1; i < 100; ++i) {
    Tcp tcp = peer.next(kRst);
    tcp.seq += i;  // in the window, but not the next
    c.paced(tcp_packet(peer.path, tcp), 5000);
    tcp = peer.next(kSyn);
    tcp.seq += i - 50;
    c.paced(tcp_packet(peer.path, tcp), 5000);
    tcp = peer.next(kAck | kPsh);
    tcp.ack += 1000000 * i;  // acknowledges what was never sent
    tcp.payload = bytes_of("evil");
    c.paced(tcp_packet(peer.path, tcp), 5000);
    tcp.ack = peer.rcv_nxt - 20000000;
    c.paced(tcp_packet(peer.path, tcp), 5000);
  }
  c.wire.pump(50);
  const uint32_t challenges = peer.segments - answers;
  alive &= peer.echoes("after");
  c.say("alive", alive);
  c.say("exact", peer.received == "beforeafter");
  c.say("answers", uint64_t(challenges));
  // The exact number does end it.
  peer.reset();
  c.wire.pump(20);
  Tcp probe = peer.next(kAck | kPsh);
  probe.payload = bytes_of("x");
  peer.segment(probe);
  c.wire.pump(200, [&] { return peer.resets > 0; });
  c.say("exact_reset_works", peer.resets > 0);
  peer.connected = false;
}

// CVE-2016-5696: what others provoke must not change what a victim gets. 500 resets in the windows
// of nine connections within a second; then one for the victim, which gets its challenge ACK.
void challenge(Context& c) {
  std::vector<std::unique_ptr<Peer>> peers;
  bool opened = true;
  for (uint16_t i = 0; i < 10; ++i) {
    peers.push_back(std::make_unique<Peer>(c.wire, c.v4, static_cast<uint16_t>(21010 + i), kEcho));
    opened &= peers.back()->open();
  }
  c.wire.pump(20);
  std::vector<uint32_t> before;
  for (const auto& peer : peers) before.push_back(peer->pure_acks);
  for (uint32_t i = 0; i < 500; ++i) {
    Peer& peer = *peers[1 + i % 9];
    Tcp tcp = peer.next(kRst);
    tcp.seq += 10 + i;
    c.paced(tcp_packet(peer.path, tcp), 800);
  }
  Peer& victim = *peers[0];
  Tcp tcp = victim.next(kRst);
  tcp.seq += 10;
  victim.segment(tcp);
  c.wire.pump(50);
  uint32_t most = 0;
  for (size_t i = 1; i < peers.size(); ++i) most = std::max(most, peers[i]->pure_acks - before[i]);
  c.say("opened", opened);
  c.say("victim", uint64_t(victim.pure_acks - before[0]));
  c.say("most_of_others", uint64_t(most));
  bool alive = true;
  for (const auto& peer : peers) alive &= peer->echoes("alive");
  c.say("alive", alive);
}

// Two ends that disagree: each ACK of ours is for something that was never sent. At most two
// answers a second, whatever we send.
void ack_storm(Context& c) {
  Peer peer(c.wire, c.v4, 21030, kEcho);
  const bool opened = peer.open() && peer.echoes("before");
  const uint32_t before = peer.segments;
  const uint32_t seconds = 2;
  uint32_t answered = 0;
  const uint64_t until = now_us() + seconds * 1000000;
  while (now_us() < until) {
    Tcp tcp = peer.next();
    tcp.ack += 100000;
    tcp.seq += answered % 2 ? 50000 : 0;
    peer.segment(tcp);
    ++c.sent;
    const uint32_t at = peer.segments;
    c.wire.pump(2, [&] { return peer.segments != at; });
    answered += peer.segments != at;
  }
  c.say("opened", opened);
  c.say("answers", uint64_t(peer.segments - before));
  c.say("in_seconds", uint64_t(seconds));
  c.say("alive", peer.echoes("after"));
}

// RFC 1337, RFC 6191: the server's TIME-WAIT survives resets, old SYNs and old data; a new SYN with
// a higher number opens a new connection.
void time_wait(Context& c) {
  auto peer = std::make_unique<Peer>(c.wire, c.v4, 21040, kSource);
  bool closed = peer->open();
  peer->write("1000\n");
  c.wire.pump(1000, [&] { return peer->fin; });
  closed &= peer->fin && peer->received.size() == 1000;
  peer->segment(peer->next(kFin | kAck));
  ++peer->snd_nxt;
  c.wire.pump(30);
  for (uint32_t i = 0; i < 50; ++i) {
    Tcp reset = peer->next(kRst);
    reset.seq += i;
    peer->segment(reset);
    Tcp syn = peer->next(kSyn);
    syn.seq = peer->settings.isn - 1000 - i;
    peer->segment(syn);
    c.sent += 2;
  }
  c.wire.pump(30);
  const uint32_t resets = peer->resets;
  Tcp old = peer->next(kAck | kPsh);
  old.seq -= 100;
  old.payload = bytes_of("old");
  const uint32_t acks = peer->pure_acks;
  c.wire.pump(600);  // past the throttle of its answers
  peer->segment(old);
  c.wire.pump(100);
  c.say("closed", closed);
  c.say("resets", uint64_t(resets));
  c.say("still_there", peer->pure_acks > acks);
  const uint32_t last = peer->snd_nxt;
  peer->connected = false;
  peer.reset();
  Peer again(c.wire, c.v4, 21040, kSource, {.isn = last + 100000});
  c.say("opens_again", again.open());
}

Bytes quote(const Peer& peer, uint32_t seq, size_t bytes) {
  Tcp tcp;
  tcp.source = peer.destination;
  tcp.destination = peer.source;
  tcp.seq = seq;
  tcp.ack = peer.snd_nxt;
  Bytes packet = tcp_packet({peer.path.to, peer.path.from}, tcp);
  packet.resize(std::min(bytes, packet.size()));
  return packet;
}

// RFC 5927: errors that somebody made up. With the wrong number they mean nothing; with the right
// one they are soft, and a path MTU has a floor.
void forged_icmp(Context& c) {
  Peer peer(c.wire, c.v4, 21050, kSource, {.window = 4000});
  bool alive = peer.open();
  peer.write("1000000000\n");
  c.wire.pump(100, [&] { return peer.received.size() > 20000; });
  struct Error {
    uint8_t type, code;
    uint32_t argument;
  };
  const std::vector<Error> errors = {{3, 0, 0}, {3, 1, 0},  {3, 2, 0}, {3, 3, 0},  {3, 4, 68},
                                     {3, 4, 0}, {3, 4, 9},  {3, 9, 0}, {3, 13, 0}, {4, 0, 0},
                                     {5, 1, 0}, {11, 0, 0}, {12, 0, 0}};
  const uint32_t before = peer.largest;
  for (const uint32_t off : {100000000u, 0x80000000u, uint32_t(-70000)}) {
    for (const Error& e : errors) {
      for (const size_t bytes : {0, 8, 20, 24, 27, 28, 40}) {
        c.paced(
            icmp_error(c.v4, e.type, e.code, e.argument, quote(peer, peer.rcv_nxt + off, bytes)),
            5000);
      }
      c.wire.pump(1);
    }
  }
  // From here on the segments are as long as they were.
  peer.smallest = peer.largest = 0;
  c.wire.pump(300, [&] { return peer.data_segments % 50 == 49; });
  c.say("same_size", peer.largest == before);
  for (const Error& e : errors) {
    c.paced(icmp_error(c.v4, e.type, e.code, e.argument, quote(peer, peer.rcv_nxt, 28)), 5000);
    c.wire.pump(3);
  }
  peer.largest = 0;
  const size_t at = peer.received.size();
  c.wire.pump(2000, [&] { return peer.received.size() > at + 20000; });
  alive &= peer.received.size() > at + 20000 && peer.resets == 0;
  c.say("alive", alive);
  c.say("segment", uint64_t(before));
  c.say("segment_after", uint64_t(peer.largest));
}

// ACKs of what was not sent, one segment acknowledged in a hundred pieces, a thousand duplicates.
void optimistic(Context& c) {
  // With SACK: a duplicate ACK without a block says nothing.
  Peer peer(c.wire, c.v4, 21060, kSource,
            {.syn_options = {2, 4, 5, 180, 4, 2, 1, 1}, .answers = false});
  const bool opened = peer.open();
  peer.acknowledge();
  peer.write("10000000\n");
  c.wire.pump(100);
  const uint32_t first = peer.rcv_nxt;
  const uint32_t start = peer.isn_of_server + 1;
  const uint32_t burst = peer.highest - start;
  const auto acknowledge = [&](uint32_t at) {
    Tcp tcp = peer.next();
    tcp.ack = at;
    peer.segment(tcp);
    ++c.sent;
  };
  for (uint32_t i = 1; i <= 100; ++i) acknowledge(peer.highest + i * 100000);
  c.wire.pump(50);
  const uint32_t ignored = peer.highest - start;
  for (uint32_t i = 1; i <= 100; ++i) acknowledge(start + i * 14);
  c.wire.pump(50);
  const uint32_t divided = peer.highest - start;
  for (uint32_t i = 0; i < 1000; ++i) acknowledge(start + 1400);
  c.wire.pump(100);
  c.say("opened", opened && first != 0);
  c.say("burst", uint64_t(burst));
  c.say("after_optimistic", uint64_t(ignored));
  c.say("after_division", uint64_t(divided));
  c.say("after_duplicates", uint64_t(peer.highest - start));
  c.say("resets", uint64_t(peer.resets));
}

}  // namespace

const std::vector<Row> kStateRows = {
    {"blind", blind},         {"challenge", challenge},     {"ack-storm", ack_storm},
    {"time-wait", time_wait}, {"forged-icmp", forged_icmp}, {"optimistic", optimistic},
};

}  // namespace attack
