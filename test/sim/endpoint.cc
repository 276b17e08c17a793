// SPDX-License-Identifier: MIT
#include "sim/endpoint.h"

#include <algorithm>
#include <cstdio>

#include "sim/content.h"
#include "sim/host.h"
#include "sim/world.h"

namespace millrace::sim {

namespace {
const EndpointPlan& plan_of(const World& world, uint32_t connection, bool client) {
  const ConnectionPlan& plan = world.scenario().connections[connection];
  return client ? plan.client : plan.server;
}

constexpr uint32_t kConnected = 1, kRead = 2, kEnd = 3, kError = 4, kWrote = 5, kClosed = 6;
}  // namespace

Endpoint::Endpoint(World& world, uint32_t connection, bool client)
    : world_(world),
      number_(connection),
      client_(client),
      plan_(plan_of(world, connection, client)),
      peer_plan_(plan_of(world, connection, !client)),
      key_out_(stream_key(world.scenario().seed, connection, client)),
      key_in_(stream_key(world.scenario().seed, connection, !client)) {}

void Endpoint::fail(const std::string& what) {
  world_.fail(describe() + ": " + what);
}

bool Endpoint::may_break() const {
  return world_.scenario().connections[number_].may_break;
}

std::string Endpoint::describe() const {
  char text[256];
  std::snprintf(text, sizeof(text),
                "connection %u %s (read %llu of %llu, written %llu of %llu, %s%s%s%s%s)", number_,
                client_ ? "client" : "server", (unsigned long long)read_,
                (unsigned long long)peer_plan_.send_bytes, (unsigned long long)written_,
                (unsigned long long)plan_.send_bytes,
                !host_          ? "never opened"
                : !established_ ? "not connected"
                                : "open",
                shut_ ? ", shut" : "", at_end_ ? ", at end" : "", error_ ? ", failed" : "",
                finished_ ? ", closed" : "");
  return text;
}

void Endpoint::attach(Instant now, Host& host, tcp::Connection* connection, bool established) {
  host_ = &host;
  connection_ = connection;
  established_ = established;
  dirty_ = true;
  if (established) world_.checker().note(now, kConnected, number_);
  world_.progress();
}

void Endpoint::step(Instant now) {
  dirty_ = false;
  if (wake_at_ <= now) wake_at_ = Instant::never();
  if (!connection_ || finished_) return;
  const uint64_t acked = established_ ? host_->tcp().acked_bytes(*connection_) : 0;
  if (acked < acked_ || acked > written_) fail("acked_bytes() is " + std::to_string(acked));
  if (acked != acked_) world_.progress();
  acked_ = acked;
  do_read(now);
  if (error_) return check_error(now);
  if (plan_.fidget) fidget(now);
  if (!established_ && !plan_.early) return;
  do_write(now);
  // close() and abort() before that only end the attempt, and the peer never hears of it.
  if (!established_ && plan_.ending != Ending::kShutdown) return;
  do_ending(now);
}

// What programs do to their sockets at any time.
void Endpoint::fidget(Instant now) {
  Random& random = world_.random();
  if (!random.chance(plan_.fidget)) return;
  tcp::Tcp& tcp = host_->tcp();
  tcp::Connection& c = *connection_;
  switch (random.below(9)) {
    case 0:
    case 1:
    case 2:
      return tcp.set_option(now, c, tcp::Option::kNodelay, random.below(2));
    case 3:
      return tcp.set_option(now, c, tcp::Option::kReceiveBuffer, 2048 + random.below(100'000));
    case 4:
      return tcp.set_option(now, c, tcp::Option::kSendBuffer, 2048 + random.below(100'000));
    case 5:
      return tcp.set_option(now, c, tcp::Option::kKeepaliveIdle, 20 + random.below(60));
    case 6:
      tcp.set_option(now, c, tcp::Option::kKeepalive, 0);
      return tcp.set_option(now, c, tcp::Option::kKeepalive, 1);
    case 7:
      static constexpr const char* kNames[] = {"cubic", "reno", "bbr"};
      return (void)tcp.set_congestion_control(now, c, kNames[random.below(3)]);
    default:
      return tcp.push(now, c);
  }
}

bool Endpoint::paused(Instant now) {
  if (next_pause_ < plan_.read_pauses.size() && read_ >= plan_.read_pauses[next_pause_].at_offset) {
    paused_until_ = now + plan_.read_pauses[next_pause_++].length;
    world_.progress();
  }
  const Instant until = std::max(paused_until_, read_next_);
  if (until > now) wake(until);
  return until > now;
}

void Endpoint::do_read(Instant now) {
  uint8_t buffer[65536];
  tcp::Tcp& tcp = host_->tcp();
  while (!at_end_ && !paused(now)) {
    const uint32_t readable = tcp.readable_bytes(*connection_);
    const uint32_t want = std::min<uint32_t>(plan_.read_bytes_max, sizeof(buffer));
    const uint32_t got = tcp.read(now, *connection_, std::span(buffer).first(want));
    if (got != std::min(readable, want)) return fail("read() and readable_bytes() disagree");
    if (got == 0) break;
    world_.progress();
    world_.checker().note(now, kRead, uint64_t(number_) << 32 | got);
    if (!world_.scenario().hostile) {
      const size_t good = check_content(key_in_, read_, std::span(buffer).first(got));
      if (good != got) return fail("wrong byte read at offset " + std::to_string(read_ + good));
      if (read_ + got > world_.endpoint(number_, !client_).written()) {
        return fail("read more than was written");
      }
    }
    read_ += got;
    if (plan_.read_pace.ns) read_next_ = now + plan_.read_pace;
  }
  if (!at_end_ && tcp.at_end(*connection_)) {
    at_end_ = true;
    world_.progress();
    world_.checker().note(now, kEnd, number_);
    if (!world_.scenario().hostile && read_ != peer_plan_.send_bytes &&
        world_.endpoint(number_, !client_).plan().ending < Ending::kAbort) {
      fail("end of the stream before its last byte");
    }
  }
  if (at_end_ && tcp.readable_bytes(*connection_) != 0) fail("bytes after the end");
}

uint64_t Endpoint::may_write() const {
  uint64_t limit = plan_.send_bytes;
  if (plan_.after_end && !at_end_) limit = 0;
  if (plan_.echo) limit = std::min(limit, read_);
  if (plan_.lockstep) limit = std::min(limit, read_ + plan_.write_bytes_max);
  limit = std::min<uint64_t>(limit, acked_ + host_->tcp().send_buffer_bytes(*connection_));
  return limit > written_ ? limit - written_ : 0;
}

void Endpoint::do_write(Instant now) {
  if (shut_) return;
  tcp::Tcp& tcp = host_->tcp();
  bool wrote = false;
  while (const uint64_t room = may_write()) {
    if (write_next_ > now) {
      wake(write_next_);
      break;
    }
    Frame* frame = host_->alloc_for_application();
    if (!frame) {
      wake(now + Duration::millis(5));
      break;
    }
    const uint32_t length = uint32_t(
        std::min<uint64_t>({room, plan_.write_bytes_max,
                            std::max(tcp.payload_mss_bytes(*connection_), 1u), frame->tailroom()}));
    frame->length = length;
    fill_content(key_out_, written_, frame->bytes());
    tcp.write(*connection_, frame);
    written_ += length;
    wrote = true;
    world_.checker().note(now, kWrote, uint64_t(number_) << 32 | length);
    if (plan_.push_each) tcp.push(now, *connection_);
    if (plan_.write_pause.ns) write_next_ = now + plan_.write_pause;
    if (plan_.ending >= Ending::kAbort && written_ + read_ >= plan_.end_at) break;
  }
  if (wrote) {
    world_.progress();
    tcp.push(now, *connection_);
  }
}

void Endpoint::do_ending(Instant now) {
  const bool all_written = written_ == plan_.send_bytes;
  switch (plan_.ending) {
    case Ending::kAbort:
    case Ending::kCloseUnread:
      if (written_ + read_ >= plan_.end_at || (all_written && at_end_)) {
        return finish(now, plan_.ending == Ending::kAbort);
      }
      break;
    case Ending::kCloseWritten:
      if (all_written) return finish(now, false);
      break;
    case Ending::kAfterPeer:
      if (!at_end_) return;
      break;
    case Ending::kShutdown:
      break;
  }
  if (all_written && !shut_ && plan_.ending < Ending::kAbort) {
    shut_ = true;
    host_->tcp().shutdown_write(now, *connection_);
    world_.progress();
  }
  if (shut_ && at_end_) finish(now, false);
}

void Endpoint::give_up(Instant now) {
  if (!connection_ || finished_) return;
  excused_ = true;
  finish(host_->here(now), true);
}

void Endpoint::finish(Instant now, bool abort) {
  finished_ = true;
  world_.progress();
  world_.checker().note(now, kClosed, number_);
  tcp::Connection* connection = connection_;
  connection_ = nullptr;
  if (abort) {
    host_->tcp().abort(now, connection);
  } else {
    host_->tcp().close(now, connection);
  }
}

// A connection may only die for a reason that the scenario gave it.
void Endpoint::check_error(Instant now) {
  if (paused(now)) return;  // reads what came before the error, at its own pace
  const Scenario& scenario = world_.scenario();
  const ConnectionPlan& plan = scenario.connections[number_];
  const Endpoint& peer = world_.endpoint(number_, !client_);
  world_.checker().note(now, kError, uint64_t(error_.code));
  const bool heavy =
      std::string_view(scenario.profile) == "heavy" || std::string_view(scenario.profile) == "cuts";
  bool allowed = scenario.hostile || world_.dead() || plan.abortive();
  allowed = allowed || (heavy && !established_ && error_.code == ETIMEDOUT);
  // A half-open connection is given up after half a minute (Linux), and a cut may last that long.
  allowed = allowed || (heavy && read_ == 0 && (plan.simultaneous || !peer.attached()));
  excused_ = allowed;
  // A handshake with a cookie leaves nothing on the server: when its ACK is lost and the client has
  // nothing to say, nobody is there once the cookie is old.
  const Host& server = world_.host(plan.server_host);
  const bool cookies = server.cookies_sent() > 0;
  excused_ = excused_ || (client_ && cookies && !peer.attached() && written_ == 0);
  // A jump of the clock makes a round trip of the same length, and back-offs with it: what has
  // closed meanwhile gives up (Linux's tcp_orphan_retries).
  excused_ = excused_ || (scenario.clock_jumps() && (peer.finished() || !peer.attached()));
  // So does one on a bad path: a round trip that was measured through many losses makes a timeout
  // of a minute, and an orphan has no more than two minutes.
  excused_ = excused_ || (heavy && peer.finished());
  allowed = allowed || excused_;
  // Everything was read; who closed at once and is forgotten by its stack answers with a reset.
  const bool forgotten = peer_plan_.ending == Ending::kCloseWritten;
  allowed = allowed || (at_end_ && forgotten && written_ == plan_.send_bytes);
  allowed = allowed || (at_end_ && peer.at_end() && written_ == plan_.send_bytes);
  allowed = allowed || (plan.refused && (error_.code == ECONNREFUSED || heavy));
  const bool known = error_.code == ECONNRESET || error_.code == ETIMEDOUT ||
                     error_.code == ECONNREFUSED || error_.code == EPIPE ||
                     error_.code == EHOSTUNREACH || error_.code == ENETUNREACH;
  if (!allowed || !known) fail("error " + std::to_string(error_.code) + " for no reason");
  finish(now, false);
}

}  // namespace millrace::sim
