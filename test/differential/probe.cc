// SPDX-License-Identifier: MIT
#include "differential/probe.h"

namespace millrace::differential {

using namespace scripts;

namespace {

constexpr uint32_t kFar = 3'000'000;  // beyond any window here
constexpr int kHopByHop = 0, kRouting = 43, kDestination = 60;

Probe segment(const char* name, uint8_t flags, int64_t seq = 0, int ack = 0, uint32_t length = 0) {
  Probe p;
  p.name = name, p.flags = flags, p.seq = int(seq), p.ack = ack, p.length = length;
  return p;
}

Probe stamped(const char* name, uint8_t flags, int seq, uint32_t length, int ts_offset) {
  Probe p = segment(name, flags, seq, 0, length);
  p.timestamps = true, p.ts_offset = ts_offset;
  return p;
}

// `seq`: of the quoted segment, from the oldest byte that is not acknowledged.
Probe error(Family family, const char* name, uint8_t type, uint8_t code, uint32_t rest = 0,
            int64_t seq = 0, uint32_t quoted_max = 0) {
  Probe p;
  p.name = name, p.kind = Kind::kError, p.family = family, p.seq = int(seq);
  p.error = {type, code, rest, quoted_max};
  return p;
}

// A segment with data behind IPv4 options, or behind IPv6 extension headers.
Probe behind(const char* name, Bytes options) {
  Probe p = segment(name, kAck | kPsh, 0, 0, 100);
  p.family = Family::kV4, p.headers = std::move(options);
  return p;
}
Probe behind6(const char* name, int first, Bytes headers) {
  Probe p = behind(name, std::move(headers));
  p.family = Family::kV6, p.first_header = first;
  return p;
}

Probe datagram(const char* name, uint32_t length) {
  Probe p;
  p.name = name, p.kind = Kind::kDatagram, p.length = length;
  return p;
}

void add_segments(std::vector<Probe>& all) {
  const Probe table[] = {
      segment("ACK", kAck),
      segment("ACK one before", kAck, -1),
      segment("ACK one after", kAck, 1),
      segment("ACK past the window", kAck, kFar),
      segment("ACK of unsent bytes", kAck, 0, 1000),
      segment("ACK from long ago", kAck, 0, -200'000),
      segment("data", kAck | kPsh, 0, 0, 100),
      segment("data again", kAck | kPsh, -100, 0, 100),
      segment("data half old", kAck | kPsh, -50, 0, 100),
      segment("data behind a gap", kAck | kPsh, 100, 0, 100),
      segment("data past the window", kAck | kPsh, kFar, 0, 100),
      segment("data of unsent ACK", kAck | kPsh, 0, 1000, 100),
      segment("data without ACK", kPsh, 0, 0, 100),
      segment("urgent data", kAck | kUrg, 0, 0, 100),
      segment("data ECE CWR", kAck | kEce | kCwr, 0, 0, 100),
      segment("FIN", kFin | kAck),
      segment("FIN with data", kFin | kAck, 0, 0, 100),
      segment("FIN behind a gap", kFin | kAck, 100),
      segment("FIN without ACK", kFin),
      segment("RST", kRst),
      segment("RST ACK", kRst | kAck),
      segment("RST one after", kRst, 1),
      segment("RST one before", kRst, -1),
      segment("RST past the window", kRst, kFar),
      segment("SYN", kSyn),
      segment("SYN in the window", kSyn, 100),
      segment("SYN past the window", kSyn, kFar),
      segment("SYN ACK", kSyn | kAck),
      segment("SYN FIN", kSyn | kFin),
      segment("NULL", 0),
      stamped("ts: data", kAck | kPsh, 0, 100, 0),
      stamped("ts: old data", kAck | kPsh, 0, 100, -5000),
      stamped("ts: missing", kAck | kPsh, 0, 100, 0),
      stamped("ts: behind a gap", kAck | kPsh, 100, 100, 0),
      stamped("ts: data again", kAck | kPsh, -100, 100, 0),
      stamped("ts: old ACK", kAck, 0, 0, -5000),
      stamped("ts: old RST", kRst, 0, 0, -5000),
      stamped("ts: SYN", kSyn, 0, 0, 1000),
  };
  for (const Probe& p : table) {
    all.push_back(p);
    all.back().without_ts = p.name == "ts: missing";
  }
}

void add_errors(std::vector<Probe>& all) {
  constexpr Family k4 = Family::kV4, k6 = Family::kV6;
  const Probe table[] = {
      error(k4, "ICMP no network", 3, 0),
      error(k4, "ICMP no host", 3, 1),
      error(k4, "ICMP no protocol", 3, 2),
      error(k4, "ICMP no port", 3, 3),
      error(k4, "ICMP no port, wrong number", 3, 3, 0, -kFar),
      error(k4, "ICMP no port, not sent yet", 3, 3, 0, 100'000),
      error(k4, "ICMP no port, cut short", 3, 3, 0, 0, 27),
      error(k4, "ICMP too big, 1000", 3, 4, 1000),
      error(k4, "ICMP too big, 100", 3, 4, 100),
      error(k4, "ICMP too big, 0", 3, 4, 0),
      error(k4, "ICMP too big, wrong number", 3, 4, 1000, -kFar),
      error(k4, "ICMP source route failed", 3, 5),
      error(k4, "ICMP prohibited", 3, 13),
      error(k4, "ICMP quench", 4, 0),
      error(k4, "ICMP time exceeded", 11, 0),
      error(k4, "ICMP parameter problem", 12, 0),
      error(k6, "ICMP no route", 1, 0),
      error(k6, "ICMP prohibited", 1, 1),
      error(k6, "ICMP beyond scope", 1, 2),
      error(k6, "ICMP no address", 1, 3),
      error(k6, "ICMP no port", 1, 4),
      error(k6, "ICMP no port, wrong number", 1, 4, 0, -kFar),
      error(k6, "ICMP no port, not sent yet", 1, 4, 0, 100'000),
      error(k6, "ICMP no port, cut short", 1, 4, 0, 0, 47),
      error(k6, "ICMP policy", 1, 5),
      error(k6, "ICMP reject", 1, 6),
      error(k6, "ICMP unknown code", 1, 7),
      error(k6, "ICMP too big, 1300", 2, 0, 1300),
      error(k6, "ICMP too big, 1280", 2, 0, 1280),
      error(k6, "ICMP too big, 600", 2, 0, 600),
      error(k6, "ICMP too big, 9000", 2, 0, 9000),
      error(k6, "ICMP too big, wrong number", 2, 0, 1300, -kFar),
      error(k6, "ICMP time exceeded", 3, 0),
      error(k6, "ICMP bad header", 4, 0),
      error(k6, "ICMP unknown header", 4, 1),
      error(k6, "ICMP unknown type", 100, 0),
  };
  all.insert(all.end(), std::begin(table), std::end(table));
}

void add_headers(std::vector<Probe>& all) {
  const Probe table[] = {
      behind("options: none", {1, 1, 0, 0}),
      behind("options: record route", {7, 7, 4, 0, 0, 0, 0, 0}),
      behind("options: timestamp", {68, 8, 5, 0, 0, 0, 0, 0}),
      behind("options: router alert", {148, 4, 0, 0}),
      behind("options: unknown", {200, 4, 1, 1}),
      behind("options: of length 0", {68, 0, 0, 0}),
      behind("options: pointer 3", {7, 7, 3, 0, 0, 0, 0, 0}),
      behind("options: loose route", {131, 7, 4, 192, 0, 2, 9, 0}),
      behind6("hop-by-hop: padding", kHopByHop, {6, 0, 1, 4, 0, 0, 0, 0}),
      behind6("hop-by-hop: skip", kHopByHop, {6, 0, 0x3e, 4, 0, 0, 0, 0}),
      behind6("hop-by-hop: drop", kHopByHop, {6, 0, 0x7e, 4, 0, 0, 0, 0}),
      behind6("hop-by-hop: report", kHopByHop, {6, 0, 0xbe, 4, 0, 0, 0, 0}),
      behind6("hop-by-hop: report unicast", kHopByHop, {6, 0, 0xfe, 4, 0, 0, 0, 0}),
      behind6("hop-by-hop: option too long", kHopByHop, {6, 0, 0x3e, 40, 0, 0, 0, 0}),
      behind6("hop-by-hop: header too long", kHopByHop, {6, 200, 1, 4, 0, 0, 0, 0}),
      behind6("hop-by-hop: twice", kHopByHop, {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0}),
      behind6("destination: padding", kDestination, {6, 0, 1, 4, 0, 0, 0, 0}),
      behind6("destination: padding with content", kDestination, {6, 0, 1, 4, 0, 7, 0, 0}),
      behind6("destination: skip", kDestination, {6, 0, 0x3e, 4, 0, 0, 0, 0}),
      behind6("destination: drop", kDestination, {6, 0, 0x7e, 4, 0, 0, 0, 0}),
      behind6("destination: report", kDestination, {6, 0, 0xbe, 4, 0, 0, 0, 0}),
      behind6("destination: report unicast", kDestination, {6, 0, 0xfe, 4, 0, 0, 0, 0}),
      behind6("destination: twice", kDestination,
              {60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0}),
      behind6("destination: then hop-by-hop", kDestination,
              {0, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0}),
      behind6("routing: type 0, done", kRouting, {6, 0, 0, 0, 0, 0, 0, 0}),
      behind6("routing: type 0, one left", kRouting,
              {6, 2, 0, 1, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}),
      behind6("routing: unknown, done", kRouting, {6, 0, 77, 0, 0, 0, 0, 0}),
      behind6("routing: unknown, one left", kRouting, {6, 0, 77, 1, 0, 0, 0, 0}),
      behind6("no next header", 59, {}),
      behind6("unknown next header", 250, {}),
      behind6("unknown behind options", kDestination, {250, 0, 1, 4, 0, 0, 0, 0}),
  };
  all.insert(all.end(), std::begin(table), std::end(table));
}

void add_datagrams(std::vector<Probe>& all) {
  all.push_back(datagram("datagram", 100));
  all.push_back(datagram("datagram, empty", 0));
  all.push_back(datagram("datagram, bad checksum", 100));
  all.back().bad_checksum = true;
  all.push_back(datagram("datagram, no checksum", 100));
  all.back().no_checksum = true;
  all.push_back(datagram("datagram, nobody's port", 100));
  all.back().other_port = true;
  all.push_back(datagram("datagram, length 7", 100));
  all.back().udp_length = 7;
  all.push_back(datagram("datagram, length 50", 100));
  all.back().udp_length = 50;
  all.push_back(datagram("datagram, length 200", 100));
  all.back().udp_length = 200;
}

}  // namespace

// Segments and errors come everywhere; headers in between are looked at before anybody knows for
// whom the packet is.
bool Probe::fits(Place place, bool v6) const {
  if (family != Family::kBoth && (family == Family::kV6) != v6) return false;
  const bool udp = place >= Place::kUdpBound;
  if (kind == Kind::kDatagram) return udp || place == Place::kClosed;
  if (kind == Kind::kError) return place != Place::kClosed;
  if (first_header >= 0 || !headers.empty()) {
    return place == Place::kClosed || place == Place::kListen || place == Place::kEstablished;
  }
  return !udp;
}

const std::vector<Probe>& probes() {
  static const std::vector<Probe> all = [] {
    std::vector<Probe> list;
    add_segments(list);
    add_errors(list);
    add_headers(list);
    add_datagrams(list);
    return list;
  }();
  return all;
}

}  // namespace millrace::differential
