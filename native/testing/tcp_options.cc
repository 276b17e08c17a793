// SPDX-License-Identifier: MIT
// Options of TCP, with Linux's bounds, and TCP_INFO. Kept apart because <linux/tcp.h>, which has
// the whole struct tcp_info, cannot be included beside <netinet/tcp.h>.
#include <linux/tcp.h>
#include <netinet/in.h>

#include <string_view>

#include "testing/door.h"
#include "testing/option_value.h"

namespace millrace::testing {

using tcp::State;

namespace {

constexpr int kMssMin = 88;  // Linux TCP_MIN_MSS
constexpr int kMssMax = 32767;
constexpr int kKeepaliveSecondsMax = 32767;
constexpr int kKeepaliveProbesMax = 127;

bool within(int number, int most) {
  return number >= 1 && number <= most;
}

// TCP_CA_Open, Disorder, CWR, Recovery, Loss in Linux's numbers.
uint8_t congestion_state(const tcp::LossState& loss, const tcp::TxQueue& queue) {
  if (loss.phase == tcp::Recovery::kLoss) return 4;
  if (loss.phase == tcp::Recovery::kFast) return 3;
  if (loss.phase == tcp::Recovery::kCwr) return 2;
  return queue.sacked_frames > 0 || loss.dupacks > 0 ? 1 : 0;
}

uint32_t count_in_flight(const tcp::TxQueue& q) {
  uint32_t count = 0;
  for (Frame* f = q.head; f && f != q.unsent; f = f->next) ++count;
  return count;
}

uint32_t per_segment(uint32_t bytes, uint32_t mss) {
  return mss ? (bytes + mss - 1) / mss : 0;
}

}  // namespace

int Door::get_tcp_level(Socket& s, int name, void* value, socklen_t* length) {
  const tcp::ConnectionOptions& o = s.options;
  switch (name) {
    case TCP_NODELAY:
      return give(int(o.nodelay), value, length);
    case TCP_MAXSEG:
      // Before a connection: what was asked for, or the default of RFC 9293 3.7.1.
      return give(int(s.connection      ? tcp_->payload_mss_bytes(*s.connection)
                      : o.mss_max_bytes ? o.mss_max_bytes
                                        : 536),
                  value, length);
    case TCP_KEEPIDLE:
      return give(int(o.keepalive_idle.ns / 1'000'000'000), value, length);
    case TCP_KEEPINTVL:
      return give(int(o.keepalive_interval.ns / 1'000'000'000), value, length);
    case TCP_KEEPCNT:
      return give(int(o.keepalive_probes), value, length);
    case TCP_USER_TIMEOUT:
      return give(int(o.user_timeout.millis()), value, length);
    case TCP_CONGESTION: {
      char text[16] = {};
      std::strncpy(text, tcp::name_of(o.congestion), sizeof text - 1);
      return give(text, value, length);
    }
    case TCP_INFO:
      return get_tcp_info(s, value, length);
    default:
      return -ENOPROTOOPT;
  }
}

int Door::set_tcp_level(Socket& s, int name, const void* value, socklen_t length) {
  tcp::ConnectionOptions& o = s.options;
  if (name == TCP_CONGESTION) {
    if (!value || length == 0) return -EINVAL;
    const char* text = static_cast<const char*>(value);
    const std::string_view algorithm(text, strnlen(text, length));
    const auto named = tcp::congestion_control_named(algorithm);
    if (!named) return -ENOENT;
    o.congestion = *named;
    if (s.listener) s.listener->options = o;
    return s.connection ? -tcp_->set_congestion_control(now_, *s.connection, algorithm).code : 0;
  }
  int number = 0;
  if (const int error = take(number, value, length)) return error;
  switch (name) {
    case TCP_NODELAY:
      o.nodelay = number != 0;
      apply(s, tcp::Option::kNodelay, o.nodelay);
      return 0;
    case TCP_MAXSEG:
      if (number != 0 && (number < kMssMin || number > kMssMax)) return -EINVAL;
      o.mss_max_bytes = uint16_t(number);
      apply(s, tcp::Option::kMssMax, o.mss_max_bytes);
      return 0;
    case TCP_KEEPIDLE:
      if (!within(number, kKeepaliveSecondsMax)) return -EINVAL;
      o.keepalive_idle = Duration::seconds(number);
      apply(s, tcp::Option::kKeepaliveIdle, uint32_t(number));
      return 0;
    case TCP_KEEPINTVL:
      if (!within(number, kKeepaliveSecondsMax)) return -EINVAL;
      o.keepalive_interval = Duration::seconds(number);
      apply(s, tcp::Option::kKeepaliveInterval, uint32_t(number));
      return 0;
    case TCP_KEEPCNT:
      if (!within(number, kKeepaliveProbesMax)) return -EINVAL;
      o.keepalive_probes = uint32_t(number);
      apply(s, tcp::Option::kKeepaliveProbes, uint32_t(number));
      return 0;
    case TCP_USER_TIMEOUT:
      if (number < 0) return -EINVAL;
      o.user_timeout = Duration::millis(number);
      apply(s, tcp::Option::kUserTimeout, uint32_t(number));
      return 0;
    default:
      return -ENOPROTOOPT;
  }
}

int Door::get_tcp_info(const Socket& s, void* value, socklen_t* length) const {
  tcp_info info{};
  if (s.phase == Phase::kListening) {
    info.tcpi_state = uint8_t(State::kListen);
    info.tcpi_unacked = s.listener->ready;  // as Linux: the accept queue and its limit
    info.tcpi_sacked = s.listener->backlog;
    return give(info, value, length);
  }
  info.tcpi_state = uint8_t(State::kClosed);
  if (!s.connection) return give(info, value, length);
  const tcp::Connection& c = *s.connection;
  const tcp::Info facts = tcp_->info(c);
  const tcp::TxQueue& q = c.snd.queue;
  const uint32_t mss = facts.mss_bytes;
  info.tcpi_state = facts.state;
  info.tcpi_ca_state = congestion_state(c.loss, q);
  info.tcpi_retransmits = c.loss.backoff;
  info.tcpi_probes = c.loss.probes;
  info.tcpi_backoff = c.loss.backoff;
  info.tcpi_options =
      uint8_t((c.timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (c.sack ? TCPI_OPT_SACK : 0) |
              (c.scaling ? TCPI_OPT_WSCALE : 0) | (c.ecn.active ? TCPI_OPT_ECN : 0) |
              (c.ecn.seen ? TCPI_OPT_ECN_SEEN : 0));
  info.tcpi_snd_wscale = c.snd.shift & 15;
  info.tcpi_rto = facts.rto_us;
  info.tcpi_ato = c.rcv.ato_us;
  info.tcpi_snd_mss = mss;
  info.tcpi_rcv_mss = c.rcv.peer_segment_bytes;
  info.tcpi_unacked = count_in_flight(q);
  info.tcpi_sacked = q.sacked_frames;
  info.tcpi_lost = per_segment(q.lost_bytes, mss);
  info.tcpi_retrans = per_segment(q.resent_bytes, mss);
  info.tcpi_last_data_sent = uint32_t((now_ - c.snd.last_at).millis());
  info.tcpi_last_data_recv = uint32_t((now_ - c.rcv.last_data_at).millis());
  info.tcpi_last_ack_recv = uint32_t((now_ - c.last_received_at).millis());
  info.tcpi_pmtu = c.path.mtu_bytes;
  info.tcpi_rtt = facts.srtt_us;
  info.tcpi_rttvar = facts.rttvar_us;
  // Linux counts windows in segments.
  info.tcpi_snd_cwnd = mss ? facts.cwnd_bytes / mss : 0;
  info.tcpi_snd_ssthresh =
      facts.ssthresh_bytes >= 0x7fffffff ? 0x7fffffff : (mss ? facts.ssthresh_bytes / mss : 0);
  info.tcpi_reordering = 3;
  info.tcpi_rcv_rtt = c.rcv.rtt_us;
  info.tcpi_rcv_space = c.rcv.buffer_bytes;
  info.tcpi_total_retrans = facts.segments_retransmitted;
  info.tcpi_bytes_acked = facts.bytes_acked;
  info.tcpi_bytes_received = facts.bytes_received;
  info.tcpi_segs_out = facts.segments_sent;
  info.tcpi_segs_in = facts.segments_received;
  info.tcpi_notsent_bytes = q.unsent_bytes;
  info.tcpi_pacing_rate = facts.pacing_bytes_per_s ? facts.pacing_bytes_per_s : UINT64_MAX;
  info.tcpi_max_pacing_rate = UINT64_MAX;
  info.tcpi_min_rtt = facts.min_rtt_us;
  info.tcpi_bytes_sent = facts.bytes_sent + facts.bytes_retransmitted;
  info.tcpi_bytes_retrans = facts.bytes_retransmitted;
  return give(info, value, length);
}

}  // namespace millrace::testing
