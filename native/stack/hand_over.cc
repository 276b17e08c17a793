// SPDX-License-Identifier: MIT
// A connection becomes the kernel's in mid-stream. The order is what keeps every byte and sends no
// reset: first the kernel's socket is made complete, while packets still come to us; then the flow
// is steered to it; only then does it begin to speak and is our connection forgotten, without a
// word. A packet that comes to us in between is dropped, and the peer sends it again, to the kernel
// (Handler::is_kernels). Until the flow is steered every failure leaves all as it was.
#include <unistd.h>

#include <algorithm>

#include "control/repaired_socket.h"
#include "stack/stack.h"

namespace millrace {

namespace {

// Frames that are looked at before the state is taken; what comes later counts as lost on the way.
constexpr uint32_t kDrainFrames = 4096;

// The last `bytes` of the pieces.
std::vector<uint8_t> last_of(const net::Pieces& pieces, size_t bytes) {
  std::vector<uint8_t> out;
  size_t skip = net::total_bytes(pieces) - bytes;
  for (std::span<const uint8_t> piece : pieces) {
    const size_t over = std::min(skip, piece.size());
    skip -= over;
    out.insert(out.end(), piece.begin() + ptrdiff_t(over), piece.end());
  }
  return out;
}

}  // namespace

struct Stack::Leaver {
  Slot* slot;  // null: nobody in the program has it any more
  tcp::Connection* connection;
  const Leaving* wanted;
  net::ConnectionState state;
  control::RepairedSocket socket;
};

std::optional<uint32_t> Stack::peer_of(uint32_t index) const {
  const Slot* slot = slots_.at(index);
  if (!local_everywhere_ || !slot || slot->kind != SlotKind::kConnection) return std::nullopt;
  const wire::FlowKey flow = tcp_.flow(*slot->connection);
  const auto peer = tcp_.find({flow.remote, flow.local});
  if (peer.found != tcp::Tcp::Found::kOwned) return std::nullopt;
  return tcp_.user(*peer.connection);
}

// What has arrived is taken in, so that little has to come twice.
void Stack::drain(Instant now) {
  push_written(now);
  ip_.flush(now);
  for (uint32_t left = kDrainFrames; left > 0 && rx_ready();) {
    const uint32_t received = receive_burst(now, left);
    ip_.flush(now);
    if (received == 0) return;
    left -= received;
  }
}

Error Stack::describe_ends(Instant now, std::span<const Leaving> ends,
                           std::vector<Leaver>& leavers) {
  for (const Leaving& end : ends) {
    Slot* slot = slots_.at(end.slot);
    if (!slot || slot->kind != SlotKind::kConnection || slot->connecting) return Error{ENOTCONN};
    Leaver& leaver = leavers.emplace_back(Leaver{slot, slot->connection, &end, {}, {}});
    if (const Error error = tcp_.describe(now, *leaver.connection, leaver.state)) return error;
  }
  if (!local_everywhere_) return kOk;
  const wire::FlowKey flow = leavers.front().state.flow;
  return describe_orphan(now, {flow.remote, flow.local}, leavers);
}

// In this process the other end leaves too, also when the program has closed it and only what it
// wrote is still on its way.
Error Stack::describe_orphan(Instant now, const wire::FlowKey& flow, std::vector<Leaver>& leavers) {
  static const Leaving kNothingUnread{};
  const auto peer = tcp_.find(flow);
  switch (peer.found) {
    case tcp::Tcp::Found::kNotAccepted:
      return Error{EAGAIN};
    case tcp::Tcp::Found::kOrphan: {
      Leaver& leaver =
          leavers.emplace_back(Leaver{nullptr, peer.connection, &kNothingUnread, {}, {}});
      if (!tcp_.describe(now, *peer.connection, leaver.state)) return kOk;
      leavers.pop_back();  // in TIME-WAIT: it has all it will ever get
      return kOk;
    }
    case tcp::Tcp::Found::kOwned: {
      const bool leaves = std::any_of(leavers.begin(), leavers.end(), [&](const Leaver& l) {
        return l.connection == peer.connection;
      });
      return leaves ? kOk : Error{EAGAIN};
    }
    case tcp::Tcp::Found::kNothing:
      break;
  }
  return kOk;
}

Error Stack::hand_over(Instant now, std::span<const Leaving> ends, std::vector<HandedOver>& out) {
  take_commands(now);
  drain(now);
  std::vector<Leaver> leavers;
  leavers.reserve(ends.size() + 1);
  if (const Error error = describe_ends(now, ends, leavers)) return error;
  for (Leaver& leaver : leavers) {
    auto made =
        control::RepairedSocket::open(leaver.state, leaver.wanted->unread, leaver.wanted->wide);
    if (!made) return made.error();
    leaver.socket = std::move(*made);
  }
  if (director_) {
    MR_ASSERT(leavers.size() == 1);
    if (const Error error = director_->hand_over(now, leavers.front().state.flow)) return error;
  }
  for (Leaver& leaver : leavers) {
    const auto started = leaver.socket.start(leaver.state);
    if (leaver.slot) {
      out.push_back({started.fd, last_of(leaver.state.unsent, started.unsent_bytes)});
    } else {
      ::close(started.fd);
    }
  }
  for (Leaver& leaver : leavers) {
    tcp_.forget(leaver.connection);
    if (!leaver.slot) continue;
    shared_.socket(leaver.slot->index)[socket_word::kGeneration] = 0;
    slots_.close(leaver.slot);
  }
  return kOk;
}

}  // namespace millrace
