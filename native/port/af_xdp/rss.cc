// SPDX-License-Identifier: MIT
#include "port/af_xdp/rss.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>

#include "base/assert.h"
#include "wire/byte_order.h"

namespace millrace::af_xdp {
namespace {

constexpr uint8_t kHashToeplitz = 1;  // ETH_RSS_HASH_TOP
constexpr uint32_t kTableMax = 4096;
constexpr uint32_t kKeyMin = 40, kKeyMax = 256;
constexpr uint64_t kAddresses = RXH_IP_SRC | RXH_IP_DST;
constexpr uint64_t kPorts = RXH_L4_B_0_1 | RXH_L4_B_2_3;

bool ask(int fd, const char* interface, void* command) {
  ifreq request{};
  std::strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
  request.ifr_data = static_cast<char*>(command);
  return ioctl(fd, SIOCETHTOOL, &request) == 0;
}

// False: it is hashed in another way than by addresses, with or without ports.
bool ask_fields(int fd, const char* interface, uint32_t flow_type, bool& by_port) {
  ethtool_rxnfc command{};
  command.cmd = ETHTOOL_GRXFH;
  command.flow_type = flow_type;
  // A driver that cannot be asked cannot be told either: it does what all do.
  if (!ask(fd, interface, &command)) return true;
  by_port = command.data == (kAddresses | kPorts);
  return by_port || command.data == kAddresses;
}

// The table of queues, and the key behind it.
bool ask_table(int fd, const char* interface, Rss& rss) {
  ethtool_rxfh sizes{};
  sizes.cmd = ETHTOOL_GRSSH;
  if (!ask(fd, interface, &sizes)) return false;
  if (sizes.indir_size == 0 || sizes.indir_size > kTableMax) return false;
  if (sizes.key_size < kKeyMin || sizes.key_size > kKeyMax) return false;
  std::vector<uint32_t> words((sizeof(ethtool_rxfh) + 3) / 4 + sizes.indir_size +
                              (sizes.key_size + 3) / 4);
  auto* command = reinterpret_cast<ethtool_rxfh*>(words.data());
  command->cmd = ETHTOOL_GRSSH;
  command->indir_size = sizes.indir_size;
  command->key_size = sizes.key_size;
  if (!ask(fd, interface, command)) return false;
  // Behind it, reserved once, stands whether the fields are mixed before they are hashed.
  const uint8_t* hash = &command->hfunc;
  if (hash[0] != kHashToeplitz || hash[1] != 0) return false;
  const uint32_t* table = command->rss_config;
  const auto* key = reinterpret_cast<const uint8_t*>(table + command->indir_size);
  rss.table.assign(table, table + command->indir_size);
  rss.key.assign(key, key + command->key_size);
  return true;
}

uint8_t* put(uint8_t* to, const wire::IpAddress& address) {
  const size_t skip = address.is_v4() ? 12 : 0;
  std::memcpy(to, address.data() + skip, 16 - skip);
  return to + (16 - skip);
}

}  // namespace

uint32_t toeplitz(std::span<const uint8_t> key, std::span<const uint8_t> input) {
  MR_ASSERT(key.size() >= input.size() + 4);
  uint32_t hash = 0;
  uint32_t window = wire::load32(key.data());
  for (size_t i = 0; i < input.size(); ++i) {
    const uint8_t next = key[i + 4];
    for (int bit = 7; bit >= 0; --bit) {
      if (input[i] >> bit & 1) hash ^= window;
      window = window << 1 | (next >> bit & 1);
    }
  }
  return hash;
}

uint32_t Rss::queue_of(const wire::FlowKey& flow) const {
  uint8_t input[36];
  uint8_t* end = put(put(input, flow.remote.address), flow.local.address);
  if (flow.local.address.is_v4() ? tcp4_by_port : tcp6_by_port) {
    wire::store16(end, flow.remote.port);
    wire::store16(end + 2, flow.local.port);
    end += 4;
  }
  return table[toeplitz(key, {input, size_t(end - input)}) % table.size()];
}

Rss query_rss(const char* interface) {
  Rss rss;
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return rss;
  const bool known = ask_table(fd, interface, rss) &&
                     ask_fields(fd, interface, TCP_V4_FLOW, rss.tcp4_by_port) &&
                     ask_fields(fd, interface, TCP_V6_FLOW, rss.tcp6_by_port);
  ::close(fd);
  return known ? rss : Rss{};
}

}  // namespace millrace::af_xdp
