// SPDX-License-Identifier: MIT
// A tap interface of this process: what is written to it the kernel receives, what the kernel sends
// by it can be read. It is gone with its descriptor, unless somebody made it to stay. (tuntap,
// Documentation/networking/tuntap.rst)
#pragma once

#include <cstdint>
#include <span>

#include "base/setup_error.h"

namespace millrace {

class TapDevice {
 public:
  struct Settings {
    const char* name = "";  // "%d" in it: the kernel numbers it
    uint8_t mac[6] = {};
    uint32_t mtu_bytes = 1500;
    // Only a way in for what came by another interface: no IPv6 addresses of its own, no router
    // solicitations, and senders may be reached by any interface (a strict reverse path filter
    // would drop them all).
    bool quiet = false;
  };

  TapDevice() = default;
  ~TapDevice() { close(); }
  TapDevice(const TapDevice&) = delete;
  TapDevice& operator=(const TapDevice&) = delete;

  // Makes it, or takes one that is there, and sets it up. False, and `error` says why.
  bool open(const Settings& settings, SetupError& error);
  void close();
  // An address of the kernel's on it. 0 or a negative errno; one that is there already is fine.
  int add_address(std::span<const uint8_t> address, uint8_t prefix_length);

  int fd() const { return fd_; }
  uint32_t ifindex() const { return ifindex_; }
  const char* name() const { return name_; }
  // A frame for the kernel; false: it was dropped.
  bool write(std::span<const uint8_t> frame);
  // The length of the frame read, 0: there is none.
  size_t read(std::span<uint8_t> into);

 private:
  bool attach(const Settings& settings, SetupError& error);
  bool configure(const Settings& settings, SetupError& error);

  int fd_ = -1;
  uint32_t ifindex_ = 0;
  char name_[16] = "";
};

}  // namespace millrace
