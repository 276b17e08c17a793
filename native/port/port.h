// SPDX-License-Identifier: MIT
// A port: where frames come from and go to. One interface for the simulator, loopback, AF_XDP and
// every other device; faults and captures are wrappers around any port. A port knows frames, not
// protocols; it is driven by whoever holds the stack's baton, from one thread at a time.
#pragma once

#include <cstdint>
#include <span>

#include "base/time.h"
#include "packet/frame_pool.h"

namespace millrace {

enum class LinkType : uint8_t {
  kEthernet,  // frames begin with an Ethernet header
  kIp,        // frames begin with the IP header: no neighbours, no link addresses
};

// What the device finishes on packets that it is given to send. All off: packets are complete, each
// in one frame and no longer than the MTU. A port with `segments` takes packets whole: a prefix of
// what transmit() is given never ends in front of a Frame::kContinues.
struct SendOffloads {
  bool checksums = false;    // of TCP and UDP, on frames with Frame::kChecksumWanted
  bool segments_v4 = false;  // cuts long TCP segments up, over IPv4 and IPv6
  bool segments_v6 = false;
  uint16_t packet_frames_max = 1;  // of one packet that is to be cut up
  uint32_t packet_bytes_max = 0;   // from its IP header on
};

struct PortInfo {
  const char* name = "";  // "loopback", "af_xdp"
  LinkType link = LinkType::kEthernet;
  uint32_t mtu_bytes = 1500;  // largest IP packet
  uint32_t queues = 1;
  const char* mode = "";  // what was got, in words: "native copy", "zero-copy", "generic copy"
  SendOffloads offloads;
};

struct PortStats {
  uint64_t rx_frames = 0, rx_bytes = 0, tx_frames = 0, tx_bytes = 0;
  uint64_t rx_dropped = 0;  // the device had a frame but no memory or ring slot for it
  uint64_t tx_dropped = 0;  // refused by the device after it was accepted
  uint64_t tx_full = 0;     // transmit() could not take a frame at once
};

class Port {
 public:
  virtual ~Port() = default;
  virtual const PortInfo& info() const = 0;
  virtual PortStats stats() const = 0;

  // Up to out.size() received frames, each with one reference that now is the caller's. Frames that
  // the device has finished sending are given back here as well.
  virtual uint32_t receive(Instant now, std::span<Frame*> out) = 0;
  // Takes a prefix of `frames` and returns its length. The port takes a reference of its own on
  // each and counts it in tx_pending until the device is done with it; the caller's reference stays
  // the caller's.
  virtual uint32_t transmit(Instant now, std::span<Frame* const> frames) = 0;
  // Tells the device of what was queued (AF_XDP: the wake-up system call). Once per turn.
  virtual void flush(Instant now) = 0;
  // A descriptor that polls readable when receive() may have something; -1 if there is none.
  virtual int poll_fd() const { return -1; }
  // When receive() should be called though nothing is readable (simulated links); never by default.
  virtual Instant next_event() const { return Instant::never(); }
  // True when receive() would return something now, without a system call.
  virtual bool rx_ready() const = 0;
  // The device was taken away: nothing comes any more, and what is sent is lost.
  virtual bool gone() const { return false; }
  // Gives back every frame the port holds. After this only the destructor may be called.
  virtual void close() = 0;
};

}  // namespace millrace
