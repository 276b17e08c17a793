// SPDX-License-Identifier: MIT
// What the tests of ports share: frames with recognisable content, and IPv4 packets made by hand.
#pragma once

#include <array>
#include <cstring>
#include <vector>

#include "port/port.h"

namespace millrace::test {

// Byte i of frame `number`.
inline uint8_t content(uint32_t number, uint32_t i) {
  return uint8_t(number * 131 + i * 7 + 3);
}

inline Frame* make_frame(FramePool& pool, uint32_t number, uint32_t length) {
  Frame* frame = pool.alloc();
  if (!frame) return nullptr;
  frame->length = length;
  for (uint32_t i = 0; i < length; ++i) frame->data()[i] = content(number, i);
  return frame;
}

inline bool has_content(const Frame& frame, uint32_t number, uint32_t length) {
  if (frame.length != length) return false;
  for (uint32_t i = 0; i < length; ++i) {
    if (frame.data()[i] != content(number, i)) return false;
  }
  return true;
}

// The number of the frame whose content this is, by its first two bytes; -1 for none below `limit`.
inline int number_of(const Frame& frame, uint32_t limit) {
  for (uint32_t n = 0; n < limit; ++n) {
    if (has_content(frame, n, frame.length)) return int(n);
  }
  return -1;
}

// Sends one frame and gives the sender's reference back.
inline uint32_t send_one(Port& port, FramePool& pool, Instant now, Frame* frame) {
  Frame* const one[] = {frame};
  const uint32_t taken = port.transmit(now, one);
  pool.release(frame);
  return taken;
}

inline std::vector<Frame*> receive_all(Port& port, Instant now) {
  std::vector<Frame*> all;
  std::array<Frame*, 32> burst;
  while (const uint32_t n = port.receive(now, burst))
    all.insert(all.end(), burst.begin(), burst.begin() + n);
  return all;
}

inline void release_all(FramePool& pool, std::vector<Frame*>& frames) {
  for (Frame* frame : frames) pool.release(frame);
  frames.clear();
}

inline Instant at_us(int64_t us) {
  return Instant{} + Duration::micros(us);
}

}  // namespace millrace::test
