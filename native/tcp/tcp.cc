// SPDX-License-Identifier: MIT
#include "tcp/tcp.h"

#include <algorithm>
#include <cstring>

#include "tcp/core.h"
#include "tcp/delivery_rate.h"
#include "tcp/emit.h"
#include "tcp/hand_over.h"
#include "tcp/icmp.h"
#include "tcp/input.h"
#include "tcp/lifecycle.h"
#include "tcp/open.h"
#include "tcp/output.h"
#include "tcp/path_mtu.h"
#include "tcp/receive.h"
#include "tcp/recovery.h"
#include "tcp/timers.h"
#include "wire/checksum.h"

namespace millrace::tcp {

Tcp::Tcp(FramePool& pool, net::IpLayer& ip, TimerWheel& timers, Random& random, Handler& handler,
         const StackOptions& options)
    : core_(std::make_unique<Core>(pool, ip, timers, random, handler, options)) {}

Tcp::~Tcp() {
  close_all(Instant{}, false);
}

Result<Connection*> Tcp::connect(Instant now, const wire::Endpoint& local,
                                 const wire::Endpoint& remote, const ConnectionOptions& options,
                                 uint32_t user) {
  return open_connection(*core_, now, local, remote, options, user);
}

Result<Listener*> Tcp::listen(const wire::Endpoint& local, bool dual_stack, uint32_t backlog,
                              const ConnectionOptions& options, uint32_t user) {
  return open_listener(*core_, local, dual_stack, backlog, options, user);
}

void Tcp::set_backlog(Listener& listener, uint32_t backlog) {
  listener.backlog = backlog;
}

void Tcp::close(Instant now, Listener* listener) {
  close_listener(*core_, now, *listener);
}

Connection* Tcp::accept(Listener& listener, uint32_t user) {
  return accept_connection(*core_, listener, user);
}

Listener* Tcp::find_listener(const wire::Endpoint& to) const {
  return match_listener(*core_, to);
}

void Tcp::write(Connection& c, Frame* frame) {
  Sender& s = c.snd;
  const bool open = c.state == State::kSynSent || c.state == State::kSynReceived ||
                    c.state == State::kEstablished || c.state == State::kCloseWait;
  if (!open || s.fin_queued || frame->length == 0) {
    core_->pool.release(frame);
    return;
  }
  TxQueue& q = s.queue;
  if (c.rate_based) look_for_app_limit(c);
  if (q.unsent) q.fill_tail(frame, s.mss_bytes, s.end);
  if (frame->length == 0) {
    core_->pool.release(frame);
    return;
  }
  const uint32_t length = frame->length;
  if (q.unsent && !note_of(q.tail).has(TxNote::kEndOfRecord)) {
    note_of(q.tail).flags &= uint16_t(~TxNote::kPush);  // the burst goes on
  }
  q.append(frame, s.end, 0);
  s.end += length;
}

uint32_t Tcp::write(Connection& c, std::span<const uint8_t> bytes, uint32_t frames_kept) {
  FramePool& pool = core_->pool;
  TxQueue& q = c.snd.queue;
  follow_path(*core_, c);
  const uint32_t full =
      std::min<uint32_t>(c.snd.mss_bytes, pool.frame_bytes() - FramePool::kTxHeadroom);
  const bool summed = !core_->ip.offloads(c.path).checksums;
  size_t at = 0;
  while (at < bytes.size() && pool.available() > frames_kept) {
    Frame* frame = pool.alloc();
    // What lacks to the last segment apart, so that the others are whole from the beginning.
    const uint32_t room = q.tail_room(full);
    const uint32_t length = std::min<uint32_t>(room ? room : full, uint32_t(bytes.size() - at));
    frame->length = length;
    uint16_t sum = 0;
    if (summed) {
      sum = wire::copy_and_sum(frame->data(), bytes.data() + at, length);
    } else {
      std::memcpy(frame->data(), bytes.data() + at, length);
    }
    at += length;
    write(c, frame);
    if (!summed || room || q.tail != frame) continue;
    note_of(frame).payload_sum = sum;
    note_of(frame).flags |= TxNote::kSummed;
  }
  return uint32_t(at);
}

void Tcp::push(Instant now, Connection& c, bool more) {
  TxQueue& q = c.snd.queue;
  if (!q.unsent) return;
  if (!more) note_of(q.tail).flags |= TxNote::kPush;
  c.more = more;
  send_pending(*core_, now, c);
  c.more = false;
}

void Tcp::end_record(Connection& c) {
  TxQueue& q = c.snd.queue;
  if (q.unsent) note_of(q.tail).flags |= TxNote::kEndOfRecord;
}

uint32_t Tcp::readable_bytes(const Connection& c) const {
  return c.rcv.queued_bytes;
}

uint32_t Tcp::read(Instant now, Connection& c, std::span<uint8_t> out) {
  const uint32_t n = copy_out(*core_, c, out);
  if (n > 0) after_read(*core_, now, c);
  return n;
}

bool Tcp::fin_received(const Connection& c) const {
  return c.rcv.fin_received;
}

bool Tcp::at_end(const Connection& c) const {
  return c.rcv.fin_received && c.rcv.queued_bytes == 0;
}

void Tcp::shutdown_write(Instant now, Connection& c) {
  if (c.snd.fin_queued) return;
  switch (c.state) {
    case State::kSynSent:
    case State::kSynReceived:
      queue_fin(*core_, c);  // goes out when the handshake is done
      return;
    case State::kEstablished:
      c.state = State::kFinWait1;
      break;
    case State::kCloseWait:
      c.state = State::kLastAck;
      break;
    default:
      return;
  }
  queue_fin(*core_, c);
  send_pending(*core_, now, c);
}

void Tcp::close(Instant now, Connection* c) {
  const bool unread = c->rcv.queued_bytes > 0;
  orphan(*core_, now, *c);
  if (c->state == State::kSynSent) {
    bury(*core_, *c);
  } else if (c->state == State::kSynReceived ||
             (unread && c->state != State::kClosed && c->state != State::kTimeWait)) {
    send_reset(*core_, now, *c);
    bury(*core_, *c);
  } else {
    shutdown_write(now, *c);
  }
  reap(*core_, *c);
}

void Tcp::abort(Instant now, Connection* c) {
  abort_or_drop(now, *c, true);
}

Error Tcp::describe(Instant now, Connection& c, net::ConnectionState& out) {
  return tcp::describe(now, c, out);
}

void Tcp::forget(Connection* c) {
  tcp::forget(*core_, *c);
}

Tcp::Lookup Tcp::find(const wire::FlowKey& flow) const {
  FlowNode* node = core_->find(flow, core_->flow_hash(flow));
  if (!node) return {};
  if (node->half_open) return {Found::kNotAccepted, nullptr};
  auto* c = static_cast<Connection*>(node);
  if (c->queued) return {Found::kNotAccepted, c};
  return {c->owned ? Found::kOwned : Found::kOrphan, c};
}

uint32_t Tcp::user(const Connection& c) const {
  return c.user;
}
uint32_t Tcp::user(const Listener& l) const {
  return l.user;
}
wire::FlowKey Tcp::flow(const Connection& c) const {
  return c.key;
}

bool Tcp::established(const Connection& c) const {
  return c.state != State::kClosed && c.state != State::kSynSent && c.state != State::kSynReceived;
}

Error Tcp::error(const Connection& c) const {
  return Error{c.error};
}

uint32_t Tcp::payload_mss_bytes(const Connection& c) const {
  return c.snd.mss_bytes;
}
uint64_t Tcp::acked_bytes(const Connection& c) const {
  return c.stats.bytes_acked;
}

uint32_t Tcp::send_buffer_bytes(const Connection& c) const {
  if (c.send_buffer_fixed) return c.send_buffer_bytes;
  // Twice what congestion control lets out, so that the next window's data is there when this one's
  // ACKs arrive (Linux's sndbuf expansion). Frames are what memory is counted in: with a small MSS
  // a byte costs more of it.
  const StackOptions& o = core_->options;
  const uint64_t wanted = std::max<uint64_t>(c.send_buffer_bytes, 2ull * c.window.cwnd_bytes);
  const bool scarce = core_->pool.available() < core_->pool.capacity() / 4;
  const uint64_t limit = scarce ? c.send_buffer_bytes : o.send_buffer_max_bytes;
  const uint64_t frames = std::max<uint64_t>(limit / 1024, 64);
  return uint32_t(std::min({wanted, limit, frames * c.snd.mss_bytes}));
}

// Whatever Nagle and the cork say.
void Tcp::flush(Instant now, Connection& c) {
  c.push_once = true;
  send_pending(*core_, now, c);
  c.push_once = false;
}

void Tcp::set_option(Instant now, Connection& c, Option option, uint32_t value) {
  switch (option) {
    case Option::kNodelay:
      c.nodelay = value != 0;
      if (c.nodelay) flush(now, c);
      return;
    case Option::kKeepalive:
      c.keepalive = value != 0;
      break;
    case Option::kKeepaliveIdle:
      c.keepalive_idle_s = std::clamp<uint32_t>(value, 1, 32767);
      break;
    case Option::kKeepaliveInterval:
      c.keepalive_interval_s = std::clamp<uint32_t>(value, 1, 32767);
      break;
    case Option::kKeepaliveProbes:
      c.keepalive_probes = uint8_t(std::clamp<uint32_t>(value, 1, 127));
      break;
    case Option::kUserTimeout:
      c.user_timeout_ms = value;
      return;
    case Option::kReceiveBuffer:
      c.rcv.buffer_bytes =
          std::clamp<uint32_t>(value, 2048, core_->options.receive_buffer_max_bytes);
      c.rcv.buffer_fixed = true;
      return;
    case Option::kSendBuffer:
      c.send_buffer_bytes = std::clamp<uint32_t>(value, 2048, core_->options.send_buffer_max_bytes);
      c.send_buffer_fixed = true;
      return;
    case Option::kTrafficClass:
      c.traffic_class = uint8_t(value);
      return;
    case Option::kMssMax:
      c.snd.mss_max_bytes = uint16_t(std::min<uint32_t>(value, 65535));
      update_mss(*core_, c);
      return;
    case Option::kCork:
      c.corked = value != 0;
      if (!c.corked) send_pending(*core_, now, c);
      return;
    case Option::kQuickAck:
      c.rcv.interactive = value == 0;
      if (value && c.rcv.ack_pending && c.rcv.queued_bytes == 0) send_ack(*core_, now, c);
      return;
    case Option::kLinger2:
      c.linger2_s = int16_t(value);
      return;
    case Option::kSynRetries:
      c.syn_retries = uint8_t(value);
      return;
    case Option::kWindowClamp:
      c.rcv.clamp_bytes = value;
      return;
    case Option::kReadShut:
      c.read_closed = value != 0;
      return;
    case Option::kCongestion:
      if (value < kCongestionControls) change_congestion(now, c, CongestionControl(value));
      return;
    case Option::kWriterWaits:
      c.writer_waits = value != 0;
      if (!value) c.send_clock.stop(now, SendClock::kSendBuffer, !c.snd.queue.head);
      return;
  }
  if (established(c)) restart_keepalive(*core_, now, c);
}

Error Tcp::set_congestion_control(Instant now, Connection& c, std::string_view name) {
  const auto algorithm = congestion_control_named(name);
  if (!algorithm) return Error{ENOENT};
  change_congestion(now, c, *algorithm);
  return kOk;
}

// What is in force already goes on, with all that it has learnt (Linux).
void Tcp::change_congestion(Instant now, Connection& c, CongestionControl algorithm) {
  if (name_of(algorithm) == std::string_view(c.congestion().name())) return;
  c.congestion().~CongestionController();
  c.use_congestion(algorithm);
  if (!established(c)) return;
  begin_congestion_control(c, now);
  recover_with_other_congestion_control(c);
}

void Tcp::set_congestion_control(Listener& l, CongestionControl algorithm) {
  l.options.congestion = algorithm;
}

Info Tcp::info(const Connection& c) const {
  Info i;
  i.state = uint8_t(c.state);
  i.congestion = c.congestion().name();
  i.rto_us = uint32_t(current_rto(*core_, c).micros());
  i.srtt_us = c.rtt.srtt_us();
  i.rttvar_us = c.rtt.rttvar_us();
  i.min_rtt_us = c.rtt.min_us();
  i.mss_bytes = c.snd.mss_bytes;
  i.cwnd_bytes = c.window.cwnd_bytes;
  i.ssthresh_bytes = c.window.ssthresh_bytes;
  i.pacing_bytes_per_s = c.window.pacing_bytes_per_s;
  i.send_window_bytes = c.snd.window_bytes;
  i.receive_window_bytes = offered_window(c);
  i.bytes_sent = c.stats.bytes_sent;
  i.bytes_acked = c.stats.bytes_acked;
  i.bytes_received = c.stats.bytes_received;
  i.bytes_retransmitted = c.stats.bytes_resent;
  i.segments_sent = c.stats.segments_sent;
  i.segments_received = c.stats.segments_received;
  i.segments_retransmitted = c.stats.segments_resent;
  return i;
}

void Tcp::send_held_acks(Instant now, HeldAcks which) {
  List<Connection, HeldTag> again;
  while (Connection* c = core_->held_acks.pop_front()) {
    if (c->state == State::kClosed) continue;
    if (which == HeldAcks::kSeen && c->rcv.queued_bytes > 0 && !c->rcv.ack_held_again) {
      c->rcv.ack_held_again = true;
      again.push_back(c);
    } else {
      send_ack(*core_, now, *c);
    }
  }
  while (Connection* c = again.pop_front()) core_->held_acks.push_back(c);
}

bool Tcp::has_held_acks() const {
  return !core_->held_acks.empty();
}

uint32_t Tcp::connection_count() const {
  return core_->connections.live();
}

uint32_t Tcp::listener_count() const {
  return core_->listeners.live();
}

uint32_t Tcp::unsettled_count() const {
  uint32_t count = 0;
  for (FlowNode* n = core_->all.front(); n; n = core_->all.next(n)) {
    if (!n->half_open && static_cast<Connection*>(n)->snd.queue.head) ++count;
  }
  return count;
}

const ConnectionOptions& Tcp::defaults() const {
  return core_->options.defaults;
}

StackOptions& Tcp::options() {
  return core_->options;
}

void Tcp::close_all(Instant now, bool reset) {
  while (Listener* l = core_->all_listeners.front()) {
    while (Connection* c = l->acceptable.front()) abort_or_drop(now, *c, reset);
    close_listener(*core_, now, *l);
  }
  while (FlowNode* node = core_->all.front()) {
    abort_or_drop(now, *static_cast<Connection*>(node),
                  reset);  // half-open ones went with listeners
  }
}

void Tcp::abort_or_drop(Instant now, Connection& c, bool reset) {
  const bool silent =
      c.state == State::kClosed || c.state == State::kSynSent || c.state == State::kTimeWait;
  if (reset && !silent) send_reset(*core_, now, c);
  leave_accept_queue(c);
  c.owned = false;
  bury(*core_, c);
  reap(*core_, c);
}

void Tcp::interface_gone(uint8_t interface) {
  FlowNode* next = nullptr;
  for (FlowNode* node = core_->all.front(); node; node = next) {
    next = core_->all.next(node);
    if (node->half_open) continue;  // nobody knows of it but its peer
    auto& c = *static_cast<Connection*>(node);
    if (c.path.interface != interface) continue;
    fail_connection(*core_, c, ENETDOWN);
    reap(*core_, c);
  }
}

void Tcp::receive(Instant now, std::span<const net::Received> burst) {
  input_burst(*core_, now, burst);
}

void Tcp::icmp_error(Instant now, const net::IcmpError& error) {
  take_icmp_error(*core_, now, error);
}

const Counters& Tcp::counters() const {
  return core_->counters;
}

}  // namespace millrace::tcp
