// SPDX-License-Identifier: MIT
// Steering by an XDP program of our own on one interface. The program is attached by a bpf_link,
// which nothing but the descriptors of the stacks that share it hold (sharing.h): it is gone, with
// its maps, the moment the last of them is, also after kill -9. Rules are entries in hash maps of
// fixed size; the program is in xdp_program.bpf.c.
//
// A stack that was killed leaves rules behind where others live on. They do little harm: those by
// local port hold on its queues only, where no socket is left to redirect to, so the packets go to
// the kernel. Within a second one of the others sweeps them away, or whoever gets its number next.
//
// A queue that no stack has may get a socket too, so that flows and blocks hold on it: a spare one,
// of whichever stack looks after them (stack/spare_queues.h). No rule by local port holds there.
//
// Order at the start: open(), then the port (which must know native()), then set_frame_limit() and
// set_queue() for each of its queues, then rules. Until a rule says otherwise everything is the
// kernel's.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/setup_error.h"
#include "steer/queue_keeper.h"
#include "steer/sharing.h"
#include "steer/steering.h"
#include "steer/xdp_program_code.h"

namespace millrace::steer {

enum class XdpMode : uint8_t {
  kAuto,     // native if the driver can, else generic
  kNative,   // in the driver
  kGeneric,  // in the kernel's stack, any device, slow
};

struct XdpSteeringOptions {
  XdpMode mode = XdpMode::kAuto;
  uint32_t flows_max = 65536;
  uint32_t locals_max = 4096;
  uint32_t addresses_max = 256;
  uint32_t queues_max = 256;
  uint32_t queues_wanted = 0;  // of those that others have only in keeping; 0: all
};

class XdpSteering final : public Steering, Sharing::Observer {
 public:
  // Attaches the program, or joins those who have. Null, and `error` says why: ENODEV; EPERM with
  // the capability that is missing; EBUSY when a foreign XDP program is on the interface;
  // EOPNOTSUPP when the kernel or driver cannot. Of whoever joins, only `mode` counts: generic mode
  // is refused where the program is in the driver already, and the other way round.
  static std::unique_ptr<XdpSteering> open(const char* interface, const XdpSteeringOptions& options,
                                           SetupError& error);
  ~XdpSteering() override;

  bool native() const { return native_; }
  // Others were on the interface before.
  bool joined() const { return joined_; }
  // Frames that other stacks pass on to this one.
  FrameInbox& inbox() { return sharing_->inbox(); }
  // An interface and a member's number on it say where frames for this stack are sent to.
  uint32_t ifindex() const { return sharing_->ifindex(); }
  uint8_t member() const { return sharing_->member(); }
  // Packets longer than this (Ethernet header included) do not fit a frame and are not redirected.
  Error set_frame_limit(uint32_t bytes);
  // `socket_fd`: a bound AF_XDP socket of that receive queue, which is this stack's from now on.
  // Closing it takes it out again.
  Error set_queue(uint32_t queue, int socket_fd);
  // No queue was free: asks the others for spare ones.
  void ask_for_queues() const { sharing_->ask_for_queues(); }
  // Tells `keeper` of queues without an owner, among the device's: now, and from now on within a
  // second. Null: nobody is told, and none is being told when this returns.
  void set_keeper(QueueKeeper* keeper, uint32_t device_queues);
  // The same for a spare queue, by its keeper's socket, and back. The record must go before the
  // socket is closed: the next owner makes one of its own.
  Error set_spare_queue(uint32_t queue, int socket_fd, uint32_t frame_max_bytes);
  void clear_spare_queue(uint32_t queue);

  Error set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) override;
  Error remove_flow(Protocol protocol, const wire::FlowKey& flow) override;
  Error add_port_block(Protocol protocol, uint16_t first_port) override;
  Error remove_port_block(Protocol protocol, uint16_t first_port) override;
  Error add_local(Protocol protocol, const wire::Endpoint& local) override;
  Error remove_local(Protocol protocol, const wire::Endpoint& local) override;
  Error add_address(const wire::IpAddress& address) override;
  Error remove_address(const wire::IpAddress& address) override;
  Whose pass_on(Protocol protocol, const wire::FlowKey& flow, std::span<uint8_t> frame) override;
  bool pass_along(std::span<uint8_t> frame) override;
  void pass_on_to_all(std::span<uint8_t> frame) override;
  bool covers_all_queues() const override { return covered_; }
  SteeringCounters counters() const override;
  void close() override;

 private:
  XdpSteering();
  int map(XdpMap which) const { return maps_[size_t(which)]; }
  bool join(const XdpSteeringOptions& options, SetupError& error);
  bool attach_first(const char* interface, uint32_t ifindex, const XdpSteeringOptions& options,
                    SetupError& error);
  void close_descriptors();
  void newcomer(uint32_t wanted) override;
  void look_round() override;
  void bury_dead();
  // Those that nobody has, in keeping or otherwise.
  std::vector<uint32_t> loose_queues() const;
  // Takes away what a member has left that is no more, or the former owner of our number.
  void sweep(uint8_t member);
  // 0: nobody.
  uint8_t block_owner(Protocol protocol, uint16_t port) const;
  template <typename Key, typename Value, typename Ours>
  void sweep_hash(XdpMap which, Ours&& ours);
  Error set_block(uint32_t block, uint32_t owner);
  bool create_maps(const XdpSteeringOptions& options, SetupError& error);
  bool load(SetupError& error);
  bool attach(const char* interface, uint32_t ifindex, XdpMode mode, SetupError& error);
  Error change_port_block(Protocol protocol, uint16_t first_port, bool present);

  std::unique_ptr<Sharing> sharing_;
  std::mutex keeper_mutex_;
  QueueKeeper* keeper_ = nullptr;
  uint32_t device_queues_ = 0;
  uint32_t rounds_uncovered_ = 0;
  std::atomic<bool> covered_{false};
  std::array<int, kXdpMaps> maps_;
  int program_ = -1;
  int link_ = -1;
  uint32_t frame_limit_bytes_ = 0;
  bool native_ = false;
  bool joined_ = false;
};

}  // namespace millrace::steer
