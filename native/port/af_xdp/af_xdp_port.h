// SPDX-License-Identifier: MIT
// The AF_XDP port: one network interface, an AF_XDP socket on each of its receive queues, or on as
// many as it is told to take of those that are free, all of them over the frame pool's own memory.
// It receives what an XDP program redirects to its sockets
// and sends anything. It knows nothing of steering; whoever opens both wires them together:
//
//   SetupError error;
//   auto steering = steer::XdpSteering::open("eth1", {}, error);  // attached; no rules yet
//   if (!steering) return fail(error.code, error.text);
//   AfXdpOptions options{.native = steering->native()};
//   auto port = AfXdpPort::open("eth1", pool, options, error);  // sockets bound
//   if (!port) return fail(error.code, error.text);
//   steering->set_frame_limit(port->frame_limit_bytes());
//   for (uint32_t i = 0; i < port->queues(); ++i)
//     steering->set_queue(port->queue_id(i), port->socket_fd(i));
//
// Then the control plane (control::NetlinkFollower, which must tell the steering the interface's
// addresses too, and control::PortBlocks), and the rules last.
//
// At the end: remove rules, steering->close(), port->close().
//
// Taking a queue is a claim: the kernel gives it to one socket only, until that is closed.
//
// Sending goes through one queue only, so frames leave in the order of transmit(). What is to be
// cut into segments goes by a packet socket, where there is one (packet_cutter.h). A frame is given
// back when the driver has it no more: at the end of flush(), or in receive().
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "base/os_memory.h"
#include "base/result.h"
#include "base/setup_error.h"
#include "port/af_xdp/device.h"
#include "port/af_xdp/packet_cutter.h"
#include "port/af_xdp/xsk.h"
#include "port/port.h"

namespace millrace {

struct AfXdpOptions {
  bool native = true;     // the XDP program is attached in the driver; zero-copy needs that
  bool zero_copy = true;  // try it first
  // Powers of two. Receiving, per queue: what may arrive while the process is not scheduled. (In
  // bulk transfers on a busy machine 2,048 were seen to overflow, 4,096 hardly ever.)
  uint32_t rx_slots = 4096;
  uint32_t tx_slots = 2048;
  uint32_t queues_max = 64;
  // Frames that wait in the fill rings of all queues together; 0: a quarter of the pool.
  uint32_t fill_frames_max = 0;
  // How many queues to take, of those that are free; 0: all of them.
  uint32_t queues_wanted = 0;
  // The kernel gives a queue back some time after its last socket was closed: how long to wait for
  // one when none is free.
  Duration patience = Duration::millis(500);
};

class AfXdpPort final : public Port {
 public:
  // Null, and `error` says why: ENODEV; EINVAL (not Ethernet, or the pool's frames are not of 2,048
  // or 4,096 bytes); EPERM and ENOBUFS with the capability or limit that is missing; EBUSY: no
  // queue is free; E2BIG: too many queues. `pool` must outlive the port.
  static std::unique_ptr<AfXdpPort> open(const char* interface, FramePool& pool,
                                         const AfXdpOptions& options, SetupError& error);
  ~AfXdpPort() override;

  bool zero_copy() const { return zero_copy_; }
  uint32_t queues() const { return uint32_t(queues_.size()); }
  // Of the i-th socket: its descriptor, and the device's number of its queue.
  int socket_fd(uint32_t i) const { return queues_[i]->xsk.fd(); }
  uint32_t queue_id(uint32_t i) const { return queues_[i]->id; }
  uint32_t device_queues() const { return device_.rx_queues; }
  // It has every receive queue of the device: whatever is steered here comes here.
  bool has_all_queues() const { return queues() == device_.rx_queues; }
  uint32_t ifindex() const { return device_.ifindex; }
  const std::array<uint8_t, 6>& mac() const { return device_.mac; }
  // Frames come by another way too: a descriptor to poll, and what reads one frame from `side` (its
  // bytes, or 0: there is none; and whether another stack had it before).
  using SideRead = uint32_t (*)(void* side, std::span<uint8_t> out, bool& passed_on);
  Error watch_side(int fd, void* side, SideRead read);
  // The longest frame that can be received, Ethernet header included.
  uint32_t frame_limit_bytes() const;
  // Frames of the pool that the port holds for receiving.
  uint32_t fill_frames() const;

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override;
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override;
  void flush(Instant now) override;
  int poll_fd() const override { return epoll_fd_; }
  // Only while frames wait for a device that did not take them at once.
  Instant next_event() const override { return retry_at_; }
  bool rx_ready() const override;
  void close() override;

 private:
  struct Queue {
    af_xdp::Xsk xsk;
    uint32_t id = 0;
    uint32_t filled = 0;  // frames given to the kernel to receive into and not yet returned
  };

  AfXdpPort(FramePool& pool, const AfXdpOptions& options);
  bool start(const char* interface, SetupError& error);
  bool open_queues(const char* interface, uint16_t bind_flags, SetupError& error);
  bool claim_queues(af_xdp::XskConfig config, SetupError& error);
  bool has_queue(uint32_t id) const;
  uint32_t wanted() const;
  bool make_poll_fd(SetupError& error);
  uint32_t receive_from_side(std::span<Frame*> out);
  void refill(Queue& queue);
  uint32_t receive_from(Queue& queue, uint8_t number, std::span<Frame*> out);
  uint32_t put_in_ring(std::span<Frame* const> frames);
  bool send_cut(std::span<Frame* const> packet);
  void reap_completions();
  void kick();
  void kick_copy_mode();
  void schedule_retry(Instant now);
  bool acceptable(const Frame& frame) const;

  FramePool& pool_;
  AfXdpOptions options_;
  af_xdp::Device device_;
  af_xdp::PacketCutter cutter_;
  PortInfo info_;
  PortStats stats_;
  std::vector<std::unique_ptr<Queue>> queues_;
  // What the kernel holds of each frame: kFilled, or the number of its transmit descriptors.
  OsMemory held_memory_;
  uint16_t* held_ = nullptr;
  uint32_t chunk_shift_ = 0;
  uint32_t fill_target_ = 0;   // per queue
  uint32_t next_queue_ = 0;    // where receive() begins: every queue in turn
  uint32_t tx_in_flight_ = 0;  // descriptors not yet completed
  uint32_t retries_ = 0;
  Instant retry_at_ = Instant::never();
  int epoll_fd_ = -1;
  void* side_ = nullptr;
  SideRead side_read_ = nullptr;
  uint32_t side_skipped_ = 0;
  uint8_t rx_flags_ = 0;
  bool zero_copy_ = false;
};

}  // namespace millrace
