// SPDX-License-Identifier: MIT
// Devices of this process and who has which of their queues. A device is opened by the first stack
// that wants a part of it and closed by the last that lets go, whichever that is: worker threads
// come and go in any order. A stack that is alone takes the device whole; one of several takes one
// receive queue and the transmit queue of the same number. (net_af_xdp sees one queue of interfaces
// that do not count theirs as it likes: then several devices, each from another `start_queue` on,
// stand for one.)
//
// Like DPDK's environment this is the process's, not a stack's: beside eal.cc the only such state.
#pragma once

#include <memory>
#include <span>

#include "port/dpdk/device.h"

namespace millrace::dpdk {

class DeviceLease {
 public:
  DeviceLease() = default;
  DeviceLease(DeviceLease&& other) noexcept { *this = std::move(other); }
  DeviceLease& operator=(DeviceLease&& other) noexcept;
  ~DeviceLease() { end(); }

  // `settings.shared`: one queue of the device, which is opened with settings.queues of them (0: as
  // many as it has and there are processors) if nobody has it yet. Else the whole of it. False, and
  // `error` says why: EBUSY when all queues are taken.
  bool take(const DeviceSettings& settings, SetupError& error);
  // The last one's end closes the device, if its driver can open it again. No thread may touch the
  // queues any more.
  // `taken_away`: it is no more, and its driver must let go of it.
  void end(bool taken_away = false);

  bool holds() const { return holds_; }
  // Stays where it is after end(), perhaps closed.
  Device& device() const;
  // This stack's: receive queues [first, first + queues), and the queue that it sends by.
  uint16_t first_queue() const;
  uint16_t queues() const { return count_; }
  uint16_t transmit_queue() const { return first_queue(); }
  // Others have, or may come to have, queues of it.
  bool is_shared() const;
  // This one opened it.
  bool opened() const { return opened_; }
  // Of this process's leases: for names of things that may outlive one.
  uint32_t number() const { return number_; }
  // For packets that are copied on their way out of a queue which others may have later: they stay
  // the device's. Null: no memory.
  rte_mempool* transmit_pool(uint32_t buffers) const;

 private:
  struct Shared;
  struct Registry;
  static Registry& registry();
  void refuse(SetupError& error);

  std::shared_ptr<Shared> shared_;
  size_t slot_ = 0;
  uint16_t count_ = 0;
  uint32_t number_ = 0;
  bool holds_ = false;
  bool opened_ = false;
};

}  // namespace millrace::dpdk
