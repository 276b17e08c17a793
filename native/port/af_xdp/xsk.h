// SPDX-License-Identifier: MIT
// One AF_XDP socket: its four rings, mapped from the kernel, and nothing more. The socket knows
// addresses in the packet memory (UMEM), not frames. Single producer and consumer on our side. The
// kernel's Documentation/networking/af_xdp.rst describes the interface.
#pragma once

#include <linux/if_xdp.h>

#include <cstddef>
#include <cstdint>

#include "base/setup_error.h"

namespace millrace::af_xdp {

// A ring shared with the kernel: free-running 32-bit indexes, a power of two of slots. Acquire and
// release on the other side's index, plain access to our own.
template <typename T>
class Ring {
 public:
  bool mapped() const { return memory_ != nullptr; }
  uint32_t size() const { return size_; }
  bool needs_wakeup() const {
    return __atomic_load_n(flags_, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP;
  }

  // As producer: slots free for writing, at least `wanted` if there are so many.
  uint32_t writable(uint32_t wanted) {
    uint32_t free = size_ - (local_ - remote_);
    if (free < wanted) {
      remote_ = __atomic_load_n(consumer_, __ATOMIC_ACQUIRE);
      free = size_ - (local_ - remote_);
    }
    return free;
  }
  // Entries that the kernel has not consumed yet.
  uint32_t unconsumed() {
    remote_ = __atomic_load_n(consumer_, __ATOMIC_ACQUIRE);
    return local_ - remote_;
  }
  // As consumer: entries to read.
  uint32_t readable() {
    remote_ = __atomic_load_n(producer_, __ATOMIC_ACQUIRE);
    return remote_ - local_;
  }
  bool anything_to_read() const { return __atomic_load_n(producer_, __ATOMIC_RELAXED) != local_; }
  // The slot `i` places ahead of the published ones.
  T& slot(uint32_t i) { return entries_[(local_ + i) & mask_]; }
  void publish(uint32_t n) {  // as producer
    local_ += n;
    __atomic_store_n(producer_, local_, __ATOMIC_RELEASE);
  }
  void consume(uint32_t n) {  // as consumer
    local_ += n;
    __atomic_store_n(consumer_, local_, __ATOMIC_RELEASE);
  }

  bool map(int fd, uint64_t page_offset, const xdp_ring_offset& offsets, uint32_t size);
  void unmap();

 private:
  uint32_t* producer_ = nullptr;
  uint32_t* consumer_ = nullptr;
  uint32_t* flags_ = nullptr;
  T* entries_ = nullptr;
  uint32_t size_ = 0;
  uint32_t mask_ = 0;
  uint32_t local_ = 0;   // our index: what we have produced or consumed
  uint32_t remote_ = 0;  // the kernel's, as last seen
  void* memory_ = nullptr;
  size_t memory_bytes_ = 0;
};

struct XskConfig {
  const char* interface = "";  // for error texts
  uint32_t ifindex = 0;
  uint32_t rx_slots = 0;
  uint32_t fill_slots = 0;
  uint32_t tx_slots = 0;    // 0: receives only
  uint16_t bind_flags = 0;  // XDP_ZEROCOPY or XDP_COPY; ignored when the memory is another socket's
  int memory_of = -1;       // the socket that registered the packet memory, or -1: register it here
  uint8_t* memory = nullptr;
  size_t memory_bytes = 0;
  uint32_t chunk_bytes = 0;
};

class Xsk {
 public:
  Xsk() = default;
  ~Xsk() { close(); }
  Xsk(const Xsk&) = delete;
  Xsk& operator=(const Xsk&) = delete;

  // Memory and rings. False, and `error` says why; the socket is closed again then.
  bool open(const XskConfig& config, SetupError& error);
  // Takes a receive queue. After EBUSY (another socket has it) the same or another one may be
  // tried.
  bool bind(const XskConfig& config, uint32_t queue, SetupError& error);
  void close();
  int fd() const { return fd_; }
  bool zero_copy() const;
  bool statistics(xdp_statistics& out) const;

  Ring<uint64_t> fill;
  Ring<uint64_t> completion;
  Ring<xdp_desc> rx;
  Ring<xdp_desc> tx;

 private:
  bool make(const XskConfig& config, SetupError& error);
  bool set_up_memory(const XskConfig& config, SetupError& error);
  bool set_up_rings(const XskConfig& config, SetupError& error);

  int fd_ = -1;
};

}  // namespace millrace::af_xdp
