// SPDX-License-Identifier: MIT
// Events: what JavaScript is told. They are derived from the state of the sockets, not queued: a
// full ring or a lack of slabs only makes a socket wait in the ready list, and its peer sees a
// smaller window.
#include <algorithm>

#include "stack/stack.h"

namespace millrace {

namespace {
constexpr uint32_t kChunkBytes = 65536;  // as much as one read(2) of libuv returns
// From so many bytes on the second copy, out of a slab, costs more than the calls that save it.
constexpr uint32_t kBulkBytes = 4096;
constexpr uint32_t kStockShare = 4;         // of the frames, or less, are JavaScript's stock
constexpr uint32_t kMessagesPerRound = 64;  // of one socket, before the others have their turn
}  // namespace

// False when something is left that only waits for JavaScript to make room.
bool Stack::publish(Instant now) {
  event_tail_ = shared_.load(header::kEventTail);
  bool all = true;
  SlotList later;
  while (Slot* slot = ready_.pop_front()) {
    if (publish_slot(now, *slot)) continue;
    all = false;
    later.push_back(slot);
  }
  ready_.splice_back(later);
  return all;
}

bool Stack::publish_slot(Instant now, Slot& slot) {
  switch (slot.kind) {
    case SlotKind::kConnection:
      return publish_connection(now, slot);
    case SlotKind::kListener:
      return publish_accepts(slot);
    case SlotKind::kDatagram:
      return publish_messages(slot);
  }
  return true;
}

uint32_t* Stack::next_event(Event type, const Slot& slot) {
  uint32_t* record = next_record(type);
  if (!record) return nullptr;
  record[1] = slot.index;
  record[2] = slot.generation;
  return record + 3;
}

uint32_t* Stack::next_record(Event type) {
  if (event_tail_ - shared_.load(header::kEventHead) >= shared_.sizes().events) {
    ++counters_.event_ring_full;
    return nullptr;
  }
  uint32_t* record = shared_.event(event_tail_);
  record[0] = uint32_t(type);
  return record;
}

void Stack::commit_event() {
  shared_.store(header::kEventTail, ++event_tail_);
  ++counters_.events;
}

bool Stack::publish_connection(Instant now, Slot& slot) {
  if (slot.pending & Slot::kConnected) {
    uint32_t* args = next_event(Event::kConnect, slot);
    if (!args) return false;
    slot.connecting = false;
    args[0] = 0;
    refresh_socket_line(slot);
    commit_event();
    slot.pending &= ~Slot::kConnected;
  }
  // A failed attempt: its outcome is the only event there will be.
  if (slot.connecting && (slot.pending & Slot::kFailed)) {
    uint32_t* args = next_event(Event::kConnect, slot);
    if (!args) return false;
    args[0] = uint32_t(slot.error);
    commit_event();
    slot.pending = 0;
    return true;
  }
  if (slot.pending & Slot::kWritable) {
    if (!next_event(Event::kWritable, slot)) return false;
    commit_event();
    slot.pending &= ~Slot::kWritable;
  }
  const bool reading = shared_.socket(slot.index)[socket_word::kReading] != 0;
  if (reading && !publish_data(now, slot)) return false;
  if (slot.pending & Slot::kFailed) {
    // Never ahead of bytes that came before it. A program that neither reads nor waits for room
    // hears of it when it reads again or writes (libuv does not poll such a socket either).
    const bool waits = shared_.socket(slot.index)[socket_word::kWantWritable] != 0;
    if (!reading && !waits && !slot.tell_error) return true;
    uint32_t* args = next_event(Event::kError, slot);
    if (!args) return false;
    args[0] = uint32_t(slot.error);
    commit_event();
    slot.pending &= ~Slot::kFailed;
  }
  slot.pending &= ~Slot::kReadable;
  return true;
}

bool Stack::publish_data(Instant now, Slot& slot) {
  const uint32_t readable = tcp_.readable_bytes(*slot.connection);
  const bool own = Reading(shared_.socket(slot.index)[socket_word::kReading]) == Reading::kOwn;
  // What comes behind bytes that JavaScript is to take can only be taken too.
  const bool bulk = slot.bulks > 0 || (own && readable >= kBulkBytes);
  if (!(bulk ? publish_bulk(slot, readable) : publish_pieces(now, slot, readable))) return false;
  if (!slot.end_told && tcp_.fin_received(*slot.connection)) {
    if (!next_event(Event::kEnd, slot)) return false;
    commit_event();
    slot.end_told = true;
  }
  return true;
}

// As many events as it takes to fetch all that is there now.
bool Stack::publish_bulk(Slot& slot, uint32_t readable) {
  while (uint64_t(slot.bulks) * kChunkBytes < readable) {
    if (!next_event(Event::kBulk, slot)) return false;
    commit_event();
    ++slot.bulks;
  }
  return true;
}

bool Stack::publish_pieces(Instant now, Slot& slot, uint32_t readable) {
  while (readable > 0) {
    uint32_t* args = next_event(Event::kData, slot);
    if (!args) return false;
    // Bytes that JavaScript has not seen yet and these become one piece, as in a socket's buffer.
    const bool joined = data_slot_ == slot.index && data_tail_ == event_tail_ &&
                        shared_.load(header::kEventHead) != event_tail_;
    const auto place = slabs_.reserve(std::min(readable, kChunkBytes), joined);
    if (place.bytes.empty()) {
      ++counters_.slabs_empty;
      return false;
    }
    const uint32_t bytes = tcp_.read(now, *slot.connection, place.bytes);
    MR_ASSERT(bytes > 0);
    slabs_.commit(bytes);
    args[0] = place.slab;
    args[1] = place.offset;
    args[2] = bytes;
    note_published(slot, bytes);
    commit_event();
    data_slot_ = slot.index;
    data_tail_ = event_tail_;
    readable = tcp_.readable_bytes(*slot.connection);
  }
  return true;
}

void Stack::note_published(const Slot& slot, uint32_t bytes) {
  std::atomic_ref published(shared_.socket(slot.index)[socket_word::kPublished]);
  published.store(published.load(std::memory_order_relaxed) + bytes, std::memory_order_relaxed);
}

uint32_t Stack::answer_bulk(uint32_t index, uint32_t generation) {
  Slot* slot = slots_.at(index);
  if (!slot || slot->generation != generation) return 0;
  MR_ASSERT(slot->bulks > 0);
  --slot->bulks;
  return std::min(tcp_.readable_bytes(*slot->connection), kChunkBytes);
}

void Stack::take_bulk(Instant now, uint32_t index, std::span<uint8_t> out) {
  Slot& slot = *slots_.at(index);
  const uint32_t bytes = tcp_.read(now, *slot.connection, out);
  MR_ASSERT(bytes == out.size());
  note_published(slot, bytes);
  // Bytes that came since were not told of.
  if (slot.bulks == 0 && tcp_.readable_bytes(*slot.connection) > 0) {
    mark(index, Slot::kReadable);
  }
}

bool Stack::publish_accepts(Slot& slot) {
  for (;;) {
    uint32_t* args = next_event(Event::kAccept, slot);
    if (!args) return false;
    Slot* fresh = slots_.open(SlotKind::kConnection);
    if (!fresh) {
      // The connections wait in the listener's backlog until a socket is closed.
      ++counters_.sockets_refused;
      return false;
    }
    tcp::Connection* connection = tcp_.accept(*slot.listener, fresh->index);
    if (!connection) {
      slots_.close(fresh);
      slot.pending &= ~Slot::kReadable;
      return true;
    }
    fresh->connection = connection;
    fresh->connecting = false;
    refresh_socket_line(*fresh);
    const wire::FlowKey flow = tcp_.flow(*connection);
    const Error error = tcp_.error(*connection);
    if (director_ && !error) director_->accepted(flow);
    args[0] = fresh->index;
    args[1] = fresh->generation;
    args[2] = flow.local.port;
    args[3] = flow.remote.port;
    put_address(args + 4, flow.local.address);
    put_address(args + 8, flow.remote.address);
    commit_event();
    ++counters_.connections_accepted;
    if (error) {  // reset while it waited: the program hears of it on the socket, as on Linux
      fresh->error = error.code;
      mark(fresh->index, Slot::kFailed);
    }
    // Whatever came with the handshake is told as soon as JavaScript begins to read (kResume).
  }
}

bool Stack::publish_messages(Slot& slot) {
  if (slot.pending & Slot::kFailed) {
    uint32_t* args = next_event(Event::kError, slot);
    if (!args) return false;
    args[0] = uint32_t(slot.error);
    commit_event();
    slot.pending &= ~Slot::kFailed;
  }
  if (shared_.socket(slot.index)[socket_word::kReading] == 0) return true;
  for (uint32_t n = 0; udp_.readable(*slot.datagram); ++n) {
    if (n == kMessagesPerRound) return false;
    uint32_t* args = next_event(Event::kMessage, slot);
    if (!args) return false;
    const uint32_t wanted = udp_.next_length(*slot.datagram);
    const auto place = slabs_.reserve(wanted);
    if (place.bytes.size() < wanted || (wanted == 0 && slabs_.count() == 0)) {
      ++counters_.slabs_empty;
      return false;
    }
    const udp::Datagram datagram = udp_.receive(*slot.datagram);
    std::memcpy(place.bytes.data(), datagram.frame->data(), wanted);
    pool_.release(datagram.frame);
    slabs_.commit(wanted);
    args[0] = place.slab;
    args[1] = place.offset;
    args[2] = wanted;
    args[3] = datagram.from.port;
    put_address(args + 4, datagram.from.address);
    commit_event();
  }
  slot.pending &= ~Slot::kReadable;
  return true;
}

void Stack::refresh_socket_line(Slot& slot) {
  uint32_t* line = shared_.socket(slot.index);
  const auto put = [line](uint32_t word, uint32_t value) {
    std::atomic_ref(line[word]).store(value, std::memory_order_relaxed);
  };
  if (line[socket_word::kGeneration] != slot.generation) {
    put(socket_word::kReading, 0);
    put(socket_word::kWantWritable, 0);
    put(socket_word::kContext, kNoContext);
    put(socket_word::kPublished, 0);
    put(socket_word::kGeneration, slot.generation);
  }
  if (slot.kind != SlotKind::kConnection) return;
  const uint32_t mss = tcp_.payload_mss_bytes(*slot.connection);
  put(socket_word::kAcked, uint32_t(tcp_.acked_bytes(*slot.connection)));
  const uint32_t dead = tcp_.error(*slot.connection) ? socket_word::kDeadFlag : 0;
  put(socket_word::kSendBuffer, tcp_.send_buffer_bytes(*slot.connection) | dead);
  put(socket_word::kPayloadMss, std::min(mss, pool_.frame_bytes() - FramePool::kTxHeadroom));
}

// Those that JavaScript has in stock, and those that it may still get.
uint32_t Stack::frames_free() const {
  const uint32_t keep = frames_kept();
  const uint32_t stock = shared_.load(header::kFramesTail) - shared_.load(header::kFramesHead);
  return stock + (pool_.available() > keep ? pool_.available() - keep : 0);
}

// Keeps a stock of free frames in JavaScript's hands, so that a write is a copy and a record. A
// quarter of the pool stays back for receiving and for acknowledgements; another one may be the
// port's, so of a small pool no more than that is stock.
void Stack::offer_frames() {
  const uint32_t head = shared_.load(header::kFramesHead);
  uint32_t tail = shared_.load(header::kFramesTail);
  const uint32_t keep = frames_kept();
  const uint32_t start = tail;
  const uint32_t stock = std::min(shared_.sizes().frames, pool_.capacity() / kStockShare);
  while (tail - head < stock && pool_.available() > keep) {
    shared_.free_frame(tail++) = pool_.alloc(FramePool::kTxHeadroom)->index;
  }
  if (tail != start) shared_.store(header::kFramesTail, tail);
  shared_.store(header::kFramesFree, frames_free());
  if (tail == head || shared_.load(header::kFrameWaiters) == 0) return;
  // A full event ring will be emptied, and then this is tried again with the next turn.
  if (uint32_t* record = next_record(Event::kFrames)) {
    record[1] = UINT32_MAX;
    record[2] = 0;
    commit_event();
  }
}

}  // namespace millrace
