// SPDX-License-Identifier: MIT
#include "tcp/tx_queue.h"

#include <doctest/doctest.h>

#include <initializer_list>
#include <random>

#include "wire/checksum.h"

using namespace millrace;
using namespace millrace::tcp;

namespace {

struct Queue {
  FramePool pool{16, 2048};
  TxQueue queue;
  Seq end{1000};
  std::mt19937 random{3};

  Queue(std::initializer_list<uint32_t> lengths) {
    for (const uint32_t length : lengths) {
      Frame* f = pool.alloc();
      f->length = length;
      for (uint32_t i = 0; i < length; ++i) f->data()[i] = uint8_t(random());
      queue.append(f, end, 0);
      end += length;
    }
  }
  ~Queue() { queue.release_all(pool); }
  // As transmissions do it: sum, then mark.
  void send_all() {
    while (Frame* f = queue.unsent) {
      (void)payload_sum_of(f);
      queue.mark_sent(f, Instant{1});
    }
  }
};

uint16_t summed_anew(Frame* f) {
  const TxNote& n = note_of(f);
  return wire::checksum_fold(wire::checksum_partial({f->chunk + n.offset, n.length}));
}

}  // namespace

TEST_CASE("the sum over a payload is not taken twice, and taken anew from the third time on") {
  Queue q{1000};
  q.send_all();
  Frame* f = q.queue.head;
  const uint16_t sum = summed_anew(f);
  f->chunk[note_of(f).offset] ^= 1;  // seen only by who reads it
  CHECK(payload_sum_of(f) == sum);
  q.queue.mark_resent(f, Instant{2});
  CHECK(payload_sum_of(f) != sum);
  CHECK(payload_sum_of(f) == summed_anew(f));
}

TEST_CASE("a segment that was cut, joined or acknowledged in part has the sum of what is left") {
  Queue q{900, 300, 200, 700};
  q.send_all();
  Frame* first = q.queue.head;
  Frame* second = first->next;
  Frame* last = q.queue.tail;

  q.queue.trim_head(301);
  CHECK(payload_sum_of(first) == summed_anew(first));
  REQUIRE(q.queue.merge_next(q.pool, second, 1400) != nullptr);
  CHECK(note_of(second).length == 500);
  CHECK(payload_sum_of(second) == summed_anew(second));
  REQUIRE(q.queue.split(q.pool, last, 123));
  CHECK(payload_sum_of(last) == summed_anew(last));
  CHECK(payload_sum_of(last->next) == summed_anew(last->next));
}
