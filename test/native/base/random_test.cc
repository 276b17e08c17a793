// SPDX-License-Identifier: MIT
#include "base/random.h"

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cmath>
#include <vector>

#include "base/siphash.h"

using namespace millrace;

TEST_CASE("SipHash-2-4 agrees with the vectors of its paper") {
  SipKey key;
  std::array<uint8_t, 16> key_bytes;
  for (size_t i = 0; i < 16; ++i) key_bytes[i] = uint8_t(i);
  std::memcpy(&key.k0, key_bytes.data(), 8);
  std::memcpy(&key.k1, key_bytes.data() + 8, 8);
  std::array<uint8_t, 64> message;
  for (size_t i = 0; i < 64; ++i) message[i] = uint8_t(i);
  const auto hash = [&](size_t n) { return SipHash::hash(key, {message.data(), n}); };
  CHECK(hash(0) == 0x726fdb47dd0e0e31);
  CHECK(hash(1) == 0x74f839c593dc67fd);
  CHECK(hash(2) == 0x0d6c8009d9a94f5a);
  CHECK(hash(3) == 0x85676696d7fb7e2d);
  CHECK(hash(8) == 0x93f5f5799a932462);
  CHECK(hash(15) == 0xa129ca6149be45e5);
}

TEST_CASE("SipHash depends on every bit of key and message") {
  const SipKey key{1, 2};
  std::array<uint8_t, 37> message{};
  const uint64_t base = SipHash::hash(key, message);
  for (size_t bit = 0; bit < message.size() * 8; ++bit) {
    message[bit / 8] ^= uint8_t(1 << bit % 8);
    const int changed = std::popcount(SipHash::hash(key, message) ^ base);
    CHECK(changed > 8);
    CHECK(changed < 56);
    message[bit / 8] ^= uint8_t(1 << bit % 8);
  }
  CHECK(SipHash::hash({1, 3}, message) != base);
  CHECK(SipHash::hash({0, 2}, message) != base);
}

TEST_CASE("a seed gives the same numbers again and another seed others") {
  Random a = Random::from_seed(42), b = Random::from_seed(42), c = Random::from_seed(43);
  int different = 0;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t value = a.next_u64();
    CHECK(value == b.next_u64());
    different += value != c.next_u64();
  }
  CHECK(different == 1000);
}

TEST_CASE("numbers are spread evenly, from a seed and from the kernel") {
  for (bool kernel : {false, true}) {
    Random random = kernel ? Random::from_kernel() : Random::from_seed(1);
    std::vector<int> buckets(100);
    for (int i = 0; i < 100000; ++i) ++buckets[random.below(100)];
    double chi = 0;
    for (int n : buckets) chi += (n - 1000.0) * (n - 1000.0) / 1000.0;
    CHECK(chi < 180);  // 99 degrees of freedom: once in a million by chance
    int hits = 0;
    for (int i = 0; i < 100000; ++i) hits += random.chance(10'000);
    CHECK(hits > 800);
    CHECK(hits < 1200);
  }
  Random random = Random::from_seed(1);
  CHECK(random.below(1) == 0);
  CHECK(!random.chance(0));
}

TEST_CASE("the kernel's numbers are not the same twice") {
  Random a = Random::from_kernel(), b = Random::from_kernel();
  CHECK(a.next_u64() != b.next_u64());
  const SipKey one = a.sip_key(), two = a.sip_key();
  CHECK((one.k0 != two.k0 || one.k1 != two.k1));
}
