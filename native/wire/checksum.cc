// SPDX-License-Identifier: MIT
#include "wire/checksum.h"

#include <bit>
#include <cstring>

namespace millrace::wire {

namespace {

uint64_t word32(const uint8_t* p) {
  uint32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

}  // namespace

uint64_t checksum_partial(std::span<const uint8_t> data, uint64_t sum) {
  const uint8_t* p = data.data();
  size_t left = data.size();
  // 32-bit words into 64-bit accumulators: no carry can be lost below 2^32 words.
  uint64_t other = 0;
  for (; left >= 16; left -= 16, p += 16) {
    uint32_t words[4];
    std::memcpy(words, p, 16);
    sum += uint64_t(words[0]) + words[1];
    other += uint64_t(words[2]) + words[3];
  }
  sum = uint64_t(checksum_fold(sum)) + checksum_fold(other);
  for (; left >= 2; left -= 2, p += 2) {
    uint16_t word;
    std::memcpy(&word, p, 2);
    sum += word;
  }
  if (left) {
    uint16_t word = 0;
    std::memcpy(&word, p, 1);
    sum += word;
  }
  return sum;
}

uint16_t copy_and_sum(uint8_t* to, const uint8_t* from, size_t bytes) {
  uint64_t sum = 0, other = 0;
  size_t left = bytes;
  for (; left >= 32; left -= 32, from += 32, to += 32) {
    uint32_t words[8];
    std::memcpy(words, from, 32);
    std::memcpy(to, words, 32);
    sum += uint64_t(words[0]) + words[1] + words[2] + words[3];
    other += uint64_t(words[4]) + words[5] + words[6] + words[7];
  }
  if (left > 0) std::memcpy(to, from, left);
  sum = uint64_t(checksum_fold(sum)) + checksum_fold(other);
  return checksum_fold(checksum_partial({to, left}, sum));
}

uint16_t checksum_fold(uint64_t sum) {
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 32) + (sum & 0xffffffff);
  sum = (sum >> 16) + (sum & 0xffff);
  sum = (sum >> 16) + (sum & 0xffff);
  return uint16_t((sum >> 16) + (sum & 0xffff));
}

uint64_t checksum_pseudo(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                         uint32_t length) {
  // 32-bit words as they would lie in memory.
  uint8_t tail[8];
  store32(tail, length);
  store32(tail + 4, protocol);
  uint64_t sum = word32(tail) + word32(tail + 4);
  for (size_t i = source.is_v4() ? 12 : 0; i < 16; i += 4) {
    sum += word32(source.data() + i) + word32(destination.data() + i);
  }
  return sum;
}

}  // namespace millrace::wire
