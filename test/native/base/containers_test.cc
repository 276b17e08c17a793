// SPDX-License-Identifier: MIT
// The tables and pools on which every limit rests.
#include <doctest/doctest.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <set>
#include <vector>

#include "base/fixed_vector.h"
#include "base/hash_table.h"
#include "base/list.h"
#include "base/object_pool.h"
#include "base/result.h"
#include "base/tag_table.h"

using namespace millrace;

namespace {
struct TagA;
struct TagB;
struct Item : HashNode<TagA>, HashNode<TagB>, ListNode<TagA> {
  explicit Item(int v) : value(v) { ++alive; }
  ~Item() { --alive; }
  int value;
  static int alive;
};
int Item::alive = 0;
}  // namespace

TEST_CASE("a hash table finds what was put in, whatever the collisions, and nothing else") {
  HashTable<Item, TagA> table(16);
  std::vector<std::unique_ptr<Item>> items;
  for (int i = 0; i < 500; ++i) {
    items.push_back(std::make_unique<Item>(i));
    table.insert(items.back().get(), uint64_t(i % 7));  // seven chains, far more than the capacity
  }
  CHECK(table.size() == 500);
  for (int i = 0; i < 500; ++i) {
    Item* found = table.find(uint64_t(i % 7), [&](const Item& x) { return x.value == i; });
    REQUIRE(found);
    CHECK(found->value == i);
    CHECK(!table.find(uint64_t(i % 7 + 1), [&](const Item& x) { return x.value == i; }));
  }
  for (int i = 0; i < 500; i += 2) table.remove(items[size_t(i)].get());
  CHECK(table.size() == 250);
  for (int i = 0; i < 500; ++i) {
    CHECK((table.find(uint64_t(i % 7), [&](const Item& x) { return x.value == i; }) != nullptr) ==
          (i % 2 == 1));
  }
}

TEST_CASE("hashes that differ only above the bucket mask are told apart") {
  HashTable<Item, TagA> table(16);
  Item a(1), b(2);
  table.insert(&a, 5);
  table.insert(&b, 5 + (uint64_t(1) << 40));
  CHECK(table.find(5, [](const Item&) { return true; }) == &a);
  CHECK(table.find(5 + (uint64_t(1) << 40), [](const Item&) { return true; }) == &b);
}

TEST_CASE("an element can be in two tables at once") {
  HashTable<Item, TagA> one(16);
  HashTable<Item, TagB> two(16);
  Item a(1);
  one.insert(&a, 3);
  two.insert(&a, 900);
  one.remove(&a);
  CHECK(two.find(900, [](const Item&) { return true; }) == &a);
}

namespace {
struct Tagged {
  int value = 0;
  uint64_t hash = 0;
};
}  // namespace

TEST_CASE("a tag table finds what was put in, whatever the collisions, and nothing else") {
  constexpr int kCount = 2000;
  std::vector<Tagged> items(kCount);
  // Well spread; all in a few buckets, which run over; the same hash for all, more often than the
  // count of those that passed a bucket can tell.
  const auto spread = [](int i) { return uint64_t(i) * 0x9e3779b97f4a7c15; };
  const auto crowded = [](int i) { return uint64_t(i % 5) << 56 | uint64_t(i % 3); };
  const auto same = [](int) { return uint64_t(0); };
  for (const std::function<uint64_t(int)>& hash_of :
       std::initializer_list<std::function<uint64_t(int)>>{spread, crowded, same}) {
    TagTable<Tagged> table(kCount);
    const auto find = [&](int i) {
      return table.find(hash_of(i), [&](const Tagged& t) { return t.value == i; });
    };
    for (int i = 0; i < kCount; ++i) {
      CHECK(!find(i));
      items[size_t(i)].value = i;
      table.insert(&items[size_t(i)], hash_of(i));
    }
    CHECK(table.size() == kCount);
    for (int i = 0; i < kCount; ++i) CHECK(find(i) == &items[size_t(i)]);
    for (int i = 0; i < kCount; i += 2) table.remove(&items[size_t(i)]);
    for (int i = 0; i < kCount; ++i) {
      CHECK(find(i) == (i % 2 ? &items[size_t(i)] : nullptr));
    }
    for (int i = 0; i < kCount; i += 2) table.insert(&items[size_t(i)], hash_of(i));
    for (int i = 0; i < kCount; ++i) CHECK(find(i) == &items[size_t(i)]);
    for (int i = kCount - 1; i >= 0; --i) table.remove(&items[size_t(i)]);
    CHECK(table.size() == 0);
    for (int i = 0; i < kCount; ++i) CHECK(!find(i));
  }
}

TEST_CASE("a tag table's guess is the element alone in its bucket, or none") {
  TagTable<Tagged> table(16);
  Tagged a{1}, b{2};
  const uint64_t hash = uint64_t(7) << 56 | 3, other = uint64_t(9) << 56 | 3;
  CHECK(table.guess(hash) == nullptr);
  table.insert(&a, hash);
  CHECK(table.guess(hash) == &a);
  CHECK(table.guess(other) == nullptr);
  table.insert(&b, other);
  CHECK(table.guess(other) == &b);
  table.remove(&a);
  CHECK(table.guess(hash) == nullptr);
}

TEST_CASE("an object pool refuses past its capacity and reuses what comes back") {
  ObjectPool<Item> pool(3);
  Item* a = pool.create(1);
  Item* b = pool.create(2);
  Item* c = pool.create(3);
  CHECK(pool.full());
  CHECK(pool.create(4) == nullptr);
  CHECK(std::set<uint32_t>{pool.index_of(a), pool.index_of(b), pool.index_of(c)} ==
        std::set<uint32_t>{0, 1, 2});
  CHECK(pool.at(pool.index_of(b)) == b);
  pool.destroy(b);
  CHECK(pool.live() == 2);
  CHECK(Item::alive == 2);
  CHECK(pool.create(5) == b);
  CHECK(b->value == 5);
  for (Item* item : {a, b, c}) pool.destroy(item);
  CHECK(Item::alive == 0);
}

TEST_CASE("a list keeps its order through removal from the middle and splicing") {
  Item a(1), b(2), c(3), d(4);
  List<Item, TagA> list, other;
  for (Item* item : {&a, &b, &c}) list.push_back(item);
  static_cast<ListNode<TagA>&>(b).unlink();
  other.push_back(&d);
  other.push_front(&b);
  list.splice_back(other);
  CHECK(other.empty());
  std::vector<int> seen;
  for (Item* item = list.front(); item; item = list.next(item)) seen.push_back(item->value);
  CHECK(seen == std::vector<int>{1, 3, 2, 4});
  while (list.pop_front()) {
  }
  CHECK(list.empty());
  CHECK(!static_cast<ListNode<TagA>&>(a).linked());
}

TEST_CASE("a fixed vector keeps order and refuses past its capacity") {
  FixedVector<int> v(4);
  CHECK(v.push_back(1));
  CHECK(v.push_back(3));
  CHECK(v.insert(1, 2));
  CHECK(v.insert(0, 0));
  CHECK(!v.push_back(4));
  CHECK(std::vector<int>(v.begin(), v.end()) == std::vector<int>{0, 1, 2, 3});
  v.erase(1);
  CHECK(std::vector<int>(v.begin(), v.end()) == std::vector<int>{0, 2, 3});
  v.clear();
  CHECK(v.empty());
  FixedVector<int> none(0);
  CHECK(!none.push_back(1));
}

TEST_CASE("a result is a value or an error") {
  Result<int> good = 7;
  Result<int> bad = Error{ENOBUFS};
  CHECK(good.ok());
  CHECK(*good == 7);
  CHECK(!bad.ok());
  CHECK(bad.error() == Error{ENOBUFS});
  CHECK(!kOk);
}
