// SPDX-License-Identifier: MIT
// A port in memory for tests: what is transmitted lies in `sent` until the test takes it, what the
// test injects is received. Its ring can be made as small as a test likes.
#pragma once

#include <algorithm>
#include <deque>
#include <vector>

#include "port/port.h"

namespace millrace::test {

class MemoryPort : public Port {
 public:
  explicit MemoryPort(FramePool& pool, LinkType link = LinkType::kIp, uint32_t mtu_bytes = 1500)
      : pool_(pool) {
    info_.name = "memory";
    info_.link = link;
    info_.mtu_bytes = mtu_bytes;
  }
  ~MemoryPort() override { close(); }

  const PortInfo& info() const override { return info_; }
  PortStats stats() const override { return stats_; }
  uint32_t receive(Instant, std::span<Frame*> out) override {
    uint32_t n = 0;
    for (; n < out.size() && !incoming_.empty(); ++n) {
      out[n] = incoming_.front();
      incoming_.pop_front();
    }
    stats_.rx_frames += n;
    return n;
  }
  uint32_t transmit(Instant, std::span<Frame* const> frames) override {
    ++transmits;
    uint32_t n = 0;
    for (; n < frames.size() && sent_.size() < ring_frames; ++n) {
      pool_.retain(frames[n]);
      ++frames[n]->tx_pending;
      sent_.push_back(frames[n]);
      stats_.tx_bytes += frames[n]->length;
    }
    stats_.tx_frames += n;
    if (n < frames.size()) ++stats_.tx_full;
    return n;
  }
  void flush(Instant) override { ++flushes; }
  bool rx_ready() const override { return !incoming_.empty(); }
  void close() override {
    clear();
    for (Frame* f : incoming_) pool_.release(f);
    incoming_.clear();
  }

  // --- for the test
  const std::deque<Frame*>& queued() const { return sent_; }
  uint32_t ring_frames = UINT32_MAX;  // the transmit ring's size
  uint32_t transmits = 0;
  uint32_t flushes = 0;

  uint32_t sent_count() const { return uint32_t(sent_.size()); }
  std::vector<uint8_t> sent(size_t i) const {
    const auto bytes = sent_.at(i)->bytes();
    return {bytes.begin(), bytes.end()};
  }
  // The oldest transmitted packet; the device is done with it. Empty when there is none.
  std::vector<uint8_t> take() {
    if (sent_.empty()) return {};
    std::vector<uint8_t> bytes = sent(0);
    done(sent_.front());
    sent_.pop_front();
    return bytes;
  }
  void clear() {
    for (Frame* f : sent_) done(f);
    sent_.clear();
  }
  void inject(std::span<const uint8_t> bytes, uint8_t flags = 0) {
    Frame* f = make_frame(bytes);
    f->flags = flags;
    incoming_.push_back(f);
  }
  // The same, as the device brings it; null when there is no memory for it.
  Frame* arrive(Instant, std::span<const uint8_t> bytes) {
    return pool_.available() == 0 ? nullptr : make_frame(bytes);
  }
  // A frame with these bytes, its reference the caller's.
  Frame* make_frame(std::span<const uint8_t> bytes) {
    Frame* f = pool_.alloc();
    MR_ASSERT(f && bytes.size() <= f->tailroom());
    f->length = uint32_t(bytes.size());
    std::copy(bytes.begin(), bytes.end(), f->data());
    return f;
  }

 private:
  void done(Frame* f) {
    --f->tx_pending;
    pool_.release(f);
  }
  FramePool& pool_;
  PortInfo info_;
  PortStats stats_;
  std::deque<Frame*> incoming_;
  std::deque<Frame*> sent_;
};

}  // namespace millrace::test
