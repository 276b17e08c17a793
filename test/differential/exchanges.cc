// SPDX-License-Identifier: MIT
#include "differential/exchanges.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "scripts/runner/tcp_options.h"

namespace millrace::differential {

using namespace scripts;

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kHalfTrip = 10 * kMs;
constexpr int64_t kLook = 300 * kMs;
constexpr uint32_t kFar = 3'000'000;  // beyond any window here
const Address kHost = {192, 0, 2, 1}, kPeer = {192, 0, 2, 2};

sockaddr_in socket_address(const Address& address, uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  std::copy(address.begin(), address.end(), reinterpret_cast<uint8_t*>(&in.sin_addr));
  return in;
}

void add32(Bytes& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(uint8_t(value >> shift));
}

}  // namespace

const std::vector<Probe> kProbes = {
    {"ACK", kAck},
    {"ACK one before", kAck, -1},
    {"ACK one after", kAck, 1},
    {"ACK past the window", kAck, kFar},
    {"ACK of unsent bytes", kAck, 0, 1000},
    {"ACK from long ago", kAck, 0, -200'000},
    {"data", kAck | kPsh, 0, 0, 100},
    {"data again", kAck | kPsh, -100, 0, 100},
    {"data half old", kAck | kPsh, -50, 0, 100},
    {"data behind a gap", kAck | kPsh, 100, 0, 100},
    {"data past the window", kAck | kPsh, kFar, 0, 100},
    {"data of unsent ACK", kAck | kPsh, 0, 1000, 100},
    {"data without ACK", kPsh, 0, 0, 100},
    {"urgent data", kAck | kUrg, 0, 0, 100},
    {"data ECE CWR", kAck | kEce | kCwr, 0, 0, 100},
    {"FIN", kFin | kAck},
    {"FIN with data", kFin | kAck, 0, 0, 100},
    {"FIN behind a gap", kFin | kAck, 100},
    {"FIN without ACK", kFin},
    {"RST", kRst},
    {"RST ACK", kRst | kAck},
    {"RST one after", kRst, 1},
    {"RST one before", kRst, -1},
    {"RST past the window", kRst, kFar},
    {"SYN", kSyn},
    {"SYN in the window", kSyn, 100},
    {"SYN past the window", kSyn, kFar},
    {"SYN ACK", kSyn | kAck},
    {"SYN FIN", kSyn | kFin},
    {"NULL", 0},
    {"ts: data", kAck | kPsh, 0, 0, 100, true},
    {"ts: old data", kAck | kPsh, 0, 0, 100, true, -5000},
    {"ts: missing", kAck | kPsh, 0, 0, 100, true, 0, true},
    {"ts: behind a gap", kAck | kPsh, 100, 0, 100, true},
    {"ts: data again", kAck | kPsh, -100, 0, 100, true},
    {"ts: old ACK", kAck, 0, 0, 0, true, -5000},
    {"ts: old RST", kRst, 0, 0, 0, true, -5000},
    {"ts: SYN", kSyn, 0, 0, 0, true, 1000},
};

Exchange::Exchange(mrt_stack* stack, uint16_t number, Place place, const Probe& probe)
    : stack_(stack),
      host_port_(uint16_t(1000 + number)),
      peer_port_(uint16_t(10'000 + number)),
      place_(place),
      probe_(probe),
      peer_next_(5'000'000u + number * 100'000u),
      peer_isn_(peer_next_) {}

Exchange::~Exchange() {
  // Without a trace: a reset ends what is left.
  const linger hard{1, 0};
  if (fd_ >= 0) {
    (void)mrt_setsockopt(stack_, fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)mrt_close(stack_, fd_);
  }
  if (listener_ >= 0) (void)mrt_close(stack_, listener_);
  (void)mrt_advance(stack_, mrt_now(stack_) + kMs);
  uint8_t sink[64];
  while (mrt_packet_out(stack_, sink, sizeof sink, nullptr)) {
  }
}

void Exchange::put(uint32_t seq, uint32_t ack, uint8_t flags, uint32_t length, bool timestamps,
                   int ts_offset) {
  Fields f;
  f.source = kPeer, f.destination = kHost;
  f.from_port = peer_port_, f.to_port = host_port_;
  f.seq = seq, f.ack = flags & kAck ? ack : 0;
  f.flags = flags, f.window = 30'000;
  if (flags & kUrg) f.urgent = 10;
  f.payload.assign(length, 'x');
  if (flags & kSyn) f.options = {2, 4, 1460 >> 8, 1460 & 255};
  if ((flags & kSyn) && probe_.timestamps) {
    for (const uint8_t b : {4, 2, 3, 3, 7, 1}) f.options.push_back(b);
  }
  if (timestamps) {
    for (const uint8_t b : {1, 1, 8, 10}) f.options.push_back(b);
    add32(f.options, uint32_t(mrt_now(stack_) / kMs + 100'000 + ts_offset));
    add32(f.options, flags & kAck ? ts_echo_ : 0);
  }
  while (f.options.size() % 4) f.options.push_back(1);
  const Bytes packet = build(f);
  (void)mrt_packet_in(stack_, packet.data(), packet.size());
}

void Exchange::send(uint8_t flags, uint32_t length) {
  put(peer_next_, host_next_, flags, length, probe_.timestamps);
  peer_next_ += length + (flags & (kSyn | kFin) ? 1 : 0);
  collect(kHalfTrip);
}

// What leaves in the next `ns` is learnt from, and written down once the probe is on its way.
void Exchange::collect(int64_t ns) {
  const int64_t until = mrt_now(stack_) + ns;
  while (true) {
    Bytes packet(2048);
    int64_t at = 0;
    while (const size_t n = mrt_packet_out(stack_, packet.data(), packet.size(), &at)) {
      View v;
      std::string problem;
      if (!take_apart(Bytes(packet.begin(), packet.begin() + long(n)), v, problem)) {
        trace_ += " | malformed: " + problem;
        continue;
      }
      if (v.protocol != kTcp || v.to_port != peer_port_) continue;
      if (probed_at_) trace_ += describe(v, at - probed_at_);
      if (v.flags & kRst) continue;
      if (v.flags & kSyn) host_isn_ = v.seq, host_known_ = true;
      const uint32_t end = v.seq + uint32_t(v.payload.size()) + (v.flags & (kSyn | kFin) ? 1 : 0);
      if ((v.flags & kSyn) || int32_t(end - host_next_) > 0) host_next_ = end;
      uint32_t ts = 0;
      if (find_timestamp(v.options, ts)) ts_echo_ = ts;
    }
    if (mrt_now(stack_) >= until) return;
    (void)mrt_advance_until_event(stack_, until);
  }
}

std::string Exchange::describe(const View& v, int64_t at_ns) const {
  char text[128];
  const bool reset = v.flags & kRst;
  const uint32_t seq_base = host_known_ ? host_isn_ : v.flags & kSyn ? v.seq : 0;
  std::snprintf(text, sizeof text, " | %.1f %s seq %d ack %d len %zu", double(at_ns) / kMs,
                format_flags(v.flags).c_str(), int(v.seq - (reset && v.seq == 0 ? 0 : seq_base)),
                v.flags & kAck ? int(v.ack - peer_isn_) : 0, v.payload.size());
  std::string out = text;
  bool skip = false;
  for (const std::string& word : describe_options(v.options, {.sack_base = peer_isn_})) {
    // Values of clocks and scales are each host's own; the words say that they are there.
    const bool number = !word.empty() && (word[0] == '-' || (word[0] >= '0' && word[0] <= '9'));
    if (skip && number) continue;
    skip = word == "ts" || word == "ws";
    out += " " + word;
  }
  return out;
}

void Exchange::listen() {
  listener_ = mrt_socket(stack_, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const sockaddr_in at = socket_address(kHost, host_port_);
  (void)mrt_bind(stack_, listener_, reinterpret_cast<const sockaddr*>(&at), sizeof at);
  (void)mrt_listen(stack_, listener_, 8);
}

void Exchange::connect() {
  fd_ = mrt_socket(stack_, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  const sockaddr_in from = socket_address(kHost, host_port_);
  const sockaddr_in to = socket_address(kPeer, peer_port_);
  (void)mrt_bind(stack_, fd_, reinterpret_cast<const sockaddr*>(&from), sizeof from);
  (void)mrt_connect(stack_, fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  collect(kHalfTrip);
}

void Exchange::established() {
  send(kAck);
  fd_ = mrt_accept4(stack_, listener_, nullptr, nullptr, SOCK_NONBLOCK);
}

void Exchange::closing() {
  (void)mrt_shutdown(stack_, fd_, SHUT_WR);
  collect(kMs);
}

void Exchange::open() {
  if (place_ == Place::kClosed) return;
  if (place_ == Place::kSynSent) return connect();
  listen();
  if (place_ == Place::kListen) return;
  send(kSyn);
  if (place_ == Place::kSynReceived) return;
  established();
  const uint8_t text[500] = {};
  const uint32_t before = host_next_;
  switch (place_) {
    case Place::kDataSent:
      (void)mrt_send(stack_, fd_, text, sizeof text, 0);
      return collect(kMs);
    case Place::kUnread:
      send(kAck | kPsh, 100);
      return collect(60 * kMs);
    case Place::kFinWait1:
      return closing();
    case Place::kFinWait2:
      closing();
      return send(kAck);
    case Place::kClosing:
      closing();
      host_next_ = before;  // its FIN is not acknowledged
      send(kFin | kAck);
      host_next_ = before + 1;
      return;
    case Place::kTimeWait:
      (void)mrt_close(stack_, fd_);
      fd_ = -1;
      collect(kMs);
      send(kAck);
      return send(kFin | kAck);
    case Place::kCloseWait:
      return send(kFin | kAck);
    case Place::kLastAck:
      send(kFin | kAck);
      return closing();
    default:
      return;
  }
}

void Exchange::probe() {
  probed_at_ = mrt_now(stack_);
  // Where nothing was agreed yet the segment stands for itself.
  const bool opening = place_ <= Place::kListen || place_ == Place::kSynSent;
  const bool stamped =
      probe_.timestamps && !probe_.without_ts && !(opening && !(probe_.flags & kSyn));
  uint32_t ack = host_next_ + uint32_t(probe_.ack);
  // In these the host's FIN or data is still under way: "the" ACK is of what came before.
  if (place_ == Place::kDataSent) ack -= 500;
  if (place_ == Place::kFinWait1 || place_ == Place::kClosing || place_ == Place::kLastAck)
    ack -= 1;
  put(peer_next_ + uint32_t(probe_.seq), ack, probe_.flags, probe_.length, stamped,
      probe_.ts_offset);
  collect(kLook);
}

std::string Exchange::run() {
  open();
  collect(0);
  probe();
  return std::string(kPlaceNames[size_t(place_)]) + ": " + probe_.name + trace_;
}

}  // namespace millrace::differential
