// SPDX-License-Identifier: MIT
// Steering by an XDP program of our own on one interface. The program is attached by a bpf_link,
// which nothing but this object's descriptor holds: it is gone, with its maps, the moment the
// process is, also after kill -9. Rules are entries in hash maps of fixed size; the program is in
// xdp_program.bpf.c.
//
// Order at the start: open(), then the port (which must know native()), then set_frame_limit() and
// set_queue() for each of its queues, then rules. Until a rule says otherwise everything is the
// kernel's.
#pragma once

#include <array>
#include <memory>

#include "base/setup_error.h"
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
};

class XdpSteering final : public Steering {
 public:
  // Null, and `error` says why: ENODEV; EPERM with the capability that is missing; EBUSY when
  // another XDP program is on the interface; EOPNOTSUPP when the kernel or driver cannot.
  static std::unique_ptr<XdpSteering> open(const char* interface, const XdpSteeringOptions& options,
                                           SetupError& error);
  ~XdpSteering() override;

  bool native() const { return native_; }
  // Packets longer than this (Ethernet header included) do not fit a frame and are not redirected.
  Error set_frame_limit(uint32_t bytes);
  // `socket_fd`: a bound AF_XDP socket of that receive queue. Closing it takes it out again.
  Error set_queue(uint32_t queue, int socket_fd);

  Error set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) override;
  Error remove_flow(Protocol protocol, const wire::FlowKey& flow) override;
  Error add_port_block(Protocol protocol, uint16_t first_port) override;
  Error remove_port_block(Protocol protocol, uint16_t first_port) override;
  Error add_local(Protocol protocol, const wire::Endpoint& local) override;
  Error remove_local(Protocol protocol, const wire::Endpoint& local) override;
  Error add_address(const wire::IpAddress& address) override;
  Error remove_address(const wire::IpAddress& address) override;
  SteeringCounters counters() const override;
  void close() override;

 private:
  XdpSteering();
  int map(XdpMap which) const { return maps_[size_t(which)]; }
  bool create_maps(const XdpSteeringOptions& options, SetupError& error);
  bool load(SetupError& error);
  bool attach(const char* interface, uint32_t ifindex, XdpMode mode, SetupError& error);
  Error change_port_block(Protocol protocol, uint16_t first_port, bool present);

  std::array<int, kXdpMaps> maps_;
  int program_ = -1;
  int link_ = -1;
  bool native_ = false;
};

}  // namespace millrace::steer
