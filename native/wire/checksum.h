// SPDX-License-Identifier: MIT
// The Internet checksum (RFC 1071): one's complement sum of 16-bit words.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "wire/ip_address.h"

namespace millrace::wire {

// Running one's complement sum of `data` as it lies in memory, to be combined with operator+ and
// ended with checksum_finish(). Only the last piece may have an odd length.
uint64_t checksum_partial(std::span<const uint8_t> data, uint64_t sum = 0);
// Copies `bytes` and returns their sum, folded, as checksum_fold(checksum_partial()) gives it.
uint16_t copy_and_sum(uint8_t* to, const uint8_t* from, size_t bytes);
// Folds to 16 bits in memory order, not complemented.
uint16_t checksum_fold(uint64_t sum);
// The complemented checksum, in memory order: store it with memcpy, not store16().
inline uint16_t checksum_finish(uint64_t sum) {
  return uint16_t(~checksum_fold(sum));
}
// Sum over the pseudo header of RFC 9293 3.1 (IPv4) or RFC 8200 8.1 (IPv6).
uint64_t checksum_pseudo(const IpAddress& source, const IpAddress& destination, uint8_t protocol,
                         uint32_t length);

}  // namespace millrace::wire
