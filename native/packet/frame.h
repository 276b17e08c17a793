// SPDX-License-Identifier: MIT
// A frame: one fixed-size chunk of packet memory and, beside it, its description. The memory is
// what the network card (UMEM) and JavaScript see; the description is the stack's alone.
//
// Life: FramePool::alloc() gives a frame with one reference. Whoever keeps a frame beyond the call
// that gave it takes a reference; it returns to the pool with the last one. A port holds a
// reference while a frame is in its transmit ring (`tx_pending`): until then nobody may change its
// bytes, so a retransmission in that time is sent from a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "base/assert.h"
#include "base/time.h"

namespace millrace {

class FramePool;

struct alignas(64) Frame {
  uint8_t* chunk = nullptr;  // the chunk's first byte
  Frame* next = nullptr;     // for whichever queue holds the frame
  uint32_t index = 0;        // its number in the pool; chunk = pool memory + index * frame_bytes
  uint32_t capacity = 0;     // bytes in the chunk
  uint32_t offset = 0;       // first valid byte in the chunk
  uint32_t length = 0;       // valid bytes
  uint16_t refs = 0;
  uint16_t tx_pending = 0;  // transmit rings that still hold it
  uint8_t flags = 0;
  uint8_t rx_queue = 0;
  // To be sent: the packet goes on in the frames behind it, and the device makes segments of so
  // many payload bytes of it (PortInfo::offloads). 0: it is one segment.
  uint16_t segment_bytes = 0;

  static constexpr uint8_t kChecksumVerified = 1;  // the port vouches for the transport checksum
  // Received over a virtual device that leaves transport checksums unfinished (veth): the field may
  // hold only the pseudo-header sum, and must then be taken as right.
  static constexpr uint8_t kChecksumMayBePartial = 2;
  // Bytes were changed on purpose on the way to the device: nobody may vouch for the checksum.
  static constexpr uint8_t kTampered = 4;
  // Another stack on the same interface received it, and found that it is none of its own.
  static constexpr uint8_t kPassedOn = 8;
  // To be sent: the device is to write the TCP or UDP checksum.
  static constexpr uint8_t kChecksumWanted = 16;
  // To be sent: payload alone, which goes on from the frame that is handed over before this one.
  static constexpr uint8_t kContinues = 32;
  // Received, and the device said when: `received`.
  static constexpr uint8_t kStamped = 64;

  // Room for the owner's own notes while the frame is queued (TCP: sequence, times, SACK state).
  alignas(8) unsigned char scratch[72] = {};

  Instant received;  // in the stack's time; only with kStamped

  uint8_t* data() { return chunk + offset; }
  const uint8_t* data() const { return chunk + offset; }
  std::span<uint8_t> bytes() { return {data(), length}; }
  std::span<const uint8_t> bytes() const { return {data(), length}; }
  size_t headroom() const { return offset; }
  size_t tailroom() const { return capacity - offset - length; }
  uint8_t* push_front(size_t n) {
    MR_DASSERT(n <= offset);
    offset -= uint32_t(n);
    length += uint32_t(n);
    return data();
  }
  void pop_front(size_t n) {
    MR_DASSERT(n <= length);
    offset += uint32_t(n);
    length -= uint32_t(n);
  }
  void trim_to(size_t n) {
    MR_DASSERT(n <= length);
    length = uint32_t(n);
  }
  template <typename T>
  T& scratch_as() {
    static_assert(sizeof(T) <= sizeof(scratch) && std::is_trivially_copyable_v<T>);
    return *reinterpret_cast<T*>(scratch);
  }
};
static_assert(sizeof(Frame) == 128);

// Singly linked queue of frames through Frame::next.
class FrameQueue {
 public:
  bool empty() const { return head_ == nullptr; }
  Frame* front() const { return head_; }
  Frame* back() const { return tail_; }
  void push_back(Frame* f) {
    f->next = nullptr;
    (tail_ ? tail_->next : head_) = f;
    tail_ = f;
    ++count_;
  }
  Frame* pop_front() {
    Frame* f = head_;
    if (!f) return nullptr;
    head_ = f->next;
    if (!head_) tail_ = nullptr;
    f->next = nullptr;
    --count_;
    return f;
  }
  uint32_t size() const { return count_; }

 private:
  Frame* head_ = nullptr;
  Frame* tail_ = nullptr;
  uint32_t count_ = 0;
};

}  // namespace millrace
