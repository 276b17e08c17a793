// SPDX-License-Identifier: MIT
// The state of one connection (the transmission control block of RFC 9293 3.3.1), of one half-open
// handshake and of one listener. Only data: what happens to it is in the files named after the
// verbs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "base/hash_table.h"
#include "base/list.h"
#include "base/prefetch.h"
#include "base/timer_wheel.h"
#include "net/tables.h"
#include "packet/frame_pool.h"
#include "tcp/congestion/bbr.h"
#include "tcp/congestion/cubic.h"
#include "tcp/congestion/new_reno.h"
#include "tcp/ecn.h"
#include "tcp/options.h"
#include "tcp/rtt.h"
#include "tcp/send_clock.h"
#include "tcp/tx_queue.h"
#include "wire/ip_address.h"
#include "wire/tcp_header.h"

namespace millrace::tcp {

struct Core;
class Listener;
struct AllTag;
struct QueueTag;
struct HeldTag;
struct PortTag;

// RFC 9293 3.3.2, with Linux's numbers.
enum class State : uint8_t {
  kEstablished = 1,
  kSynSent = 2,
  kSynReceived = 3,
  kFinWait1 = 4,
  kFinWait2 = 5,
  kTimeWait = 6,
  kClosed = 7,
  kCloseWait = 8,
  kLastAck = 9,
  kListen = 10,
  kClosing = 11,
};

// What lookup by 4-tuple finds: a Connection or a HalfOpen.
struct FlowNode : ListNode<AllTag> {
  wire::FlowKey key;
  bool half_open = false;
  uint64_t hash = 0;  // of `key`, the table's
};

// kCwr: the peer has echoed a mark (ECN): a reduction without a loss.
enum class Recovery : uint8_t { kOpen, kCwr, kFast, kLoss };
enum class RetransmitMode : uint8_t { kNone, kTimeout, kTailProbe, kReorder, kPersist };

struct Sender {
  Seq una, nxt;
  Seq end;        // behind the last queued byte (FIN included)
  Seq wl1, wl2;   // RFC 9293: segment that last set the window
  Seq small_end;  // Minshall: end of the last short segment sent
  uint32_t window_bytes = 0;
  uint32_t window_max_bytes = 0;
  uint16_t mss_bytes = 536;       // payload of a full segment now
  uint16_t peer_mss_bytes = 536;  // as announced
  uint16_t mss_max_bytes = 0;     // the user's limit (TCP_MAXSEG); 0: none
  // Probing of the path MTU (path_mtu.h): largest packet known to pass, 0: not probing; largest
  // that may; payload and start of the probe in flight, 0: none.
  uint16_t mtu_low_bytes = 0, mtu_high_bytes = 0, mtu_probe_bytes = 0;
  Seq mtu_probe_start;
  Seq iss;
  uint8_t shift = 0;         // window scale of the peer
  bool fin_queued = false;   // shutdown_write() was called
  bool fin_waiting = false;  // no memory for the FIN yet
  Instant mtu_searched_at{};
  Instant last_at{};  // last data segment
  TxQueue queue;
};

struct LossState {
  wire::SackBlock sack_seen[wire::kSackBlocksMax];
  uint8_t sack_seen_count = 0;
  bool has_first_resend_ts = false;
  // Undo (RFC 3522, 3708)
  uint32_t undo_resent = 0;  // retransmissions not yet reported as duplicates
  uint32_t duplicates = 0;   // segments that DSACKs have told of
  Seq undo_marker;           // first byte of what they may have repeated
  uint32_t undo_cwnd_bytes = 0;
  uint32_t undo_ssthresh_bytes = 0;
  uint32_t first_resend_ts = 0;  // TSval of the first retransmission
  Seq dsack_round;
  // From here on: what every acknowledgement looks at.
  Recovery phase = Recovery::kOpen;
  bool undo_possible = false;
  bool frto = false;           // RFC 5682: the timeout may have been spurious
  bool frto_new_data = false;  // and new data is to go out now to find out
  bool reordering_seen = false;
  bool probe_outstanding = false;  // tail loss probe not yet answered
  bool probe_resent = false;       // it repeated old data
  uint8_t reo_wnd_steps = 1;       // quarters of the minimum RTT
  uint8_t reo_wnd_persist = 0;     // recoveries until it falls back
  uint8_t dupacks = 0;             // without SACK only
  uint8_t backoff = 0;             // timeouts in a row
  uint8_t probes = 0;              // unanswered persist probes
  uint8_t probe_backoff = 0;
  Seq high;  // snd.nxt when the recovery began
  Seq probe_end;
  uint32_t rack_order = 0;  // of the latest transmission known delivered
  Seq fack;                 // highest sequence known delivered
  uint32_t rack_rtt_us = 0;
  uint32_t prr_delivered = 0;
  uint32_t prr_out = 0;
  uint32_t prr_flight = 0;  // RecoverFS
  Instant rack_sent{};
  Instant stalled_since{};  // first timeout without progress; 0: none
  Frame* sack_cursor = nullptr;
};
static_assert(offsetof(LossState, phase) == kCacheLineBytes);

// Only kept while congestion control asks for it (delivery_rate.h).
struct RateState {
  uint64_t delivered_bytes = 0;
  uint64_t app_limited_until = 0;  // delivered_bytes at which samples count again; 0: they do
  Instant next_send{};             // pacing
  uint32_t first_sent_us = 0;
  uint32_t delivered_us = 0;
};

struct Receiver {
  Seq nxt;
  Seq acked;     // RCV.NXT as last sent: Last.ACK.sent of RFC 7323
  Seq edge;      // right edge of the window as last sent
  Seq consumed;  // first byte not yet read
  uint32_t buffer_bytes = 0;
  uint32_t queued_bytes = 0;
  uint32_t clamp_bytes = 0;  // TCP_WINDOW_CLAMP; 0: none
  uint32_t ts_recent = 0;
  Instant ts_recent_at{};
  FrameQueue queue;
  Frame* ooo_head = nullptr;
  uint16_t peer_segment_bytes = 536;  // size of the segments that arrive
  uint8_t shift = 0;                  // window scale of ours, if it was agreed
  bool fin_known = false;             // its sequence number is known
  bool fin_received = false;          // and everything before it has come
  bool buffer_fixed = false;          // set by the user: no tuning
  uint8_t sack_count = 0;
  bool dsack_pending = false;
  // Delayed ACK
  uint8_t quick_acks = 0;
  uint8_t pushed = 0;  // segments not yet acknowledged that end a write, up to 2
  uint16_t last_segment_bytes = 0;
  bool ack_now = false;
  bool ack_pending = false;
  bool ack_held_again : 1 = false;        // it waits a second time for the user to read
  bool interactive : 1 = false;           // answers carry the ACKs ("pingpong")
  bool checksums_unfinished : 1 = false;  // one that should have been was not
  bool checksums_whole = false;           // the latest segment's was
  uint32_t ato_us = 0;
  // Receive buffer tuning
  uint32_t rtt_us = 0;
  Instant last_data_at{};  // of the delayed ACK
  uint32_t tune_space_bytes = 0;
  Seq tune_seq;
  Instant tune_at{};
  // From here on: what a segment in sequence does not touch.
  Seq rtt_seq;
  Seq fin_seq;
  Instant rtt_at{};
  uint32_t ooo_bytes = 0;
  uint16_t ooo_frames = 0;
  uint16_t islands = 0;
  Frame* ooo_tail = nullptr;
  Frame* ooo_cursor = nullptr;
  wire::SackBlock dsack;
  wire::SackBlock sacks[wire::kSackBlocksMax];
};

struct ConnectionStats {
  uint64_t bytes_sent = 0, bytes_acked = 0, bytes_received = 0;
  uint32_t segments_sent = 0, segments_received = 0;
  uint32_t data_segments_sent = 0, data_segments_received = 0;
  uint64_t bytes_resent = 0;
  uint32_t segments_resent = 0, out_of_order = 0, dsacks = 0;
};

// The order of the members is that of their use: with 100,000 connections nearly every segment
// finds its own cold in the caches, and each cache line counts. What a segment in sequence, its
// answer and the ACK of that touch lies in kHotRanges; between them and behind is what
// an opening, a loss, a growing window or an idle connection needs.
// All of it is 19 cache lines, to the last byte.
class Connection : public FlowNode, public ListNode<HeldTag>, public ListNode<QueueTag> {
 public:
  Connection(Core& core, Timer::Callback fire, Timer::Callback fire_life);
  ~Connection();

  CongestionController& congestion() {
    return *std::launder(reinterpret_cast<CongestionController*>(congestion_storage));
  }
  const CongestionController& congestion() const {
    return *std::launder(reinterpret_cast<const CongestionController*>(congestion_storage));
  }
  void use_congestion(CongestionControl algorithm);

  Core& core;
  Instant last_received_at{};
  uint32_t user = 0;
  uint32_t ts_offset = 0;
  uint32_t user_timeout_ms = 0;
  uint32_t send_buffer_bytes = 0;

  // One cache line: all that a timer looks at which fires for nothing.
  alignas(kCacheLineBytes) Timer timer;  // at the earliest of these three, or earlier
  Instant retransmit_at = Instant::never();
  Instant ack_at = Instant::never();
  Instant pace_at = Instant::never();
  RetransmitMode retransmit_mode = RetransmitMode::kNone;
  State state = State::kClosed;
  bool owned = false;      // by the user
  bool queued = false;     // in the accept queue of `listener`
  bool announced = false;  // on_readable is due when this call ends
  bool blocked = false;    // could not send for want of memory or ring; retried at ack_at
  bool hashed = false;
  bool timestamps = false;

  // Not touched from here on...
  alignas(8) unsigned char congestion_storage[136];
  RateState rate;
  Timer life_timer;
  Instant life_at = Instant::never();  // keep-alive, FIN-WAIT-2, TIME-WAIT
  Listener* listener = nullptr;        // while queued
  Instant established_at{};
  Instant challenge_at{};
  uint32_t keepalive_idle_s = 7200;
  uint32_t keepalive_interval_s = 75;
  int16_t linger2_s = 0;
  uint8_t keepalive_probes = 9;
  uint8_t path_retries = 0;
  uint8_t syn_retries = 0;
  bool keepalive = true;
  bool challenged = false;
  bool syn_resent = false;
  uint16_t error = 0;  // what killed it
  Seq irs;
  alignas(kCacheLineBytes) LossState loss;  // ... into its second line

  bool sack = false;
  bool scaling = false;
  bool nodelay = false;
  bool corked = false;     // TCP_CORK
  bool more = false;       // the write that is being pushed is not the last of its kind (MSG_MORE)
  bool push_once = false;  // whatever Nagle and the cork say
  bool writer_waits = false;
  bool read_closed = false;   // close() was called: data that arrives now means RST
  bool cwnd_limited = false;  // the congestion window was full in the round trip of usage_end
  bool cwnd_blocked = false;  // and is so now
  bool rate_based = false;    // congestion control works with rates
  bool send_buffer_fixed = false;
  bool syn_resent_again = false;  // more than once
  uint8_t ttl = 64;
  uint8_t traffic_class = 0;
  uint8_t keepalive_sent = 0;
  EcnState ecn;
  uint16_t soft_error = 0;        // ICMP; reported should the connection time out
  uint32_t flight_max_bytes = 0;  // most in flight in that round trip, if it was not
  Seq usage_end;
  CongestionWindow window;
  RttEstimator rtt;
  net::Path path;
  SendClock send_clock;
  ConnectionStats stats;
  Sender snd;
  Receiver rcv;

  bool ack_state() const { return state != State::kSynSent && state != State::kClosed; }
  // States in which data and FIN of ours may be sent.
  bool can_send() const {
    return state == State::kEstablished || state == State::kCloseWait ||
           state == State::kFinWait1 || state == State::kClosing || state == State::kLastAck;
  }
  bool can_receive() const {
    return state == State::kEstablished || state == State::kFinWait1 || state == State::kFinWait2;
  }
};

struct HotRange {
  size_t from, bytes;
};
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \
    "-Winvalid-offsetof"  // it has bases; the compilers agree all the same
inline constexpr HotRange kHotRanges[] = {
    {0, offsetof(Connection, congestion_storage)},
    {offsetof(Connection, loss.phase),
     offsetof(Connection, rcv.rtt_seq) - offsetof(Connection, loss.phase)},
};
#pragma GCC diagnostic pop

// `at` may be a HalfOpen: nothing is read.
[[gnu::always_inline]] inline void prefetch_connection(const FlowNode* at) {
  for (const HotRange& r : kHotRanges) {
    prefetch(reinterpret_cast<const uint8_t*>(at) + r.from, r.bytes);
  }
}

// What the two SYNs of a passive opening agreed on.
struct Handshake {
  Seq iss, irs;
  uint32_t ts_recent = 0;
  uint32_t ts_offset = 0;
  uint16_t peer_mss_bytes = 536;
  uint16_t window_bytes = 0;  // ours, as announced
  uint8_t peer_shift = 0;
  uint8_t shift = 0;  // ours
  bool scaling = false;
  bool sack = false;
  bool timestamps = false;
  bool ecn = false;
};

struct HalfOpen : FlowNode, ListNode<QueueTag>, Handshake {
  HalfOpen(Core& c, Timer::Callback fire) : core(c), timer(fire, this) {}
  Core& core;
  Timer timer;
  Listener* listener = nullptr;
  Instant sent{};
  Instant answered{};  // last answer to something odd, for its rate limit
  uint16_t peer_window_bytes = 0;
  uint8_t retries = 0;
  bool acked = false;  // but without data, and the listener waits for some (TCP_DEFER_ACCEPT)
};

class Listener : public HashNode<PortTag>, public ListNode<AllTag> {
 public:
  wire::Endpoint local;
  bool dual_stack = false;
  uint32_t user = 0;
  uint32_t backlog = 0;
  uint32_t ready = 0;       // connections in `acceptable`
  uint32_t half_opens = 0;  // handshakes in `half_open`
  Instant cookies_until{};  // a SYN cookie sent before may still come back until then
  ConnectionOptions options;
  List<Connection, QueueTag> acceptable;
  List<HalfOpen, QueueTag> half_open;
};

}  // namespace millrace::tcp
