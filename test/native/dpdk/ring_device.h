// SPDX-License-Identifier: MIT
// A DPDK device whose wire are two rings in this process (net_ring): what it is sent lies in `out`
// as the mbufs that the driver was given, what a test puts into `in` is received.
#pragma once

#include <doctest/doctest.h>
#include <rte_bus_vdev.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_ring.h>

#include <string>

#include "port/dpdk/eal.h"

namespace millrace::test {

// Once for the process, and for good.
inline void start_dpdk() {
  SetupError error;
  const bool started = dpdk::start_eal("--vdev=net_null0 --no-huge -m 768 --no-pci", false, error);
  REQUIRE_MESSAGE(started, error.text);
  dpdk::register_thread();
}

// Packets of the tests' own.
inline rte_mempool* packet_pool() {
  static rte_mempool* const pool =
      rte_pktmbuf_pool_create("mr_test_packets", 4095, 0, 0, 9216, SOCKET_ID_ANY);
  REQUIRE(pool);
  return pool;
}

class RingDevice {
 public:
  RingDevice() {
    start_dpdk();
    static uint32_t serial = 0;
    const std::string name = "mr" + std::to_string(serial++);
    in = rte_ring_create((name + "in").c_str(), kSlots, SOCKET_ID_ANY, 0);
    out = rte_ring_create((name + "out").c_str(), kSlots, SOCKET_ID_ANY, 0);
    REQUIRE(in);
    REQUIRE(out);
    const int port = rte_eth_from_rings(name.c_str(), &in, 1, &out, 1, 0);
    REQUIRE(port >= 0);
    char found[RTE_ETH_NAME_MAX_LEN];
    REQUIRE(rte_eth_dev_get_name_by_port(uint16_t(port), found) == 0);
    name_ = found;
  }
  // Behind the port that used it.
  ~RingDevice() {
    rte_vdev_uninit(name_.c_str());
    for (rte_ring* ring : {in, out}) {
      void* packet;
      while (rte_ring_dequeue(ring, &packet) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(packet));
      rte_ring_free(ring);
    }
  }
  RingDevice(const RingDevice&) = delete;
  RingDevice& operator=(const RingDevice&) = delete;

  const char* name() const { return name_.c_str(); }
  // The oldest packet that was sent; the caller frees it. Null: there is none.
  rte_mbuf* take() {
    void* packet;
    return rte_ring_dequeue(out, &packet) == 0 ? static_cast<rte_mbuf*>(packet) : nullptr;
  }

  rte_ring* in = nullptr;
  rte_ring* out = nullptr;

 private:
  static constexpr unsigned kSlots = 8192;
  std::string name_;
};

}  // namespace millrace::test
