// SPDX-License-Identifier: MIT
// RACK (RFC 8985 6): a segment is lost when one sent later by more than the reordering window has
// been delivered. It needs the send time per segment only, so lost retransmissions are found like
// any other.
#include <algorithm>

#include "tcp/delivery_rate.h"
#include "tcp/recovery.h"
#include "tcp/timers.h"

namespace millrace::tcp {

namespace {

constexpr uint8_t kReoPersist = 16;

bool later(uint32_t order, uint32_t than) {
  return int32_t(order - than) > 0;
}

// RFC 8985 6.2 step 4.
uint32_t reo_wnd_us(const Connection& c) {
  const LossState& l = c.loss;
  if (!l.reordering_seen) {
    if (l.phase >= Recovery::kFast) return 0;
    if (c.snd.queue.sacked_frames >= kDupThresh) return 0;
  }
  if (!c.rtt.has_min()) return 0;
  const uint64_t window = uint64_t(c.rtt.min_us()) * l.reo_wnd_steps / 4;
  return uint32_t(std::min<uint64_t>(window, c.rtt.srtt_us()));
}

}  // namespace

void rack_delivered(Connection& c, TxNote& n, AckSummary& a) {
  LossState& l = c.loss;
  if (c.rate_based) note_rate_delivered(c, n, a);
  if (!n.has(TxNote::kEverResent) && n.end() < l.fack) l.reordering_seen = true;  // 6.2 step 3
  if (n.end() > l.fack) l.fack = n.end();
  const int64_t rtt_us = (a.now - n.sent).micros();
  // Step 2: too short a round trip for the retransmission means that the original arrived. (The
  // RFC's other test, TSecr, says nothing about a segment that was SACKed: TS.Recent moves in
  // sequence only.)
  if (n.has(TxNote::kEverResent) && rtt_us < int64_t(c.rtt.min_us())) return;
  if (l.rack_sent.ns != 0 && !later(n.order, l.rack_order)) return;
  l.rack_sent = n.sent;
  l.rack_order = n.order;
  l.rack_rtt_us = uint32_t(std::clamp<int64_t>(rtt_us, 1, INT32_MAX));
}

void rack_update_reordering(Connection& c, const AckSummary& a) {
  LossState& l = c.loss;
  if (a.resent_twice && l.reordering_seen && c.snd.una >= l.dsack_round) {
    // A DSACK round: the window was too small.
    l.dsack_round = c.snd.nxt;
    if (l.reo_wnd_steps < UINT8_MAX) ++l.reo_wnd_steps;
    l.reo_wnd_persist = kReoPersist;
  }
}

// RFC 8985 6.2 step 4: what DSACKs have taught is forgotten after 16 recoveries. As with Linux,
// those that turn out to have been for nothing do not count: under steady reordering there are
// several of them in each round trip.
void rack_recovered(LossState& l) {
  if (l.reo_wnd_persist > 0 && --l.reo_wnd_persist == 0) l.reo_wnd_steps = 1;
}

bool rack_detect_loss(Core& core, Instant now, Connection& c) {
  LossState& l = c.loss;
  if (l.rack_sent.ns == 0) return false;
  if (c.retransmit_mode ==
      RetransmitMode::kReorder) {  // for what has been delivered since, perhaps
    c.retransmit_mode = RetransmitMode::kNone;
    clear_deadline(c.retransmit_at);
  }
  TxQueue& q = c.snd.queue;
  const Duration patience = Duration::micros(int64_t(l.rack_rtt_us) + reo_wnd_us(c));
  bool lost = false;
  Frame* f = q.sent.head;
  while (f) {
    Frame* next = note_of(f).list_next;
    const TxNote& n = note_of(f);
    if (!later(l.rack_order, n.order)) break;
    const Instant deadline = n.sent + patience;
    if (deadline > now) {
      // The list is ordered by time: nothing behind is due before this.
      set_deadline(core, c, c.retransmit_at, std::min(deadline, now + core.options.rto_max));
      c.retransmit_mode = RetransmitMode::kReorder;
      break;
    }
    if (n.has(TxNote::kRetransmitted)) ++core.counters.tcp_lost_retransmits;
    q.mark_lost(f);
    lost = true;
    f = next;
  }
  return lost;
}

}  // namespace millrace::tcp
