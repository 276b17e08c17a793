// SPDX-License-Identifier: MIT
// Local ports for outgoing connections. Ports come in aligned blocks of 64, each reserved by
// binding all of its ports in the kernel (sockets that neither listen nor connect), so that nothing
// else on the machine can take them, and steered to us by one rule per block. Blocks are reserved
// when they are needed, up to blocks_max, and kept. Inside the blocks a port serves many remote
// endpoints at a time; it is chosen as RFC 6056 3.3.4 (double-hash) does, so that the next one
// cannot be guessed.
//
// Costs 64 descriptors per block.
#pragma once

#include <cstdint>
#include <vector>

#include "base/hash_table.h"
#include "base/list.h"
#include "base/object_pool.h"
#include "base/random.h"
#include "base/result.h"
#include "wire/ip_address.h"

namespace millrace::control {

inline constexpr uint16_t kPortsPerBlock = 64;

struct PortBlockLimits {
  uint32_t blocks_max = 256;
  uint32_t flows_max = 65536;  // pairs of port and remote endpoint in use
  // Up to so many blocks there is another one when none of the free ports is liked.
  uint32_t preferred_blocks_max = 8;
  // The range to take blocks from; 0, 0: net.ipv4.ip_local_port_range, or Linux's default of it.
  // Ports of net.ipv4.ip_local_reserved_ports are left alone.
  uint16_t first_port = 0;
  uint16_t last_port = 0;
};

// Steers blocks.
class PortBlockObserver {
 public:
  virtual ~PortBlockObserver() = default;
  // Before any port of it is handed out. An error gives the block back to the kernel.
  virtual Error block_reserved(uint8_t protocol, uint16_t first_port) = 0;
  virtual void block_returned(uint8_t protocol, uint16_t first_port) = 0;
};

// Of the ports that are free for a remote endpoint some may be better.
class PortPreference {
 public:
  virtual ~PortPreference() = default;
  virtual bool likes(uint16_t port) = 0;
};

class PortBlocks {
 public:
  // `protocol`: 6 (TCP) or 17 (UDP). The ports are reserved in the namespace in which allocate() is
  // called.
  PortBlocks(uint8_t protocol, Random& random, const PortBlockLimits& limits,
             PortBlockObserver& observer);
  ~PortBlocks();
  PortBlocks(const PortBlocks&) = delete;
  PortBlocks& operator=(const PortBlocks&) = delete;

  // A local port that is not in use with `remote`. EADDRNOTAVAIL: none is left and no more can be
  // reserved; EMFILE, ENFILE: no descriptors to reserve more with; or the observer's error.
  // `preference`, if there is one, is asked about a bounded number of free ports. When it likes
  // none, there is another block, as long as there are few and it likes any port of the last one;
  // after that a port that it does not like has to do.
  Result<uint16_t> allocate(const wire::Endpoint& remote, PortPreference* preference = nullptr);
  // The pair is free again. False when it was not in use.
  bool release(uint16_t port, const wire::Endpoint& remote);
  bool owns(uint16_t port) const;

  uint32_t blocks() const { return uint32_t(blocks_.size()); }
  uint32_t in_use() const { return uses_.size(); }
  // Gives every block back and forgets what is in use.
  void close();

 private:
  struct Tag;
  struct Use : HashNode<Tag>, ListNode<Tag> {
    wire::Endpoint remote;
    uint16_t port = 0;
  };
  struct Block {
    uint16_t first_port = 0;
    int sockets[kPortsPerBlock];
  };
  struct PortRange {
    uint16_t first = 0, last = 0;
  };

  uint64_t hash(const SipKey& key, const wire::Endpoint& remote, uint16_t port) const;
  Use* find(const wire::Endpoint& remote, uint16_t port) const;
  uint16_t take(const wire::Endpoint& remote, uint16_t port);
  Error reserve_block();
  bool another_may_please(PortPreference& preference) const;
  Error bind_block(Block& block);
  void unbind(Block& block);
  void read_settings();
  bool excluded(uint16_t first_port) const;

  static constexpr uint32_t kOffsets = 64;  // RFC 6056's TABLE_LENGTH

  uint8_t protocol_;
  Random& random_;
  PortBlockLimits limits_;
  PortBlockObserver& observer_;
  SipKey place_key_, table_key_, use_key_;
  uint32_t offsets_[kOffsets];
  std::vector<Block> blocks_;
  std::vector<PortRange> reserved_by_admin_;
  bool settings_read_ = false;
  ObjectPool<Use> use_pool_;
  HashTable<Use, Tag> uses_;
  List<Use, Tag> all_uses_;
};

}  // namespace millrace::control
