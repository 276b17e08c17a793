// SPDX-License-Identifier: MIT
#include "port/af_xdp/xsk.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/capability.h"
#include "base/close_fd.h"

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

namespace millrace::af_xdp {
namespace {

// Linux 6.17: how many packets one copy-mode send may process; 32 before and without.
constexpr int kMaxTxBudget = 9;
constexpr int kSendBufferBytes = 8 << 20;

template <typename T>
bool set_option(int fd, int option, const T& value) {
  return setsockopt(fd, SOL_XDP, option, &value, sizeof(value)) == 0;
}

}  // namespace

template <typename T>
bool Ring<T>::map(int fd, uint64_t page_offset, const xdp_ring_offset& offsets, uint32_t size) {
  memory_bytes_ = offsets.desc + size_t(size) * sizeof(T);
  void* p = mmap(nullptr, memory_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd,
                 off_t(page_offset));
  if (p == MAP_FAILED) return false;
  auto* base = static_cast<uint8_t*>(p);
  memory_ = p;
  producer_ = reinterpret_cast<uint32_t*>(base + offsets.producer);
  consumer_ = reinterpret_cast<uint32_t*>(base + offsets.consumer);
  flags_ = reinterpret_cast<uint32_t*>(base + offsets.flags);
  entries_ = reinterpret_cast<T*>(base + offsets.desc);
  size_ = size;
  mask_ = size - 1;
  local_ = remote_ = 0;
  return true;
}

template <typename T>
void Ring<T>::unmap() {
  if (memory_) munmap(memory_, memory_bytes_);
  *this = Ring();
}

bool Xsk::open(const XskConfig& config, SetupError& error) {
  if (make(config, error)) return true;
  close();
  return false;
}

bool Xsk::make(const XskConfig& config, SetupError& error) {
  fd_ = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd_ < 0) {
    if (errno == EPERM) {
      error.set(EPERM, "cannot open an AF_XDP socket: missing %s",
                has_capability(Capability::kNetRaw) ? "a privilege" : "CAP_NET_RAW");
    } else {
      error.set(errno, "cannot open an AF_XDP socket: %s%s", std::strerror(errno),
                errno == EAFNOSUPPORT ? " (the kernel is built without CONFIG_XDP_SOCKETS)" : "");
    }
    return false;
  }
  return set_up_memory(config, error) && set_up_rings(config, error);
}

bool Xsk::set_up_memory(const XskConfig& config, SetupError& error) {
  if (config.memory_of >= 0) return true;
  struct {  // struct xdp_umem_reg
    uint64_t address, bytes;
    uint32_t chunk_bytes, headroom, flags;
  } registration{uint64_t(reinterpret_cast<uintptr_t>(config.memory)), config.memory_bytes,
                 config.chunk_bytes, 0, 0};
  if (set_option(fd_, XDP_UMEM_REG, registration)) return true;
  const int code = errno;
  if (code == ENOBUFS) {
    rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    error.set(
        ENOBUFS,
        "cannot pin %zu KiB of packet memory: RLIMIT_MEMLOCK is %llu KiB; raise it (ulimit -l) "
        "or give CAP_IPC_LOCK",
        config.memory_bytes >> 10, static_cast<unsigned long long>(limit.rlim_cur >> 10));
  } else {
    error.set(code, "cannot register %zu KiB of packet memory in chunks of %u bytes: %s",
              config.memory_bytes >> 10, config.chunk_bytes, std::strerror(code));
  }
  return false;
}

bool Xsk::set_up_rings(const XskConfig& config, SetupError& error) {
  const uint32_t completion_slots = config.tx_slots ? config.tx_slots : 64;
  if (!set_option(fd_, XDP_UMEM_FILL_RING, config.fill_slots) ||
      !set_option(fd_, XDP_UMEM_COMPLETION_RING, completion_slots) ||
      !set_option(fd_, XDP_RX_RING, config.rx_slots) ||
      (config.tx_slots && !set_option(fd_, XDP_TX_RING, config.tx_slots))) {
    error.set(errno, "cannot make the AF_XDP rings: %s", std::strerror(errno));
    return false;
  }
  xdp_mmap_offsets offsets{};
  socklen_t length = sizeof(offsets);
  if (getsockopt(fd_, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &length) != 0 ||
      length != sizeof(offsets)) {
    error.set(EOPNOTSUPP, "the kernel's AF_XDP is older than Linux 5.4");
    return false;
  }
  if (!fill.map(fd_, XDP_UMEM_PGOFF_FILL_RING, offsets.fr, config.fill_slots) ||
      !completion.map(fd_, XDP_UMEM_PGOFF_COMPLETION_RING, offsets.cr, completion_slots) ||
      !rx.map(fd_, XDP_PGOFF_RX_RING, offsets.rx, config.rx_slots) ||
      (config.tx_slots && !tx.map(fd_, XDP_PGOFF_TX_RING, offsets.tx, config.tx_slots))) {
    error.set(errno, "cannot map the AF_XDP rings: %s", std::strerror(errno));
    return false;
  }
  if (config.tx_slots) {
    // Both only save system calls and refusals; neither has to succeed.
    setsockopt(fd_, SOL_SOCKET, SO_SNDBUFFORCE, &kSendBufferBytes, sizeof(kSendBufferBytes));
    set_option(fd_, kMaxTxBudget, config.tx_slots);
  }
  return true;
}

bool Xsk::bind(const XskConfig& config, uint32_t queue, SetupError& error) {
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_ifindex = config.ifindex;
  address.sxdp_queue_id = queue;
  if (config.memory_of >= 0) {
    address.sxdp_flags = XDP_SHARED_UMEM;
    address.sxdp_shared_umem_fd = uint32_t(config.memory_of);
  } else {
    address.sxdp_flags = uint16_t(config.bind_flags | XDP_USE_NEED_WAKEUP);
  }
  if (::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) return true;
  const int code = errno;
  if (code == EBUSY) {
    error.set(EBUSY, "queue %u of \"%s\" is in use by another AF_XDP socket", queue,
              config.interface);
  } else if (code == EPERM || code == EACCES) {
    error.set(code, "cannot bind to queue %u of \"%s\": missing CAP_NET_RAW", queue,
              config.interface);
  } else {
    error.set(code, "cannot bind to queue %u of \"%s\": %s", queue, config.interface,
              std::strerror(code));
  }
  return false;
}

void Xsk::close() {
  close_fd(fd_);
  fill.unmap();
  completion.unmap();
  rx.unmap();
  tx.unmap();
}

bool Xsk::zero_copy() const {
  xdp_options options{};
  socklen_t length = sizeof(options);
  return getsockopt(fd_, SOL_XDP, XDP_OPTIONS, &options, &length) == 0 &&
         (options.flags & XDP_OPTIONS_ZEROCOPY);
}

bool Xsk::statistics(xdp_statistics& out) const {
  out = {};
  socklen_t length = sizeof(out);
  return getsockopt(fd_, SOL_XDP, XDP_STATISTICS, &out, &length) == 0;
}

template class Ring<uint64_t>;
template class Ring<xdp_desc>;

}  // namespace millrace::af_xdp
