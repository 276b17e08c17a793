// SPDX-License-Identifier: MIT
#include "control/port_blocks.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/close_fd.h"

namespace millrace::control {
namespace {

constexpr uint16_t kDefaultFirst = 32768, kDefaultLast = 60999;  // Linux's own
// A try costs a fraction of a microsecond.
constexpr uint32_t kPreferenceTries = 128;

// A file of /proc/sys, at most `bytes`; false when it cannot be read.
bool read_setting(const char* path, char* text, size_t bytes) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t n = read(fd, text, bytes - 1);
  ::close(fd);
  text[n > 0 ? n : 0] = '\0';
  return n > 0;
}

// A socket bound to the port on every address of both families. -errno when the kernel refuses.
int bind_port(uint8_t protocol, uint16_t port) {
  const int type = (protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC;
  int result = -EAFNOSUPPORT;
  int fd = socket(AF_INET6, type, protocol);
  if (fd >= 0) {
    const int off = 0;
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_port = htons(port);
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0) return fd;
    result = -errno;
    close(fd);
  } else {
    result = -errno;
  }
  // No IPv6 on this machine or in this namespace.
  if (result != -EAFNOSUPPORT && result != -EADDRNOTAVAIL) return result;
  fd = socket(AF_INET, type, protocol);
  if (fd < 0) return -errno;
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_port = htons(port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0) return fd;
  result = -errno;
  close(fd);
  return result;
}

}  // namespace

PortBlocks::PortBlocks(uint8_t protocol, Random& random, const PortBlockLimits& limits,
                       PortBlockObserver& observer)
    : protocol_(protocol),
      random_(random),
      limits_(limits),
      observer_(observer),
      place_key_(random.sip_key()),
      table_key_(random.sip_key()),
      use_key_(random.sip_key()),
      use_pool_(limits.flows_max),
      uses_(limits.flows_max) {
  for (uint32_t& offset : offsets_) offset = random.next_u32();
  blocks_.reserve(limits.blocks_max);
}

PortBlocks::~PortBlocks() {
  close();
}

uint64_t PortBlocks::hash(const SipKey& key, const wire::Endpoint& remote, uint16_t port) const {
  uint8_t bytes[20];
  std::memcpy(bytes, remote.address.data(), 16);
  wire::store16(bytes + 16, remote.port);
  wire::store16(bytes + 18, port);
  return SipHash::hash(key, bytes);
}

PortBlocks::Use* PortBlocks::find(const wire::Endpoint& remote, uint16_t port) const {
  return uses_.find(hash(use_key_, remote, port),
                    [&](const Use& use) { return use.port == port && use.remote == remote; });
}

bool PortBlocks::owns(uint16_t port) const {
  return std::any_of(blocks_.begin(), blocks_.end(), [&](const Block& block) {
    return block.first_port == port / kPortsPerBlock * kPortsPerBlock;
  });
}

uint16_t PortBlocks::take(const wire::Endpoint& remote, uint16_t port) {
  Use* use = use_pool_.create();
  use->remote = remote;
  use->port = port;
  uses_.insert(use, hash(use_key_, remote, port));
  all_uses_.push_back(use);
  return port;
}

Result<uint16_t> PortBlocks::allocate(const wire::Endpoint& remote, PortPreference* preference) {
  if (use_pool_.full()) return Error{EADDRNOTAVAIL};
  for (;;) {
    const uint32_t ports = blocks() * kPortsPerBlock;
    const auto place = uint32_t(hash(place_key_, remote, 0));
    uint32_t& offset = offsets_[hash(table_key_, remote, 0) % kOffsets];
    uint16_t second_best = 0;
    uint32_t disliked = 0;
    for (uint32_t i = 0; i < ports; ++i) {
      const uint32_t n = (place + offset++) % ports;
      const auto port = uint16_t(blocks_[n / kPortsPerBlock].first_port + n % kPortsPerBlock);
      if (find(remote, port)) continue;
      if (!preference || preference->likes(port)) return take(remote, port);
      second_best = port;
      if (++disliked == kPreferenceTries) break;
    }
    if (second_best != 0 && !another_may_please(*preference)) return take(remote, second_best);
    const Error error = reserve_block();
    if (error && second_best != 0) return take(remote, second_best);
    if (error) return error;
  }
}

bool PortBlocks::another_may_please(PortPreference& preference) const {
  if (blocks() >= limits_.preferred_blocks_max) return false;
  const uint16_t first = blocks_.back().first_port;
  for (uint16_t i = 0; i < kPortsPerBlock; ++i) {
    if (preference.likes(uint16_t(first + i))) return true;
  }
  return false;
}

bool PortBlocks::release(uint16_t port, const wire::Endpoint& remote) {
  Use* use = find(remote, port);
  if (!use) return false;
  uses_.remove(use);
  use->unlink();
  use_pool_.destroy(use);
  return true;
}

void PortBlocks::read_settings() {
  if (settings_read_) return;
  settings_read_ = true;
  char text[4096];
  if (limits_.first_port == 0 && limits_.last_port == 0) {
    unsigned first = 0, last = 0;
    if (!read_setting("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof(text)) ||
        std::sscanf(text, "%u %u", &first, &last) != 2 || first > last || last > 65535) {
      first = kDefaultFirst;
      last = kDefaultLast;
    }
    limits_.first_port = uint16_t(first);
    limits_.last_port = uint16_t(last);
  }
  // "3000,8080-8090"
  if (!read_setting("/proc/sys/net/ipv4/ip_local_reserved_ports", text, sizeof(text))) return;
  for (char* at = text; *at >= '0' && *at <= '9';) {
    PortRange range;
    range.first = range.last = uint16_t(std::strtoul(at, &at, 10));
    if (*at == '-') range.last = uint16_t(std::strtoul(at + 1, &at, 10));
    reserved_by_admin_.push_back(range);
    if (*at == ',') ++at;
  }
}

bool PortBlocks::excluded(uint16_t first_port) const {
  const uint32_t last_port = uint32_t(first_port) + kPortsPerBlock - 1;
  const bool reserved = std::any_of(
      reserved_by_admin_.begin(), reserved_by_admin_.end(),
      [&](const PortRange& range) { return range.first <= last_port && range.last >= first_port; });
  return reserved || owns(first_port);
}

// Tries the blocks of the range one after the other from a random one.
Error PortBlocks::reserve_block() {
  if (blocks() >= limits_.blocks_max) return {EADDRNOTAVAIL};
  read_settings();
  const uint32_t begin = (limits_.first_port + kPortsPerBlock - 1u) / kPortsPerBlock;
  const uint32_t end = (limits_.last_port + 1u) / kPortsPerBlock;
  if (begin >= end) return {EADDRNOTAVAIL};
  const uint32_t start = random_.below(end - begin);
  for (uint32_t i = 0; i < end - begin; ++i) {
    Block block;
    block.first_port = uint16_t((begin + (start + i) % (end - begin)) * kPortsPerBlock);
    if (block.first_port == 0 || excluded(block.first_port)) continue;
    const Error error = bind_block(block);
    // In use in part, or privileged (net.ipv4.ip_unprivileged_port_start): another block may be
    // free.
    if (error.code == EADDRINUSE || error.code == EACCES) continue;
    if (error) return error;
    if (Error refused = observer_.block_reserved(protocol_, block.first_port)) {
      unbind(block);
      return refused;
    }
    blocks_.push_back(block);
    return kOk;
  }
  return {EADDRNOTAVAIL};
}

Error PortBlocks::bind_block(Block& block) {
  std::fill(std::begin(block.sockets), std::end(block.sockets), -1);
  for (uint16_t i = 0; i < kPortsPerBlock; ++i) {
    const int fd = bind_port(protocol_, uint16_t(block.first_port + i));
    if (fd < 0) {
      unbind(block);
      return {-fd};
    }
    block.sockets[i] = fd;
  }
  return kOk;
}

void PortBlocks::unbind(Block& block) {
  for (int& fd : block.sockets) close_fd(fd);
}

void PortBlocks::close() {
  for (Block& block : blocks_) {
    observer_.block_returned(protocol_, block.first_port);
    unbind(block);
  }
  blocks_.clear();
  while (Use* use = all_uses_.pop_front()) {
    uses_.remove(use);
    use_pool_.destroy(use);
  }
}

}  // namespace millrace::control
