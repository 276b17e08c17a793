// SPDX-License-Identifier: MIT
// One DPDK device, set up: found by name, configured, its queues made, started. What a driver can
// do differs widely; what was got is written down here, and nothing beyond it is assumed.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <vector>

#include "base/setup_error.h"
#include "port/dpdk/offloads.h"

struct rte_mempool;

namespace millrace::dpdk {

struct DeviceSettings {
  const char* name = "";         // empty: the only device
  uint32_t queues = 1;           // receive queues
  uint32_t receive_buffers = 0;  // mbufs; at least what the queues hold
  bool isolate = false;  // if the kernel has the device too: only rte_flow rules bring packets
  // Tests: offloads of sending that whoever is behind the device does, besides its own.
  uint64_t assumed_offloads = 0;
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
  // What it spreads received packets by, RTE_ETH_RSS_...; 0: one queue, or it does not say.
  uint64_t spreads_by() const { return spreads_by_; }
  bool link_up() const;
  // Opened by the driver for its queues while they were set up (net_af_xdp); by queue.
  const std::vector<int>& sockets() const { return sockets_; }
  // The driver's interrupt descriptors, one per queue, or none.
  const std::vector<int>& interrupts() const { return interrupts_; }
  rte_mempool* receive_pool() const { return pool_; }

 private:
  bool find(const char* name, SetupError& error);
  bool configure(const DeviceSettings& settings, SetupError& error);
  bool set_up_queues(const DeviceSettings& settings, SetupError& error);
  bool isolate(SetupError& error);
  bool start(SetupError& error);
  void find_interrupts();
  bool fail(SetupError& error, int result, const char* what) const;

  uint16_t id_ = RTE_MAX_ETHPORTS;
  uint16_t queues_ = 0;
  uint16_t transmit_queues_ = 1;  // the first one is used
  uint16_t mtu_ = 1500;
  bool isolated_ = false;
  bool configured_ = false;
  bool started_ = false;
  bool wants_interrupts_ = false;
  bool checks_received_ = false;
  SendPlan sending_;
  uint64_t spreads_by_ = 0;
  char name_[RTE_ETH_NAME_MAX_LEN] = "";
  rte_eth_dev_info info_{};
  rte_mempool* pool_ = nullptr;
  std::vector<int> sockets_;
  std::vector<int> interrupts_;
};

}  // namespace millrace::dpdk
