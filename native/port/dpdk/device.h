// SPDX-License-Identifier: MIT
// One DPDK device, set up: found by name, configured, its queues made, started. What a driver can
// do differs widely; what was got is written down here, and nothing beyond it is assumed.
#pragma once

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/setup_error.h"
#include "port/dpdk/offloads.h"
#include "port/dpdk/receive_clock.h"

struct rte_mempool;

namespace millrace::dpdk {

struct DeviceSettings {
  const char* name = "";         // empty: the only device
  uint32_t queues = 1;           // receive queues; 0: as many as it has and there are processors
  uint32_t receive_buffers = 0;  // mbufs; at least what the queues hold
  bool isolate = false;     // if the kernel has the device too: only rte_flow rules bring packets
  bool shared = false;      // each queue is another stack's, and so is one to send by
  bool any_driver = false;  // tests: a device that is shared need not be of net_af_xdp
  // When packets were received is of use to somebody. Not for nothing: some drivers receive more
  // slowly with it.
  bool stamps = false;
  // Tests: offloads of sending, and of receiving, that whoever is behind the device does, besides
  // its own; and the counter that it stamps by.
  uint64_t assumed_offloads = 0;
  uint64_t assumed_receive_offloads = 0;
  int (*read_clock)(uint16_t id, uint64_t* ticks) = rte_eth_read_clock;
};

class Device {
 public:
  Device() = default;
  ~Device() { close(); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  bool open(const DeviceSettings& settings, SetupError& error);
  void close();

  uint16_t id() const { return id_; }
  bool is_open() const { return id_ != RTE_MAX_ETHPORTS; }
  uint16_t queues() const { return queues_; }
  const char* name() const { return name_; }
  const char* driver() const { return info_.driver_name ? info_.driver_name : ""; }
  uint32_t ifindex() const { return info_.if_index; }
  uint32_t mtu_bytes() const { return mtu_; }
  bool isolated() const { return isolated_; }
  bool checks_received() const { return checks_received_; }
  const SendPlan& sending() const { return sending_; }
  // It stamps what it receives.
  bool stamps() const { return stamp_flag_ != 0; }
  // False: this packet has no stamp.
  bool stamp_of(const rte_mbuf& packet, uint64_t& ticks) const {
    if ((packet.ol_flags & stamp_flag_) == 0) return false;
    ticks = *RTE_MBUF_DYNFIELD(&packet, stamp_offset_, const uint64_t*);
    return true;
  }
  // The counter that it stamps by. False: it cannot be read.
  bool read_clock(ReceiveClock& clock) const;
  // What it spreads received packets by, RTE_ETH_RSS_...; 0: one queue, or it does not say.
  uint64_t spreads_by() const { return spreads_by_; }
  bool link_up() const;
  // False after start_again() failed: nothing may be received or sent.
  bool started() const { return started_; }
  // Its driver looks for the other end of the link when it is started, and never again.
  bool joins() const;
  bool start_again();
  // Opened by the driver for its queues while they were set up (net_af_xdp); by queue.
  const std::vector<int>& sockets() const { return sockets_; }
  // The driver's interrupt descriptors, one per queue, or none.
  const std::vector<int>& interrupts() const { return interrupts_; }
  // The number that the kernel has for a queue (net_af_xdp: from `start_queue` on).
  uint16_t kernel_queue(uint16_t queue) const { return uint16_t(start_queue_ + queue); }
  // What it is probed by again after it was closed: "net_af_xdp0,iface=eth1".
  const std::string& probed_by() const { return probed_by_; }
  // Null: it has been taken away, or is none that can be probed again.
  rte_device* bus_device() const;

 private:
  bool find(const char* name, SetupError& error);
  void find_arguments();
  bool configure(const DeviceSettings& settings, SetupError& error);
  void ask_for_stamps(const DeviceSettings& settings, rte_eth_conf& configuration);
  bool set_up_queues(const DeviceSettings& settings, SetupError& error);
  rte_mempool* make_pool(uint32_t buffers, SetupError& error);
  bool isolate(SetupError& error);
  bool start(SetupError& error);
  void find_interrupts();
  bool fail(SetupError& error, int result, const char* what) const;

  uint16_t id_ = RTE_MAX_ETHPORTS;
  uint16_t queues_ = 0;
  uint16_t start_queue_ = 0;
  std::string probed_by_;
  uint16_t transmit_queues_ = 1;  // the first one is used
  uint16_t mtu_ = 1500;
  bool isolated_ = false;
  bool configured_ = false;
  bool started_ = false;
  bool wants_interrupts_ = false;
  bool checks_received_ = false;
  SendPlan sending_;
  uint64_t spreads_by_ = 0;
  int (*read_clock_)(uint16_t id, uint64_t* ticks) = nullptr;
  uint64_t stamp_flag_ = 0;  // in a packet's ol_flags
  int stamp_offset_ = -1;
  char name_[RTE_ETH_NAME_MAX_LEN] = "";
  rte_eth_dev_info info_{};
  std::vector<rte_mempool*> pools_;  // one, or one for each receive queue
  std::vector<int> sockets_;
  std::vector<int> interrupts_;
};

// Names of the devices that there are. `of_one_interface`: all of net_af_xdp, and of one interface
// of the kernel's.
std::vector<std::string> device_names(bool& of_one_interface);

}  // namespace millrace::dpdk
