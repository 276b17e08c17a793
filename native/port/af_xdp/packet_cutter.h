// SPDX-License-Identifier: MIT
// Long TCP packets over a device of the kernel's own making, beside an AF_XDP socket in copy mode.
// There a packet costs a system call's round through the kernel whatever its length; a packet
// socket takes 64 KiB at once, and the kernel cuts it into segments at the device, or not at all
// where the other end is on the same machine and wants it whole. Nothing is received here.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "packet/frame.h"
#include "port/port.h"

namespace millrace::af_xdp {

class PacketCutter {
 public:
  PacketCutter() = default;
  ~PacketCutter() { close(); }
  PacketCutter(const PacketCutter&) = delete;
  PacketCutter& operator=(const PacketCutter&) = delete;

  // Whether packets stay in order between the two ways: only where the device has no queue of its
  // own (`driver` as ethtool names it).
  static bool suits(std::string_view driver);
  // False: it cannot be had, everything goes the other way.
  bool open(uint32_t ifindex);
  bool is_open() const { return fd_ >= 0; }
  void close();
  // What it may be given.
  static SendOffloads offloads();
  // One packet: a frame with all headers, `segment_bytes` set, and its continuations; checksums are
  // written into its headers. The kernel has a copy when this returns, or it is lost as on a wire
  // (ENOBUFS, ENETDOWN). EAGAIN: not now. Any other error: nor will the next be taken.
  Error send(std::span<Frame* const> packet);

 private:
  int fd_ = -1;
  uint32_t ifindex_ = 0;
};

}  // namespace millrace::af_xdp
