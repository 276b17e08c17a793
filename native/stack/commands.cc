// SPDX-License-Identifier: MIT
// Commands: what JavaScript wrote into the ring since the last turn.
#include "stack/stack.h"

#include <algorithm>

namespace millrace {

namespace {
// Frames moved over an in-process port because of one close; what is left moves with the turn.
constexpr uint32_t kLocalDeliveries = 64;
}  // namespace

void Stack::take_commands(Instant now) {
  uint32_t head = shared_.load(header::kCommandHead);
  const uint32_t tail = shared_.load(header::kCommandTail);
  MR_ASSERT(tail - head <= shared_.sizes().commands);
  if (head == tail) return;
  counters_.commands += tail - head;
  for (; head != tail; ++head) execute(now, shared_.command(head));
  shared_.store(header::kCommandHead, head);
}

void Stack::execute(Instant now, const uint32_t* command) {
  const auto op = Command(command[0]);
  const uint32_t* args = command + 3;
  Slot* slot = slots_.at(command[1]);
  if (slot && slot->generation != command[2]) slot = nullptr;
  if (!slot || op == Command::kReturnFrame) {
    // A late command for a closed socket: only the frame that came with it matters.
    const bool has_frame =
        op == Command::kWrite || op == Command::kSend || op == Command::kReturnFrame;
    if (has_frame) pool_.release(take_frame(args[0], 0));
    return;
  }
  if (op == Command::kClose || op == Command::kAbort) {
    // What was written before has left, as far as the windows allow, before the FIN or the reset.
    if (slot->written_node().linked()) tcp_.push(now, *slot->connection);
    deliver_locally(now);
    release_slot(now, *slot, op == Command::kAbort);
  } else if (slot->kind == SlotKind::kConnection) {
    execute_connection(now, op, *slot, args);
  } else if (slot->kind == SlotKind::kDatagram) {
    execute_datagram(now, op, *slot, args);
  }
}

// Inside one machine a write has arrived when write(2) returns: what was written before this close,
// by either end, is there before it. (A close with unread bytes is a reset, one without is a FIN.)
void Stack::deliver_locally(Instant now) {
  if (!local_everywhere_) return;
  push_written(now);
  ip_.flush(now);
  for (uint32_t left = kLocalDeliveries; left > 0 && rx_ready();) {
    const uint32_t received = receive_burst(now, left);
    if (received == 0) return;
    left -= received;
    ip_.flush(now);
  }
}

void Stack::execute_connection(Instant now, Command op, Slot& slot, const uint32_t* args) {
  switch (op) {
    case Command::kWrite:
      note_write(slot);
      slot.written += args[1];
      tcp_.write(*slot.connection, take_frame(args[0], args[1]));
      if (!slot.written_node().linked()) written_.push_back(&slot);
      return;
    case Command::kShutdown:
      note_write(slot);
      slot.written_node().unlink();
      tcp_.shutdown_write(now, *slot.connection);
      return;
    case Command::kResume:
      mark(slot.index, Slot::kReadable);
      wake_writer(slot);
      return;
    case Command::kOption:
      tcp_.set_option(now, *slot.connection, tcp::Option(args[0]), args[1]);
      return;
    default:
      MR_ASSERT(!"a command that connections do not have");
  }
}

// A quarter of the pool is for receiving.
uint32_t Stack::frames_kept() const {
  return pool_.capacity() / 4;
}

uint32_t Stack::write_bulk(Instant now, uint32_t index, uint32_t generation,
                           std::span<const uint8_t> bytes) {
  take_commands(now);  // what was written before comes before
  Slot* slot = slots_.at(index);
  if (!slot || slot->generation != generation) return uint32_t(bytes.size());
  const uint32_t before = pool_.available();
  note_write(*slot);
  const uint32_t taken = tcp_.write(*slot->connection, bytes, frames_kept());
  bulk_frames_ += before - pool_.available();
  slot->written += taken;
  if (!slot->written_node().linked()) written_.push_back(slot);
  return taken;
}

// Room is told of in steps of a third of the buffer, so that a writer is not woken for every
// acknowledgement.
void Stack::wake_writer(Slot& slot) {
  if (shared_.socket(slot.index)[socket_word::kWantWritable] == 0) return;
  const uint64_t share = std::max(frames_free() / kFramesShare, kFramesShareMin);
  const uint32_t mss = shared_.socket(slot.index)[socket_word::kPayloadMss];
  const uint32_t buffer =
      uint32_t(std::min<uint64_t>(tcp_.send_buffer_bytes(*slot.connection), share * mss));
  const uint32_t unacknowledged = slot.written - uint32_t(tcp_.acked_bytes(*slot.connection));
  if (unacknowledged <= buffer - buffer / 3) mark(slot.index, Slot::kWritable);
}

// A program that does not read hears of a dead connection only through what it writes, as with
// write(2).
void Stack::note_write(Slot& slot) {
  if (!(slot.pending & Slot::kFailed)) return;
  slot.tell_error = true;
  mark(slot.index, Slot::kFailed);
}

void Stack::execute_datagram(Instant now, Command op, Slot& slot, const uint32_t* args) {
  switch (op) {
    case Command::kSend: {
      const wire::Endpoint to{get_address(args + 3), uint16_t(args[2])};
      const Error error = udp_.send(now, *slot.datagram, take_frame(args[0], args[1]), to);
      if (error) ++counters_.sends_failed;
      return;
    }
    case Command::kResume:
      mark(slot.index, Slot::kReadable);
      return;
    case Command::kSetTtl:
      udp_.set_ttl(*slot.datagram, uint8_t(args[0]));
      return;
    case Command::kSetReceiveBuffer:
      udp_.set_receive_buffer(*slot.datagram, args[0]);
      return;
    default:
      MR_ASSERT(!"a command that datagram sockets do not have");
  }
}

Frame* Stack::take_frame(uint32_t index, uint32_t length) {
  MR_ASSERT(index < pool_.capacity());
  Frame* frame = pool_.at(index);
  MR_ASSERT(frame->refs == 1 && frame->offset == FramePool::kTxHeadroom);
  MR_ASSERT(length <= frame->capacity - frame->offset);
  frame->length = length;
  return frame;
}

}  // namespace millrace
