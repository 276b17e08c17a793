// SPDX-License-Identifier: MIT
// What a device can finish on packets that are sent, and how it is asked to: checksums, and the
// cutting of long TCP segments. Pure: from what the device says of itself, and from the packet's
// own headers. What it does not say it can, software does.
#pragma once

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <cstdint>

#include "packet/frame.h"
#include "port/port.h"

namespace millrace::dpdk {

struct SendPlan {
  uint64_t device_offloads = 0;  // RTE_ETH_TX_OFFLOAD_..., to configure
  bool ipv4_header = false;      // the device writes the IPv4 header's checksum too
  SendOffloads offered;
};

// `capabilities`: info.tx_offload_capa, or what stands for it in a test.
SendPlan plan_sending(const rte_eth_dev_info& info, uint64_t capabilities);

// Writes into the packet, whose first mbuf holds all headers, what the device has to know, as
// rte_mbuf_core.h wants it: flags, the lengths of the headers, and in the checksum's place the
// pseudo header's sum (without the length where the device cuts). Can be done again.
void ask_to_finish(const SendPlan& plan, const Frame& head, rte_mbuf& packet);

}  // namespace millrace::dpdk
