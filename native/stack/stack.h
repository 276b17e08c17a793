// SPDX-License-Identifier: MIT
// The stack as one thing: packet memory, Internet layer, TCP, UDP, the ports, and the two rings
// that JavaScript talks through. It runs in turns: commands -> timers -> receive -> protocol ->
// send -> events. Single-threaded: the caller (the driver) holds the baton.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/random.h"
#include "base/timer_wheel.h"
#include "net/ip_layer.h"
#include "packet/frame_pool.h"
#include "port/port.h"
#include "stack/counters.h"
#include "stack/flow_director.h"
#include "stack/shared_layout.h"
#include "stack/slab_queue.h"
#include "stack/slots.h"
#include "tcp/tcp.h"
#include "udp/udp.h"

namespace millrace {

struct StackConfig {
  uint32_t frames = 16384;
  uint32_t frame_bytes = 2048;
  SharedSizes shared;
  net::Limits net;
  udp::Options udp;
  tcp::StackOptions tcp;
  // What arrives while a turn is at work gets its own time: with the turn's, the answer to a
  // segment of this very turn would seem to take no time at all, and RACK would wait for nothing.
  // Null: a turn is a point in (virtual) time.
  Instant (*clock)() = nullptr;
};

class Stack final : tcp::Handler, udp::Handler {
 public:
  Stack(const StackConfig& config, Random random, Instant now);
  ~Stack() override;

  // --- wiring, before the first turn
  FramePool& pool() { return pool_; }
  TimerWheel& timers() { return timers_; }
  Random& random() { return random_; }
  net::IpLayer& ip() { return ip_; }
  const SharedArea& shared() const { return shared_; }
  // Takes the port over. `local_everywhere`: see IpLayer::attach().
  void add_port(std::unique_ptr<Port> port, const net::LinkConfig& link, bool local_everywhere);
  // Who steers flows to us and reserves ports with the kernel; null where there is nothing to
  // steer.
  void set_director(std::unique_ptr<FlowDirector> director);
  // Whoever answers for neighbours where no director does: lives as long as the layer it answers.
  void keep(std::unique_ptr<net::NeighborResolver> resolver) { resolver_ = std::move(resolver); }

  // --- running
  // One turn. Returns true when there is more to do at once (the budget of frames was used up, or
  // events did not fit).
  bool turn(Instant now, uint32_t frames_budget);
  // The same, counted as the guardian's.
  bool guardian_turn(Instant now, uint32_t frames_budget) {
    ++counters_.guardian_turns;
    const bool more = turn(now, frames_budget);
    tcp_.send_held_acks(now);  // JavaScript is busy: nobody answers soon
    ip_.flush(now);
    return more;
  }
  // When the next turn is due though nothing arrives.
  Instant next_deadline() const;
  bool rx_ready() const;
  // Something that a dead loop would harm: connections, and those that are about to come.
  // Commands were taken outside of a turn, and the next one is to send what they wrote; or the
  // kernel has told what ended connections, and the next turn is to publish that.
  bool has_unpushed() const { return !written_.empty() || any_ended_; }
  bool worth_guarding() const { return tcp_.connection_count() + tcp_.listener_count() > 0; }
  // Gives up every connection the application still has (FIN, or RST with unread bytes).
  void close_sockets(Instant now);
  // Bytes or FINs that a peer has not acknowledged yet.
  bool has_unsettled() const;

  // --- rare operations, called with the baton held; slots or positive errno numbers
  struct Opened {
    uint32_t slot = 0;
    wire::FlowKey flow;
  };
  // ENETUNREACH: not reached through any of our interfaces; the kernel's business. `local.port` 0:
  // chosen here.
  Result<Opened> connect(Instant now, const wire::Endpoint& local, const wire::Endpoint& remote);
  Result<uint32_t> listen(Instant now, const wire::Endpoint& local, bool dual_stack,
                          uint32_t backlog);
  Result<uint32_t> bind(Instant now, const wire::Endpoint& local, bool dual_stack);
  Error udp_connect(uint32_t slot, const wire::Endpoint& remote);
  void udp_disconnect(uint32_t slot);
  // Takes (or leaves) the datagrams of a group for a socket that has joined it in the kernel, on
  // the interface with the kernel's number `ifindex` or, when that is 0, with the address `by`
  // (which may be unspecified: where the kernel's route leads). ENODEV: that is none of our
  // interfaces.
  struct Membership {
    wire::IpAddress group;
    wire::IpAddress source;  // unspecified: any
    wire::IpAddress by;
    uint32_t ifindex = 0;
  };
  Error udp_join(Instant now, uint32_t slot, const Membership& wanted);
  Error udp_leave(uint32_t slot, const Membership& wanted);
  // The longest payload that goes from this socket to `remote` through us as one packet; 0: not
  // through us. Holds until the epoch in the shared header changes.
  uint32_t udp_limit_bytes(uint32_t slot, const wire::Endpoint& remote);
  // The control plane's descriptor is readable.
  void follow_kernel(Instant now);
  // Makes the kernel go on with connections in mid-stream (hand_over.cc): all of them, or none and
  // an error. `unread`: bytes that JavaScript has been given and the program has not seen, in front
  // of those that are here. Between sockets of this process both ends leave together.
  struct Leaving {
    uint32_t slot = 0;
    net::Pieces unread;
    bool wide = false;  // the program knows the addresses as IPv6
  };
  struct HandedOver {
    int fd = -1;
    std::vector<uint8_t> unsent;  // for which the kernel had no memory
  };
  Error hand_over(Instant now, std::span<const Leaving> ends, std::vector<HandedOver>& out);
  // The other end's socket, if the program has it in this stack too.
  std::optional<uint32_t> peer_of(uint32_t slot) const;
  // What TCP knows of a connection, with what JavaScript has asked for until now; none: it is not
  // there.
  std::optional<tcp::Info> tcp_info(Instant now, uint32_t slot);
  void set_listener_congestion(uint32_t slot, tcp::CongestionControl algorithm);
  // True when a connection to `remote` would be ours.
  bool tcp_reaches(const wire::Endpoint& remote);
  // Closes behind all commands that wait.
  void close_now(Instant now, uint32_t slot);
  void add_slab(uint8_t* memory, uint32_t bytes, uint32_t id) { slabs_.add(memory, bytes, id); }
  // A kBulk event has reached JavaScript: how many bytes it may take now (0: none, or there is no
  // such socket any more). If that is not 0, either of the other two is called next.
  uint32_t answer_bulk(uint32_t slot, uint32_t generation);
  // Copies them out: they are JavaScript's. A turn is due afterwards.
  void take_bulk(Instant now, uint32_t slot, std::span<uint8_t> out);
  // Behind what JavaScript has commanded until now: copies the bytes, or as many as there is free
  // memory for, and returns their number. A turn is due afterwards, before too many are waiting for
  // it.
  uint32_t write_bulk(Instant now, uint32_t slot, uint32_t generation,
                      std::span<const uint8_t> bytes);
  bool writes_enough() const { return bulk_frames_ >= kBulkFramesMax; }
  // There was no memory for them: the event comes again.
  void repeat_bulk(uint32_t slot) { mark(slot, Slot::kReadable); }

  // Calls visit(group, name, meaning, value) for every counter.
  template <typename Visit>
  void each_counter(Visit&& visit) const;
  std::span<const std::unique_ptr<Port>> ports() const { return {ports_.data(), port_count_}; }
  FlowDirector* director() { return director_.get(); }
  uint32_t sockets_live() const { return slots_.live(); }

 private:
  static constexpr uint32_t kBulkFramesMax = 64;  // as many as JavaScript's commands of one turn
  // tcp::Handler, udp::Handler: they only mark slots.
  void on_connected(tcp::Connection& connection) override;
  void on_acceptable(tcp::Listener& listener) override;
  void on_readable(tcp::Connection& connection) override;
  void on_acked(tcp::Connection& connection) override;
  void on_error(tcp::Connection& connection, Error error) override;
  void on_freed(const wire::FlowKey& flow) override;
  void on_no_route_back(const wire::FlowKey& flow) override;
  bool is_kernels(const wire::FlowKey& flow) override;
  void on_readable(udp::Socket& socket) override;
  void on_error(udp::Socket& socket, Error error) override;

  // commands.cc
  void take_commands(Instant now);
  uint32_t frames_kept() const;
  void execute(Instant now, const uint32_t* command);
  void execute_connection(Instant now, Command op, Slot& slot, const uint32_t* args);
  void execute_datagram(Instant now, Command op, Slot& slot, const uint32_t* args);
  void deliver_locally(Instant now);
  void note_write(Slot& slot);
  void wake_writer(Slot& slot);
  Frame* take_frame(uint32_t index, uint32_t length);

  // publish.cc
  bool publish(Instant now);
  bool publish_slot(Instant now, Slot& slot);
  bool publish_connection(Instant now, Slot& slot);
  bool publish_data(Instant now, Slot& slot);
  bool publish_bulk(Slot& slot, uint32_t readable);
  bool publish_pieces(Instant now, Slot& slot, uint32_t readable);
  void note_published(const Slot& slot, uint32_t bytes);
  bool publish_accepts(Slot& slot);
  bool publish_messages(Slot& slot);
  uint32_t* next_event(Event type, const Slot& slot);
  uint32_t* next_record(Event type);
  void commit_event();
  void refresh_socket_line(Slot& slot);
  void offer_frames();
  uint32_t frames_free() const;

  // hand_over.cc
  struct Leaver;
  Error describe_ends(Instant now, std::span<const Leaving> ends, std::vector<Leaver>& leavers);
  Error describe_orphan(Instant now, const wire::FlowKey& flow, std::vector<Leaver>& leavers);
  void drain(Instant now);

  uint32_t receive_burst(Instant now, uint32_t budget);
  void push_written(Instant now);
  void mark(uint32_t index, uint8_t what);
  void next_epoch();
  void release_slot(Instant now, Slot& slot, bool abort);
  struct PortSearch {
    uint32_t first;       // of the range, at random
    uint32_t looked = 0;  // how many ports were looked at
  };
  Result<udp::Group> group_of(const Membership& wanted);
  void release_group(const Slot& slot, const wire::IpAddress& group);
  Result<wire::Endpoint> choose_local(Instant now, const wire::Endpoint& local,
                                      const wire::Endpoint& remote, PortSearch& search);

  FramePool pool_;
  Random random_;
  TimerWheel timers_;
  net::IpLayer ip_;
  tcp::Tcp tcp_;
  udp::Udp udp_;
  SharedArea shared_;
  SlotTable slots_;
  Instant (*const clock_)();
  SlabQueue slabs_;
  SlotList ready_;                  // slots with something to publish
  List<Slot, WrittenTag> written_;  // connections with bytes to push
  std::array<std::unique_ptr<Port>, net::kInterfacesMax> ports_;
  uint32_t port_count_ = 0;
  std::array<bool, net::kInterfacesMax> told_gone_{};  // to TCP
  bool any_ended_ = false;                             // by that, and not published yet
  bool local_everywhere_ = false;
  std::unique_ptr<FlowDirector> director_;
  std::unique_ptr<net::NeighborResolver> resolver_;
  Counters counters_;
  uint32_t bulk_frames_ = 0;  // written since the last turn
  uint32_t event_tail_ = 0;
  uint32_t data_slot_ = ~0u;  // whose bytes were published last, and what the tail was then
  uint32_t data_tail_ = 0;
  Instant last_turn_{};
};

template <typename Visit>
void Stack::each_counter(Visit&& visit) const {
#define X(name, meaning) visit("stack", #name, meaning, counters_.name);
  MILLRACE_STACK_COUNTERS(X)
#undef X
#define X(name, meaning) visit("ip", #name, meaning, ip_.counters().name);
  MILLRACE_NET_COUNTERS(X)
#undef X
#define X(name, meaning) visit("tcp", #name, meaning, tcp_.counters().name);
  MILLRACE_TCP_COUNTERS(X)
#undef X
#define X(name, meaning) visit("udp", #name, meaning, udp_.counters().name);
  MILLRACE_UDP_COUNTERS(X)
#undef X
  PortStats sum;
  for (const auto& port : ports()) {
    const PortStats s = port->stats();
    sum.rx_frames += s.rx_frames, sum.rx_bytes += s.rx_bytes;
    sum.tx_frames += s.tx_frames, sum.tx_bytes += s.tx_bytes;
    sum.rx_dropped += s.rx_dropped, sum.tx_dropped += s.tx_dropped, sum.tx_full += s.tx_full;
  }
  visit("port", "rx_frames", "frames received", sum.rx_frames);
  visit("port", "rx_bytes", "bytes received, link headers included", sum.rx_bytes);
  visit("port", "tx_frames", "frames sent", sum.tx_frames);
  visit("port", "tx_bytes", "bytes sent, link headers included", sum.tx_bytes);
  visit("port", "rx_dropped", "frames the device had no memory or slot for", sum.rx_dropped);
  visit("port", "tx_dropped", "frames the device refused after it took them", sum.tx_dropped);
  visit("port", "tx_full", "times that a transmit ring was full", sum.tx_full);
  if (director_) director_->each_counter(visit);
  visit("stack", "connections", "TCP connections alive, TIME-WAIT included",
        tcp_.connection_count());
  visit("stack", "sockets", "sockets open in the program", slots_.live());
  visit("stack", "frames_free", "frames of packet memory not in use", pool_.available());
}

}  // namespace millrace
