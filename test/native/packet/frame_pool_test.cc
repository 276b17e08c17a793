// SPDX-License-Identifier: MIT
#include "packet/frame_pool.h"

#include <doctest/doctest.h>

#include <set>
#include <vector>

using namespace millrace;

TEST_CASE("a pool gives every frame once, refuses the next and takes them back") {
  FramePool pool(8, 2048);
  std::set<Frame*> seen;
  std::vector<Frame*> frames;
  for (int i = 0; i < 8; ++i) {
    Frame* f = pool.alloc();
    REQUIRE(f);
    CHECK(f->refs == 1);
    CHECK(f->length == 0);
    CHECK(f->offset == FramePool::kTxHeadroom);
    CHECK(f->chunk == pool.memory() + size_t(f->index) * 2048);
    CHECK(pool.at(f->index) == f);
    seen.insert(f);
    frames.push_back(f);
  }
  CHECK(seen.size() == 8);
  CHECK(pool.available() == 0);
  CHECK(pool.alloc() == nullptr);
  for (Frame* f : frames) pool.release(f);
  CHECK(pool.available() == 8);
}

TEST_CASE("a frame returns with its last reference") {
  FramePool pool(1, 2048);
  Frame* f = pool.alloc();
  pool.retain(f);
  pool.release(f);
  CHECK(pool.available() == 0);
  CHECK(pool.alloc() == nullptr);
  pool.release(f);
  CHECK(pool.available() == 1);
}

TEST_CASE("a reused frame remembers nothing of its former life") {
  FramePool pool(1, 2048);
  Frame* f = pool.alloc(0);
  f->length = 100;
  f->flags = Frame::kChecksumVerified;
  pool.release(f);
  Frame* again = pool.alloc();
  CHECK(again == f);
  CHECK(again->length == 0);
  CHECK(again->flags == 0);
  CHECK(again->next == nullptr);
  CHECK(again->offset == FramePool::kTxHeadroom);
  pool.release(again);
}

TEST_CASE("a clone has its own bytes") {
  FramePool pool(2, 2048);
  Frame* f = pool.alloc();
  f->length = 3;
  f->data()[0] = 1, f->data()[1] = 2, f->data()[2] = 3;
  Frame* copy = pool.clone(*f);
  REQUIRE(copy);
  f->data()[0] = 9;
  CHECK(copy->length == 3);
  CHECK(copy->data()[0] == 1);
  CHECK(pool.clone(*f) == nullptr);
  pool.release(f);
  pool.release(copy);
}

TEST_CASE("headers are pushed and popped in place") {
  FramePool pool(1, 2048);
  Frame* f = pool.alloc();
  f->length = 10;
  uint8_t* payload = f->data();
  CHECK(f->tailroom() == 2048 - FramePool::kTxHeadroom - 10);
  CHECK(f->push_front(20) == payload - 20);
  CHECK(f->length == 30);
  CHECK(f->headroom() == FramePool::kTxHeadroom - 20);
  f->pop_front(25);
  CHECK(f->data() == payload + 5);
  f->trim_to(2);
  CHECK(f->bytes().size() == 2);
  pool.release(f);
}

TEST_CASE("a frame queue is first in, first out") {
  FramePool pool(4, 2048);
  FrameQueue queue;
  std::vector<Frame*> in;
  for (int i = 0; i < 4; ++i) {
    in.push_back(pool.alloc());
    queue.push_back(in.back());
  }
  CHECK(queue.size() == 4);
  CHECK(queue.front() == in[0]);
  CHECK(queue.back() == in[3]);
  CHECK(queue.pop_front() == in[0]);
  CHECK(in[0]->next == nullptr);
  pool.release(in[0]);
  pool.release_all(queue);
  CHECK(queue.empty());
  CHECK(queue.back() == nullptr);
  CHECK(queue.pop_front() == nullptr);
  CHECK(pool.available() == 4);
}
