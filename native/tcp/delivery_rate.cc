// SPDX-License-Identifier: MIT
#include "tcp/delivery_rate.h"

#include <algorithm>

#include "tcp/output.h"

namespace millrace::tcp {

namespace {

// Timers fire late, by the tick of the wheel and by what else the thread does. What could have been
// sent meanwhile is made up for, up to this much at once.
constexpr Duration kPacingCredit = Duration::millis(2);

uint32_t micros_of(Instant t) {
  return uint32_t(t.ns / 1000);
}

RateSample::Phase phase_of(const Connection& c) {
  if (c.loss.phase == Recovery::kLoss) return RateSample::Phase::kLoss;
  return c.loss.phase == Recovery::kFast ? RateSample::Phase::kFast : RateSample::Phase::kOpen;
}

}  // namespace

void note_rate_sent(Connection& c, TxNote& n, Instant now) {
  if (!c.rate_based) return;
  RateState& r = c.rate;
  if (!c.snd.queue.in_flight()) r.first_sent_us = r.delivered_us = micros_of(now);
  n.first_sent_us = r.first_sent_us;
  n.delivered_us = r.delivered_us;
  n.delivered_bytes = uint32_t(r.delivered_bytes);
  n.rate = r.app_limited_until ? TxNote::kRateAppLimited : TxNote::kRateKnown;
}

void note_rate_delivered(Connection& c, TxNote& n, AckSummary& a) {
  if (n.rate == TxNote::kRateUnknown) return;
  const bool newest = !a.has_rate || int32_t(n.order - a.rate_order) > 0;
  if (newest) {
    a.has_rate = true;
    a.rate_order = n.order;
    a.rate_prior_bytes = n.delivered_bytes;
    a.rate_prior_us = n.delivered_us;
    a.rate_app_limited = n.rate == TxNote::kRateAppLimited;
    c.rate.first_sent_us = micros_of(n.sent);
    a.rate_send_us = c.rate.first_sent_us - n.first_sent_us;
  }
  n.rate = TxNote::kRateUnknown;
}

RateSample rate_sample(Connection& c, const AckSummary& a) {
  RateState& r = c.rate;
  const TxQueue& q = c.snd.queue;
  RateSample s;
  r.delivered_bytes += a.delivered_bytes;
  if (r.app_limited_until && r.delivered_bytes > r.app_limited_until) r.app_limited_until = 0;
  if (a.delivered_bytes) r.delivered_us = micros_of(a.now);
  s.now = a.now;
  s.delivered_bytes = r.delivered_bytes;
  s.acked_bytes = a.delivered_bytes;
  s.lost_total_bytes = q.lost_total_bytes;
  s.lost_bytes = q.lost_total_bytes - a.prior_lost_bytes;
  s.prior_pipe_bytes = a.prior_pipe_bytes;
  s.pipe_bytes = pipe_bytes(c);
  s.rtt_us = a.rtt_us;
  s.srtt_us = c.rtt.srtt_us();
  s.phase = phase_of(c);
  if (!a.has_rate) return s;
  s.app_limited = a.rate_app_limited;
  const uint32_t sample = uint32_t(r.delivered_bytes) - a.rate_prior_bytes;
  s.prior_delivered_bytes = r.delivered_bytes - sample;
  // ACKs may come in bunches and packets leave in bunches: the longer time is the honest one.
  const uint32_t interval = std::max(a.rate_send_us, micros_of(a.now) - a.rate_prior_us);
  // Less than the shortest round trip: a retransmission was taken for the original.
  if (c.rtt.has_min() && interval < c.rtt.min_us()) return s;
  s.sample_bytes = sample;
  s.interval_us = interval;
  return s;
}

void look_for_app_limit(Connection& c) {
  if (!c.rate_based) return;
  const TxQueue& q = c.snd.queue;
  const uint32_t pipe = pipe_bytes(c);
  const bool idle = q.unsent_bytes < c.snd.mss_bytes && pipe < c.window.cwnd_bytes;
  if (!idle || !q.lost.empty()) return;
  c.rate.app_limited_until = std::max<uint64_t>(c.rate.delivered_bytes + pipe, 1);
}

void begin_congestion_control(Connection& c, Instant now) {
  c.rate_based = c.congestion().rate_based();
  c.window.pacing_bytes_per_s = 0;
  c.rate.next_send = now;
  c.rate.app_limited_until = 0;
  c.rate.first_sent_us = c.rate.delivered_us = micros_of(now);
  // What is in flight has notes of another time, or none: it gives no samples.
  for (Frame* f = c.snd.queue.head; f; f = f->next) note_of(f).rate = TxNote::kRateUnknown;
  c.congestion().begin(c.window, now, c.rtt.srtt_us());
}

bool pacing_holds(Core& core, Instant now, Connection& c) {
  if (c.window.pacing_bytes_per_s == 0 || c.rate.next_send <= now) return false;
  set_deadline(core, c, c.pace_at, c.rate.next_send);
  return true;
}

void note_paced(Connection& c, Instant now, uint32_t bytes) {
  const uint64_t rate = c.window.pacing_bytes_per_s;
  if (rate == 0) return;
  Instant& next = c.rate.next_send;
  next = std::max(next, now - kPacingCredit) +
         Duration::nanos(int64_t(bytes * 1'000'000'000ull / rate));
}

}  // namespace millrace::tcp
