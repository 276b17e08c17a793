// SPDX-License-Identifier: MIT
#include "wire/checksum.h"

#include <doctest/doctest.h>

#include <random>

#include "support/packets.h"

using namespace millrace;
using namespace millrace::test;

namespace {
uint16_t as_number(uint16_t memory_order) {
  uint8_t bytes[2];
  std::memcpy(bytes, &memory_order, 2);
  return wire::load16(bytes);
}
}  // namespace

TEST_CASE("the checksum equals the naive sum for every length and alignment") {
  std::mt19937 random(3);
  Bytes memory(4096);
  for (size_t length = 0; length < 300; ++length) {
    for (size_t at = 0; at < 8; ++at) {
      for (uint8_t& b : memory) b = uint8_t(random());
      const Bytes bytes(memory.begin() + long(at), memory.begin() + long(at + length));
      CHECK(as_number(wire::checksum_finish(
                wire::checksum_partial({memory.data() + at, length}))) == naive_checksum(bytes));
    }
  }
}

TEST_CASE("no carry is lost in the largest packet of all ones") {
  const Bytes ones(65535, 0xff);
  CHECK(as_number(wire::checksum_finish(wire::checksum_partial(ones))) == naive_checksum(ones));
  const Bytes zeros(65535, 0);
  CHECK(wire::checksum_finish(wire::checksum_partial(zeros)) == 0xffff);
}

TEST_CASE("pieces of even length can be summed one after another, in any mixture") {
  std::mt19937 random(4);
  for (int round = 0; round < 500; ++round) {
    Bytes bytes(random() % 2000);
    for (uint8_t& b : bytes) b = uint8_t(random() % 3 ? 0xff : random());
    uint64_t chained = 0, added = 0;
    for (size_t at = 0; at < bytes.size();) {
      const size_t n = std::min<size_t>(bytes.size() - at, random() % 200 * 2 + 2);
      chained = wire::checksum_partial({bytes.data() + at, n}, chained);
      added += wire::checksum_partial({bytes.data() + at, n});
      at += n;
    }
    CHECK(as_number(wire::checksum_finish(chained)) == naive_checksum(bytes));
    CHECK(as_number(wire::checksum_finish(added)) == naive_checksum(bytes));
  }
}

TEST_CASE("a copy is the same bytes, and its sum theirs, at any length and place") {
  std::mt19937 random(5);
  for (size_t length = 0; length < 300; ++length) {
    for (const size_t at : {0u, 1u, 6u}) {
      Bytes from(at + length), to(length + 9, 0xee);
      for (uint8_t& b : from) b = uint8_t(random() % 3 ? 0xff : random());
      const uint16_t sum = wire::copy_and_sum(to.data() + 1, from.data() + at, length);
      CHECK(sum == wire::checksum_fold(wire::checksum_partial({from.data() + at, length})));
      CHECK(std::equal(from.begin() + long(at), from.end(), to.begin() + 1));
      CHECK(to[0] == 0xee);
      CHECK(to[length + 1] == 0xee);
    }
  }
}

TEST_CASE("a running sum near the top of 64 bits folds without losing carries") {
  CHECK(wire::checksum_fold(UINT64_MAX) == 0xffff);
  CHECK(wire::checksum_fold(0) == 0);
  CHECK(wire::checksum_fold(0x10000) == 1);
  CHECK(wire::checksum_fold(0xffff0000ffff0000) == 0xffff);
  // One step below the naive bound: 2^32-1 twice, which carries again after the first fold.
  CHECK(wire::checksum_fold(0xffffffffffffffff - 1) == 0xfffe);
}

TEST_CASE("the pseudo header's sum, in both families") {
  const IpAddress pairs[][2] = {{ip("10.1.2.3"), ip("255.254.253.252")},
                                {ip("2001:db8::1"), ip("fe80::ffff:ffff:1")}};
  for (const auto& pair : pairs) {
    for (uint32_t length : {0u, 8u, 1480u, 65535u}) {
      for (uint8_t protocol : {uint8_t(6), uint8_t(17), uint8_t(58)}) {
        const uint64_t sum = wire::checksum_pseudo(pair[0], pair[1], protocol, length);
        CHECK(as_number(wire::checksum_finish(sum)) ==
              naive_checksum(pseudo_header(pair[0], pair[1], protocol, length)));
      }
    }
  }
}
