// SPDX-License-Identifier: MIT
// The DPDK port: one device of any DPDK driver. Received packets are copied out of the driver's
// buffers into frames (whose memory no driver needs to know); frames are sent from where they lie,
// as external buffers, and come back when the driver has freed them. Where a driver addresses
// memory physically, and the stack's memory is not pinned for it, frames are copied on the way out
// too. Compiled into the DPDK shared object only. It knows nothing of rules.
#pragma once

#include <rte_dev.h>
#include <rte_mbuf.h>

#include <atomic>
#include <memory>
#include <string>

#include "base/os_memory.h"
#include "port/dpdk/shared_device.h"
#include "port/dpdk/waiter.h"
#include "port/port.h"

namespace millrace::dpdk {

class DpdkPort final : public Port {
 public:
  // Null, and `error` says why. `pool` outlives the port.
  static std::unique_ptr<DpdkPort> open(const DeviceSettings& settings, FramePool& pool,
                                        SetupError& error);
  ~DpdkPort() override;

  const Device& device() const { return device_; }
  const DeviceLease& lease() const { return lease_; }
  // The sockets that the driver opened for this stack's queues, or none.
  std::span<const int> sockets() const { return own(device_.sockets()); }
  void mac(uint8_t out[6]) const;

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override;
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override;
  void flush(Instant now) override {}
  int poll_fd() const override { return waiter_.fd(); }
  bool rx_ready() const override { return !gone() && const_cast<DpdkPort*>(this)->look(); }
  bool gone() const override {
    return gone_.load(std::memory_order_relaxed) || !device_.is_open() ||
           !rte_eth_dev_is_valid_port(device_.id());
  }
  void close() override;

 private:
  static constexpr uint32_t kBurst = 64;

  DpdkPort(FramePool& pool, DeviceLease lease);
  bool start(SetupError& error);
  std::span<const int> own(const std::vector<int>& by_queue) const;
  void choose_sending();
  void find_clock();
  void describe();

  void watch_for_removal(bool on);
  void let_go();
  void close_device(bool taken_away);
  void join_again(Instant now);
  bool look();
  Frame* copy_in(Instant now, const rte_mbuf& packet);
  void stamp(Instant now, const rte_mbuf& packet, Frame& frame);
  void arm_interrupts();
  rte_mbuf* wrap(Frame* frame);
  rte_mbuf* copy_out(const Frame& frame);
  rte_mbuf* make_packet(std::span<Frame* const> frames, uint32_t& used);
  uint16_t put_on_device(rte_mbuf** packets, uint16_t count);
  bool refuses(Instant now, const Frame* first);
  bool waits_for_link(Instant now);
  void reclaim(Instant now);
  static void sent(void* memory, void* port);
  static int on_removed(uint16_t id, rte_eth_event_type event, void* port, void* result);
  static void on_asked_for(const char* name, rte_dev_event_type event, void* port);

  FramePool& pool_;
  DeviceLease lease_;
  Device& device_;  // the lease's
  uint16_t first_queue_;
  uint16_t queues_;
  Waiter waiter_;
  rte_mempool* headers_ = nullptr;  // mbufs without memory of their own, to wrap frames
  OsMemory shared_memory_;
  rte_mbuf_ext_shared_info* shared_;  // by frame: how many mbufs of the driver's refer to it
  rte_mbuf* staged_[kBurst];          // received, not handed out yet
  uint16_t staged_from_[kBurst];      // and their queues
  uint32_t staged_head_ = 0;
  uint32_t staged_tail_ = 0;
  uint32_t next_queue_ = 0;
  uint32_t in_flight_ = 0;  // frames that the driver refers to
  Instant reclaim_at_{};
  const Frame* refused_ = nullptr;  // the packet that the device did not take, and since when
  Instant refused_since_{};
  Instant join_at_{};
  bool joins_ = false;     // the device, when it is started
  bool had_link_ = false;  // or was waited for long enough
  Instant without_link_since_ = Instant::never();
  bool copies_out_ = false;
  bool registered_ = false;  // the stack's memory, with DPDK
  bool mapped_ = false;      // and for the device
  bool partial_checksums_ = false;
  bool stamps_ = false;  // the device says when packets came in
  ReceiveClock clock_;   // and by which clock
  std::atomic<bool> gone_{false};
  std::string bus_name_;  // whose removal is watched for
  PortInfo info_;
  char mode_[384] = "";
  PortStats stats_;
};

}  // namespace millrace::dpdk
