// SPDX-License-Identifier: MIT
// TCP (RFC 9293) as the rest of the stack sees it. The protocol's work is split by verb over the
// files of this folder; this one is the door. All calls come from the holder of the stack's baton,
// with `now`.
//
// Upcalls only note what is to be done and never call back into Tcp. A Connection lives until its
// user calls close() or abort(); after close() it goes on as an orphan (FIN, TIME-WAIT) without
// upcalls and is freed by itself.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/random.h"
#include "base/result.h"
#include "base/timer_wheel.h"
#include "net/connection_state.h"
#include "net/ip_layer.h"
#include "tcp/counters.h"
#include "tcp/options.h"
#include "wire/ip_address.h"

namespace millrace::tcp {

class Connection;
class Listener;
struct Core;

class Handler {
 public:
  virtual ~Handler() = default;
  // connect() has succeeded.
  virtual void on_connected(Connection& connection) = 0;
  // accept() would return a connection.
  virtual void on_acceptable(Listener& listener) = 0;
  // New in-order bytes, or the peer's FIN behind the last of them.
  virtual void on_readable(Connection& connection) = 0;
  // The peer acknowledged bytes: acked_bytes() has grown, or the limits of info() changed.
  virtual void on_acked(Connection& connection) = 0;
  // The connection is dead: ECONNREFUSED, ECONNRESET, ETIMEDOUT, EHOSTUNREACH, EPIPE. Bytes
  // received before can still be read. The user still has to close() it.
  virtual void on_error(Connection& connection, Error error) = 0;
  // The 4-tuple of a connection that was opened or accepted here is free again: closed, failed, or
  // at the end of its TIME-WAIT. Comes before or after the user's close().
  virtual void on_freed(const wire::FlowKey& flow) {}
  // A SYN for a listener cannot be answered: no way to its sender leads over an interface of ours.
  virtual void on_no_route_back(const wire::FlowKey& flow) {}
  // A segment for which there is no connection: is there one in the kernel? Then it only came late,
  // and is sent again to there.
  virtual bool is_kernels(const wire::FlowKey& flow) { return false; }
};

struct Info {                   // the terms of Linux's TCP_INFO
  uint8_t state = 0;            // RFC 9293 state, Linux's numbers (1 = ESTABLISHED)
  const char* congestion = "";  // the algorithm's name, one of TCP_CONGESTION's
  uint32_t rto_us = 0, srtt_us = 0, rttvar_us = 0, min_rtt_us = 0;
  uint32_t mss_bytes = 0, cwnd_bytes = 0, ssthresh_bytes = 0;
  uint64_t pacing_bytes_per_s = 0;  // 0: not paced
  uint32_t send_window_bytes = 0, receive_window_bytes = 0;
  uint64_t bytes_sent = 0, bytes_acked = 0, bytes_received = 0, bytes_retransmitted = 0;
  uint32_t segments_sent = 0, segments_received = 0, segments_retransmitted = 0;
};

class Tcp final : public net::TransportHandler {
 public:
  Tcp(FramePool& pool, net::IpLayer& ip, TimerWheel& timers, Random& random, Handler& handler,
      const StackOptions& options);
  ~Tcp() override;

  // --- opening
  // `local.port` must be given (the caller owns the port space). EADDRINUSE: the 4-tuple is alive;
  // ENETUNREACH, EADDRNOTAVAIL from the path; ENOBUFS past connections_max. `user` is the caller's
  // number for the connection.
  Result<Connection*> connect(Instant now, const wire::Endpoint& local,
                              const wire::Endpoint& remote, const ConnectionOptions& options,
                              uint32_t user);
  // EADDRINUSE; ENFILE past listeners_max. `dual_stack`: a listener on :: takes IPv4 too.
  Result<Listener*> listen(const wire::Endpoint& local, bool dual_stack, uint32_t backlog,
                           const ConnectionOptions& options, uint32_t user);
  void set_backlog(Listener& listener, uint32_t backlog);
  // Connections not yet accepted are reset.
  void close(Instant now, Listener* listener);
  // The oldest connection whose handshake is complete, now the caller's with number `user`; null if
  // none. What it has received until now was not announced: look at readable_bytes() and at_end().
  Connection* accept(Listener& listener, uint32_t user);
  // The listener that a SYN to `to` would reach; null if none.
  Listener* find_listener(const wire::Endpoint& to) const;

  // --- data
  // Appends the frame's bytes to the send queue and takes over the reference; the frame's headroom
  // must be at least FramePool::kTxHeadroom. Nothing is sent before push(). Small frames are
  // merged.
  void write(Connection& connection, Frame* frame);
  // The same with a copy of `bytes`, or of so many of them that `frames_kept` stay in the pool; how
  // many.
  uint32_t write(Connection& connection, std::span<const uint8_t> bytes, uint32_t frames_kept);
  // Sends what window, congestion and Nagle allow. `more`: another write follows at once, a last
  // short segment waits for it.
  void push(Instant now, Connection& connection, bool more = false);
  // Nothing that is written later shares a segment with what is in the queue now (MSG_EOR).
  void end_record(Connection& connection);
  // Sends the ACKs that were held and found no segment to travel with (StackOptions::hold_acks).
  // kSeen: one for bytes that nobody has read yet waits once more. Whoever begins to read now, of
  // a connection just accepted for instance, may answer in the next turn.
  enum class HeldAcks : uint8_t { kSeen, kAll };
  void send_held_acks(Instant now, HeldAcks which = HeldAcks::kAll);
  bool has_held_acks() const;
  uint32_t readable_bytes(const Connection& connection) const;
  // Copies in-order bytes out, frees their frames and opens the window. Returns the bytes copied.
  uint32_t read(Instant now, Connection& connection, std::span<uint8_t> out);
  // The peer's FIN has arrived, and everything before it: nothing more comes to be read.
  bool fin_received(const Connection& connection) const;
  // The same, and everything has been read.
  bool at_end(const Connection& connection) const;
  // Sends FIN behind the queue.
  void shutdown_write(Instant now, Connection& connection);
  // Gives the connection up: FIN behind the queue, or RST when received bytes were not read (RFC
  // 2525 2.17).
  void close(Instant now, Connection* connection);
  // RST and gone.
  void abort(Instant now, Connection* connection);

  // --- handing over (hand_over.h)
  // What somebody else needs to go on with the connection; the bytes lie in its frames. ENOTCONN:
  // there is nothing to go on with.
  Error describe(Instant now, Connection& connection, net::ConnectionState& out);
  // Frees it, owned or not, without a word to the peer.
  void forget(Connection* connection);
  enum class Found : uint8_t { kNothing, kOwned, kOrphan, kNotAccepted };
  struct Lookup {
    Found found = Found::kNothing;
    Connection* connection = nullptr;  // unless it is nothing or half open
  };
  Lookup find(const wire::FlowKey& flow) const;

  // --- facts
  uint32_t user(const Connection& connection) const;
  uint32_t user(const Listener& listener) const;
  wire::FlowKey flow(const Connection& connection) const;
  bool established(const Connection& connection) const;
  // What ended the connection; none while it lives. One that was reset before accept() took it
  // reports its end only here.
  Error error(const Connection& connection) const;
  // Payload bytes one segment carries at present, options deducted: the size to fill frames to.
  uint32_t payload_mss_bytes(const Connection& connection) const;
  uint64_t acked_bytes(const Connection& connection) const;        // of those given to write()
  uint32_t send_buffer_bytes(const Connection& connection) const;  // how much may be unacknowledged
  void set_option(Instant now, Connection& connection, Option option, uint32_t value);
  // "cubic", "reno", "bbr"; ENOENT for others. In the middle of a recovery the new algorithm is
  // told of the loss.
  Error set_congestion_control(Instant now, Connection& connection, std::string_view name);
  // For the connections whose handshake begins from now on.
  void set_congestion_control(Listener& listener, CongestionControl algorithm);
  Info info(const Connection& connection) const;
  uint32_t connection_count() const;
  uint32_t listener_count() const;
  // Connections with bytes or a FIN that the peer has not acknowledged. Walks all of them.
  uint32_t unsettled_count() const;
  // What a connection gets whose user asks for nothing.
  const ConnectionOptions& defaults() const;
  // May be changed at any time; what is open already keeps what it began with, as far as that
  // was fixed then.
  StackOptions& options();
  // Frees everything at once, without a word to the peers when `reset` is false.
  void close_all(Instant now, bool reset);

  // Nothing leads over the interface any more: what went by it has ended (ENETDOWN). Walks all
  // connections.
  void interface_gone(uint8_t interface);

  void receive(Instant now, std::span<const net::Received> burst) override;
  void icmp_error(Instant now, const net::IcmpError& error) override;
  const Counters& counters() const;

 private:
  void flush(Instant now, Connection& connection);
  void change_congestion(Instant now, Connection& connection, CongestionControl algorithm);
  void abort_or_drop(Instant now, Connection& connection, bool reset);
  std::unique_ptr<Core> core_;
};

}  // namespace millrace::tcp
