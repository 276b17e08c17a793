// SPDX-License-Identifier: MIT
#include "differential/exchanges.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "scripts/runner/names.h"
#include "scripts/runner/tcp_options.h"

namespace millrace::differential {

using namespace scripts;

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kHalfTrip = 10 * kMs;
constexpr int64_t kLook = 300 * kMs;
constexpr uint32_t kSentBytes = 500;  // under way in DATA-SENT

// One for each exchange: what is learnt of a path and how often a host is told of its errors is
// remembered by address.
Address peer_address(bool v6, uint16_t number) {
  Address a = *parse_address(v6 ? "2001:db8::" : "192.0.0.0");
  a[a.size() - 2] = uint8_t(16 + number / 250), a.back() = uint8_t(1 + number % 250);
  return a;
}

void add32(Bytes& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(uint8_t(value >> shift));
}

}  // namespace

Exchange::Exchange(mrt_stack* stack, uint16_t number, Place place, const Probe& probe, bool v6)
    : stack_(stack),
      v6_(v6),
      host_(*parse_address(v6 ? "2001:db8::1" : "192.0.2.1")),
      peer_(peer_address(v6, number)),
      host_port_(uint16_t(1000 + number)),
      peer_port_(uint16_t(10'000 + number)),
      place_(place),
      probe_(probe),
      peer_next_(5'000'000u + number * 100'000u),
      peer_isn_(peer_next_) {}

Exchange::SocketAddress Exchange::socket_address(const Address& address, uint16_t port) const {
  SocketAddress out;
  if (v6_) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6, in.sin6_port = htons(port);
    std::memcpy(&in.sin6_addr, address.data(), 16);
    std::memcpy(&out.storage, &in, out.length = sizeof in);
  } else {
    sockaddr_in in{};
    in.sin_family = AF_INET, in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.data(), 4);
    std::memcpy(&out.storage, &in, out.length = sizeof in);
  }
  return out;
}

// Bound to the host's port.
int Exchange::open_socket(int type) {
  const int fd = mrt_socket(stack_, v6_ ? AF_INET6 : AF_INET, type | SOCK_NONBLOCK, 0);
  const SocketAddress at = socket_address(host_, host_port_);
  (void)mrt_bind(stack_, fd, at.get(), at.length);
  return fd;
}

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
                   int ts_offset, const Probe* extra) {
  Fields f;
  f.source = peer_, f.destination = host_;
  f.from_port = peer_port_, f.to_port = host_port_;
  f.seq = seq, f.ack = flags & kAck ? ack : 0;
  f.flags = flags, f.window = 30'000;
  if (flags & kUrg) f.urgent = 10;
  f.payload.assign(length, 'x');
  if (flags & kSyn) f.options = {2, 4, 1400 >> 8, 1400 & 255};
  if ((flags & kSyn) && probe_.timestamps) {
    for (const uint8_t b : {4, 2, 3, 3, 7, 1}) f.options.push_back(b);
  }
  if (timestamps) {
    for (const uint8_t b : {1, 1, 8, 10}) f.options.push_back(b);
    add32(f.options, uint32_t(mrt_now(stack_) / kMs + 100'000 + ts_offset));
    add32(f.options, flags & kAck ? ts_echo_ : 0);
  }
  while (f.options.size() % 4) f.options.push_back(1);
  if (extra) f.ip_options = extra->headers, f.ip_next = extra->first_header;
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
      const bool icmp = v.protocol == (v6_ ? kIcmp6 : kIcmp4);
      if (!icmp && (v.protocol != kTcp || v.to_port != peer_port_)) continue;
      if (probed_at_ && icmp) trace_ += describe(v, at - probed_at_);
      if (icmp) continue;
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
  if (v.protocol != kTcp) {
    std::snprintf(text, sizeof text, " | %.1f ICMP %d %d rest %u len %zu", double(at_ns) / kMs,
                  v.type, v.code, v.rest, v.payload.size());
    return text;
  }
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

// What the user learns.
std::string Exchange::describe_socket() {
  std::string text;
  if (listener_ >= 0 && fd_ < 0 && place_ <= Place::kSynReceived) {
    fd_ = mrt_accept4(stack_, listener_, nullptr, nullptr, SOCK_NONBLOCK);
    if (fd_ >= 0) text += " accepted";
  }
  if (fd_ >= 0) {
    pollfd p{fd_, POLLIN | POLLOUT | POLLRDHUP, 0};
    (void)mrt_poll(stack_, &p, 1, 0);
    text += " poll " + poll_names(p.revents);
    int code = 0;
    socklen_t length = sizeof code;
    (void)mrt_getsockopt(stack_, fd_, SOL_SOCKET, SO_ERROR, &code, &length);
    if (code) text += " error " + errno_name(code);
    char data[4096];
    const ssize_t n = mrt_recv(stack_, fd_, data, sizeof data, 0);
    text += n < 0 ? " read " + errno_name(errno) : " read " + std::to_string(n);
  }
  return text.empty() ? text : " | 0 socket:" + text;
}

void Exchange::listen() {
  listener_ = open_socket(SOCK_STREAM);
  (void)mrt_listen(stack_, listener_, 8);
}

void Exchange::connect() {
  fd_ = open_socket(SOCK_STREAM);
  const SocketAddress to = socket_address(peer_, peer_port_);
  (void)mrt_connect(stack_, fd_, to.get(), to.length);
  collect(kHalfTrip);
}

void Exchange::open_datagram() {
  fd_ = open_socket(SOCK_DGRAM);
  const SocketAddress to = socket_address(peer_, peer_port_);
  if (place_ == Place::kUdpConnected) (void)mrt_connect(stack_, fd_, to.get(), to.length);
  // So that an error may be about something.
  const uint8_t text[kSentBytes] = {};
  (void)mrt_sendto(stack_, fd_, text, sizeof text, 0, to.get(), to.length);
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
  if (place_ >= Place::kUdpBound) return open_datagram();
  listen();
  if (place_ == Place::kListen) return;
  send(kSyn);
  if (place_ == Place::kSynReceived) return;
  established();
  const uint8_t text[kSentBytes] = {};
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

// The oldest byte of the host's that is not acknowledged.
uint32_t Exchange::unacknowledged() const {
  switch (place_) {
    case Place::kDataSent:
      return host_next_ - kSentBytes;
    case Place::kSynSent:
    case Place::kSynReceived:
    case Place::kFinWait1:
    case Place::kClosing:
    case Place::kLastAck:
      return host_next_ - 1;
    default:
      return host_next_;
  }
}

void Exchange::put_segment() {
  // Where nothing was agreed yet the segment stands for itself.
  const bool opening = place_ <= Place::kListen || place_ == Place::kSynSent;
  const bool stamped =
      probe_.timestamps && !probe_.without_ts && !(opening && !(probe_.flags & kSyn));
  // "The" ACK is of what came before what is still under way, but of a SYN.
  const bool handshake = place_ == Place::kSynSent || place_ == Place::kSynReceived;
  const uint32_t ack = handshake ? host_next_ : unacknowledged();
  put(peer_next_ + uint32_t(probe_.seq), ack + uint32_t(probe_.ack), probe_.flags, probe_.length,
      stamped, probe_.ts_offset, &probe_);
}

void Exchange::put_datagram() {
  Fields f;
  f.protocol = kUdp;
  f.source = peer_, f.destination = host_;
  f.from_port = peer_port_, f.to_port = uint16_t(host_port_ + (probe_.other_port ? 30'000 : 0));
  f.payload.assign(probe_.length, 'x');
  f.udp_length = probe_.udp_length;
  f.bad_checksum = probe_.bad_checksum, f.no_checksum = probe_.no_checksum;
  const Bytes packet = build(f);
  (void)mrt_packet_in(stack_, packet.data(), packet.size());
}

// Quotes what the host has sent, or might have.
void Exchange::put_error() {
  Fields quoted;
  quoted.source = host_, quoted.destination = peer_;
  quoted.from_port = host_port_, quoted.to_port = peer_port_;
  quoted.fragment = 0x4000;
  quoted.payload.assign(kSentBytes, 0);
  if (place_ >= Place::kUdpBound) {
    quoted.protocol = kUdp;
  } else {
    quoted.seq = unacknowledged() + uint32_t(probe_.seq);
    quoted.flags = kAck;
  }
  Fields f;
  f.protocol = v6_ ? kIcmp6 : kIcmp4;
  f.source = peer_, f.destination = host_;
  f.type = probe_.error.type, f.code = probe_.error.code, f.rest = probe_.error.rest;
  f.payload = build(quoted);
  const size_t most = probe_.error.quoted_max ? probe_.error.quoted_max : v6_ ? 1000 : 28;
  f.payload.resize(std::min(f.payload.size(), most));
  const Bytes packet = build(f);
  (void)mrt_packet_in(stack_, packet.data(), packet.size());
}

void Exchange::probe() {
  probed_at_ = mrt_now(stack_);
  switch (probe_.kind) {
    case Kind::kSegment:
      put_segment();
      break;
    case Kind::kDatagram:
      put_datagram();
      break;
    case Kind::kError:
      put_error();
      break;
  }
  collect(kLook);
  trace_ += describe_socket();
}

std::string Exchange::run() {
  open();
  collect(0);
  probe();
  return trace_;
}

}  // namespace millrace::differential
