// SPDX-License-Identifier: MIT
// The memory that the stack and JavaScript share: two rings of 64-byte records, a ring of free
// transmit frames and a table with one line per socket. lib/rings.ts holds the same numbers; the
// addon hands over the offsets and the sizes, and a test compares the rest.
//
// Every word has one writer. A ring's producer writes records first and its tail after (release);
// the consumer reads the tail (acquire), then records, then moves its head. The stack's side is
// whoever holds the baton, so at any moment each ring has one producer and one consumer.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/os_memory.h"
#include "wire/ip_address.h"

namespace millrace {

inline constexpr uint32_t kRecordWords = 16;  // one cache line
inline constexpr uint32_t kSocketWords = 8;
inline constexpr uint32_t kNoContext = 0;

// Header words (32-bit). Words of different writers lie in different cache lines.
namespace header {
inline constexpr uint32_t kCommandHead = 16;  // stack
inline constexpr uint32_t kCommandTail = 32;  // JavaScript
inline constexpr uint32_t kEventHead = 48;    // JavaScript
inline constexpr uint32_t kEventTail = 64;    // stack
inline constexpr uint32_t kFramesHead = 80;   // JavaScript: frames taken
inline constexpr uint32_t kFramesTail = 96;   // stack: frames offered
inline constexpr uint32_t kEpoch =
    100;  // stack: changes when a destination may be reached differently
inline constexpr uint32_t kFramesFree = 101;    // stack: frames that writers may still take
inline constexpr uint32_t kFrameWaiters = 112;  // JavaScript: writers that wait for a frame
inline constexpr uint32_t kPosts = 113;         // JavaScript: callbacks waiting in Engine.post()
inline constexpr uint32_t kRounds = 114;        // JavaScript's thread: rounds of its event loop
// JavaScript's thread: which of several turns in this round it is; 0 while no upcall of the round
// may have caused what comes
inline constexpr uint32_t kAnswering = 115;
// JavaScript: 1 when an exception may have left callbacks of nextTick behind
inline constexpr uint32_t kTicksLeft = 116;
inline constexpr uint32_t kLooks = 117;      // JavaScript's thread: its turns so far
inline constexpr uint32_t kAddresses = 128;  // scratch of the calling thread: addresses of a call
inline constexpr uint32_t kWords = 256;
}  // namespace header

enum class Command : uint32_t {
  kWrite = 1,  // frame, length
  kShutdown = 2,
  kClose = 3,
  kAbort = 4,
  kResume = 5,            // reading is on again
  kOption = 6,            // tcp::Option, value
  kSend = 7,              // frame, length, port, address[4]; port 0: to the connected peer
  kSetTtl = 8,            // ttl
  kSetReceiveBuffer = 9,  // bytes
  kReturnFrame = 10,      // frame (slot unused)
};

enum class Event : uint32_t {
  kConnect = 1,  // errno or 0
  kAccept = 2,   // new slot, generation, local port, remote port, local[4], remote[4]
  kData = 3,     // slab, offset, length
  kEnd = 4,
  kError = 5,  // errno
  kWritable = 6,
  kMessage = 7,  // slab, offset, length, port, address[4]
  kFrames = 8,   // there are free frames again, and somebody waits for them (slot unused)
  kBulk = 9,     // many bytes: they stay in the stack until JavaScript takes them
};

// What JavaScript wants of a connection's bytes. kOwn: many at once go straight into memory of the
// program's own (Event::kBulk).
enum class Reading : uint32_t { kOff = 0, kOn = 1, kOwn = 2 };

// Words of a socket's line.
namespace socket_word {
inline constexpr uint32_t kReading = 0;       // JavaScript: a Reading
inline constexpr uint32_t kAcked = 1;         // stack: bytes acknowledged, modulo 2^32
inline constexpr uint32_t kSendBuffer = 2;    // stack: bytes that may be unacknowledged
inline constexpr uint32_t kPayloadMss = 3;    // stack: bytes to fill a frame with
inline constexpr uint32_t kWantWritable = 4;  // JavaScript: 1 while it waits for room
inline constexpr uint32_t kContext = 5;       // JavaScript: the async context of its upcalls
inline constexpr uint32_t kGeneration = 6;    // stack: changes whenever the slot is used anew
inline constexpr uint32_t kPublished = 7;     // stack: bytes received in events, modulo 2^32
// Beside the bytes in kSendBuffer: the connection has died, whether or not that was told.
inline constexpr uint32_t kDeadFlag = 1u << 31;
}  // namespace socket_word

// How many frames one connection's unacknowledged bytes may take, by those that are still free: a
// share of what is left, so that however many peers do not read, something is left for the next
// writer (the dynamic thresholds of Choudhury and Hahne). Both sides compute it.
inline constexpr uint32_t kFramesShare = 8;
inline constexpr uint32_t kFramesShareMin = 4;

struct SharedSizes {
  uint32_t commands = 2048;  // powers of two
  uint32_t events = 8192;
  uint32_t frames = 1024;  // free transmit frames that JavaScript may hold
  uint32_t sockets = 65536;
};

class SharedArea {
 public:
  explicit SharedArea(const SharedSizes& sizes)
      : sizes_(sizes),
        commands_word_(header::kWords),
        events_word_(commands_word_ + sizes.commands * kRecordWords),
        frames_word_(events_word_ + sizes.events * kRecordWords),
        sockets_word_(frames_word_ + sizes.frames),
        memory_((size_t(sockets_word_) + size_t(sizes.sockets) * kSocketWords) * 4) {
    MR_ASSERT(memory_.data());
  }
  const SharedSizes& sizes() const { return sizes_; }
  uint32_t commands_word() const { return commands_word_; }
  uint32_t events_word() const { return events_word_; }
  uint32_t frames_word() const { return frames_word_; }
  uint32_t sockets_word() const { return sockets_word_; }
  uint8_t* data() const { return memory_.data(); }
  size_t bytes() const { return memory_.size(); }

  uint32_t* words() const { return reinterpret_cast<uint32_t*>(memory_.data()); }
  uint32_t* command(uint32_t n) const { return record(commands_word_, n, sizes_.commands); }
  uint32_t* event(uint32_t n) const { return record(events_word_, n, sizes_.events); }
  uint32_t* socket(uint32_t slot) const { return words() + sockets_word_ + slot * kSocketWords; }
  uint32_t& free_frame(uint32_t n) const {
    return words()[frames_word_ + (n & (sizes_.frames - 1))];
  }
  uint32_t load(uint32_t word) const {
    return std::atomic_ref(words()[word]).load(std::memory_order_acquire);
  }
  void store(uint32_t word, uint32_t value) const {
    std::atomic_ref(words()[word]).store(value, std::memory_order_release);
  }
  uint32_t commands_waiting() const {
    return load(header::kCommandTail) - load(header::kCommandHead);
  }
  uint32_t events_waiting() const { return load(header::kEventTail) - load(header::kEventHead); }

 private:
  uint32_t* record(uint32_t base, uint32_t n, uint32_t count) const {
    return words() + base + (n & (count - 1)) * kRecordWords;
  }
  SharedSizes sizes_;
  uint32_t commands_word_, events_word_, frames_word_, sockets_word_;
  OsMemory memory_;
};

// Addresses travel as four words holding the 16 bytes of IpAddress as they lie in memory.
inline void put_address(uint32_t* words, const wire::IpAddress& address) {
  std::memcpy(words, address.data(), 16);
}
inline wire::IpAddress get_address(const uint32_t* words) {
  return wire::IpAddress::v6_bytes(reinterpret_cast<const uint8_t*>(words));
}

}  // namespace millrace
