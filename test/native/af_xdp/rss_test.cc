// SPDX-License-Identifier: MIT
#include "port/af_xdp/rss.h"

#include <doctest/doctest.h>

#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;
using af_xdp::Rss;
using af_xdp::toeplitz;

namespace {

// The key and the flows of "Verifying the RSS hash calculation" in Microsoft's documentation of
// NDIS.
const std::vector<uint8_t> kKey = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                   0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                   0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                   0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

struct Verified {
  const char* destination;
  uint16_t destination_port;
  const char* source;
  uint16_t source_port;
  uint32_t by_addresses, by_ports;
};
const Verified kVerified[] = {
    {"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
    {"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
    {"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
    {"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
    {"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
    {"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
    {"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
    {"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, 0x4b61e985,
     0x02d1feef},
};

// With a table that is as long as the hash's remainder shows: the number of the entry is the queue.
Rss rss_with(uint32_t entries, bool by_port) {
  Rss rss;
  rss.key = kKey;
  for (uint32_t i = 0; i < entries; ++i) rss.table.push_back(i);
  rss.tcp4_by_port = rss.tcp6_by_port = by_port;
  return rss;
}

}  // namespace

TEST_CASE("rss: the published hashes, by addresses and by ports") {
  for (const Verified& v : kVerified) {
    CAPTURE(v.source);
    const wire::FlowKey flow{at(v.destination, v.destination_port), at(v.source, v.source_port)};
    for (const uint32_t entries : {128u, 512u, 1000u}) {
      CHECK(rss_with(entries, true).queue_of(flow) == v.by_ports % entries);
      CHECK(rss_with(entries, false).queue_of(flow) == v.by_addresses % entries);
    }
  }
}

TEST_CASE("rss: nothing but zeros hashes to zero, one bit to its window of the key") {
  const uint8_t zeros[12] = {};
  CHECK(toeplitz(kKey, zeros) == 0);
  uint8_t one[12] = {0x80};
  CHECK(toeplitz(kKey, one) == 0x6d5a56da);
  one[0] = 0;
  one[3] = 1;  // bit 31: the 32 bits of the key from there
  CHECK(toeplitz(kKey, one) == ((0xdau & 1) << 31 | 0x255b0ec2u >> 1));
}

TEST_CASE("rss: a device that does not say says nothing" * needs_root()) {
  VethPair veth(2);
  REQUIRE(veth.ok);
  Inside here(veth.here);
  CHECK(!af_xdp::query_rss(VethPair::kHere).known());
  CHECK(!af_xdp::query_rss("nosuch0").known());
}
