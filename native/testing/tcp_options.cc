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
constexpr int kSynRetriesMax = 127;
constexpr int kLingerSecondsMax = 120;
constexpr int kWindowClampMin = 1152;  // Linux: half of the least SO_RCVBUF

bool within(int number, int most) {
  return number >= 1 && number <= most;
}

// TCP_DEFER_ACCEPT counts in SYN-ACKs sent again, of which the first comes after a second and each
// after twice the time of the one before, 120 s at most.
uint8_t seconds_to_retries(int seconds) {
  uint8_t retries = 0;
  for (int sum = 0, wait = 1; seconds > 0 && sum < seconds && retries < 255; ++retries) {
    sum += wait;
    wait = std::min(wait * 2, 120);
  }
  return retries;
}

int retries_to_seconds(uint8_t retries) {
  int sum = 0;
  for (int wait = 1; retries > 0; --retries, wait = std::min(wait * 2, 120)) sum += wait;
  return sum;
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

// Linux counts windows in segments.
void fill_windows(tcp_info& info, const tcp::Connection& c, const tcp::Info& facts) {
  const uint32_t mss = facts.mss_bytes;
  info.tcpi_snd_cwnd = mss ? facts.cwnd_bytes / mss : 0;
  info.tcpi_snd_ssthresh =
      facts.ssthresh_bytes >= 0x7fffffff ? 0x7fffffff : (mss ? facts.ssthresh_bytes / mss : 0);
  info.tcpi_reordering = 3;
  info.tcpi_rcv_rtt = c.rcv.rtt_us;
  info.tcpi_rcv_space = c.rcv.buffer_bytes;
  info.tcpi_rcv_ssthresh = facts.receive_window_bytes;
  const uint32_t headers = c.key.remote.address.is_v4() ? 40 : 60;
  const uint32_t advertised = c.path.mtu_bytes > headers ? c.path.mtu_bytes - headers : 0;
  const uint32_t most = c.snd.mss_max_bytes;
  info.tcpi_advmss = most ? std::min(advertised, most) : advertised;
  if (c.timestamps) info.tcpi_advmss -= std::min(info.tcpi_advmss, wire::kTcpTimestampBytes);
  info.tcpi_rtt = facts.srtt_us;
  info.tcpi_rttvar = facts.rttvar_us;
  info.tcpi_min_rtt = facts.min_rtt_us;
  info.tcpi_snd_wnd = facts.send_window_bytes;
}

void fill_counts(tcp_info& info, const tcp::Connection& c, const tcp::Info& facts, Instant now) {
  info.tcpi_total_retrans = facts.segments_retransmitted;
  info.tcpi_bytes_acked = facts.bytes_acked;
  info.tcpi_bytes_received = facts.bytes_received;
  info.tcpi_segs_out = facts.segments_sent;
  info.tcpi_segs_in = facts.segments_received;
  info.tcpi_notsent_bytes = c.snd.queue.unsent_bytes;
  info.tcpi_bytes_sent = facts.bytes_sent + facts.bytes_retransmitted;
  info.tcpi_bytes_retrans = facts.bytes_retransmitted;
  info.tcpi_data_segs_in = c.stats.data_segments_received;
  info.tcpi_data_segs_out = c.stats.data_segments_sent;
  info.tcpi_dsack_dups = c.stats.dsacks;
  info.tcpi_rcv_ooopack = c.stats.out_of_order;
  info.tcpi_pacing_rate = facts.pacing_bytes_per_s ? facts.pacing_bytes_per_s : UINT64_MAX;
  info.tcpi_max_pacing_rate = UINT64_MAX;
  const tcp::SendClock& clock = c.send_clock;
  info.tcpi_busy_time = uint64_t(clock.busy(now).micros());
  info.tcpi_rwnd_limited = uint64_t(clock.spent(now, tcp::SendClock::kReceiveWindow).micros());
  info.tcpi_sndbuf_limited = uint64_t(clock.spent(now, tcp::SendClock::kSendBuffer).micros());
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
    case TCP_CORK:
      return give(int(s.connection ? s.connection->corked : o.cork), value, length);
    case TCP_QUICKACK:
      return give(int(!s.connection || !s.connection->rcv.interactive), value, length);
    case TCP_SYNCNT:
      return give(int(o.syn_retries ? o.syn_retries : tcp_->options().syn_retries), value, length);
    case TCP_LINGER2: {
      const int seconds = int(tcp_->options().fin_timeout.millis() / 1000);
      return give(o.linger2_s > 0   ? int(o.linger2_s)
                  : o.linger2_s < 0 ? -1
                                    : seconds,
                  value, length);
    }
    case TCP_DEFER_ACCEPT:
      return give(retries_to_seconds(o.defer_accept), value, length);
    case TCP_WINDOW_CLAMP:
      return give(int(s.connection ? s.connection->rcv.clamp_bytes : o.window_clamp_bytes), value,
                  length);
    case TCP_NOTSENT_LOWAT:
      return give(s.unsent_low_water, value, length);
    case TCP_INQ:
      return give(int(s.tell_queue), value, length);
    case TCP_FASTOPEN:
    case TCP_FASTOPEN_CONNECT:
      return give(0, value, length);
    case TCP_TIMESTAMP:
      return give(uint32_t(now_.ns / 1'000'000) + (s.connection ? s.connection->ts_offset : 0),
                  value, length);
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
    case TCP_CORK:
    case TCP_QUICKACK:
    case TCP_INQ:
    case TCP_FASTOPEN:
      return set_tcp_flag(s, name, number);
    case TCP_SYNCNT:
    case TCP_LINGER2:
    case TCP_DEFER_ACCEPT:
      return set_tcp_time(s, name, number);
    case TCP_WINDOW_CLAMP:
      if (number == 0 && s.phase != Phase::kNew) return -EINVAL;
      o.window_clamp_bytes = number == 0 ? 0 : uint32_t(std::max(number, kWindowClampMin));
      apply(s, tcp::Option::kWindowClamp, o.window_clamp_bytes);
      return 0;
    case TCP_NOTSENT_LOWAT:
      s.unsent_low_water = number == 0 ? UINT32_MAX : uint32_t(number);
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

int Door::set_tcp_flag(Socket& s, int name, int number) {
  tcp::ConnectionOptions& o = s.options;
  switch (name) {
    case TCP_NODELAY:
      o.nodelay = number != 0;
      apply(s, tcp::Option::kNodelay, o.nodelay);
      return 0;
    case TCP_CORK:
      o.cork = number != 0;
      apply(s, tcp::Option::kCork, o.cork);
      return 0;
    case TCP_QUICKACK:
      if (s.connection) apply(s, tcp::Option::kQuickAck, number & 1);
      return 0;
    case TCP_INQ:
      if (number < 0 || number > 1) return -EINVAL;
      s.tell_queue = number != 0;
      return 0;
    default:  // TCP_FASTOPEN: the length of a queue for a server side that Linux has off by default
      return number >= 0 && (s.phase == Phase::kNew || s.phase == Phase::kListening) ? 0 : -EINVAL;
  }
}

int Door::set_tcp_time(Socket& s, int name, int number) {
  tcp::ConnectionOptions& o = s.options;
  switch (name) {
    case TCP_SYNCNT:
      if (!within(number, kSynRetriesMax)) return -EINVAL;
      o.syn_retries = uint8_t(number);
      apply(s, tcp::Option::kSynRetries, o.syn_retries);
      return 0;
    case TCP_LINGER2:
      o.linger2_s = int16_t(number < 0 ? -1 : std::min(number, kLingerSecondsMax));
      apply(s, tcp::Option::kLinger2, uint32_t(int32_t(o.linger2_s)));
      return 0;
    default:  // TCP_DEFER_ACCEPT
      o.defer_accept = seconds_to_retries(number);
      if (s.listener) s.listener->options.defer_accept = o.defer_accept;
      return 0;
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
  info.tcpi_backoff = std::max(c.loss.backoff, c.loss.probe_backoff);
  info.tcpi_options =
      uint8_t((c.timestamps ? TCPI_OPT_TIMESTAMPS : 0) | (c.sack ? TCPI_OPT_SACK : 0) |
              (c.scaling ? TCPI_OPT_WSCALE : 0) | (c.ecn.active ? TCPI_OPT_ECN : 0) |
              (c.ecn.seen ? TCPI_OPT_ECN_SEEN : 0));
  info.tcpi_snd_wscale = c.snd.shift & 15;
  info.tcpi_rcv_wscale = (c.scaling ? c.rcv.shift : 0) & 15;
  info.tcpi_rto = facts.rto_us;
  info.tcpi_ato = c.rcv.ato_us;
  info.tcpi_snd_mss = mss;
  info.tcpi_rcv_mss = c.rcv.peer_segment_bytes;
  info.tcpi_unacked = count_in_flight(q);
  info.tcpi_sacked = q.sacked_frames;
  info.tcpi_lost = per_segment(q.lost_bytes, mss);
  info.tcpi_retrans = per_segment(q.resent_bytes, mss);
  // Before any data: since the connection was made.
  info.tcpi_last_data_sent = uint32_t((now_ - std::max(c.snd.last_at, c.established_at)).millis());
  info.tcpi_last_data_recv =
      uint32_t((now_ - std::max(c.rcv.last_data_at, c.established_at)).millis());
  info.tcpi_last_ack_recv = uint32_t((now_ - c.last_received_at).millis());
  info.tcpi_pmtu = c.path.mtu_bytes;
  fill_windows(info, c, facts);
  fill_counts(info, c, facts, now_);
  return give(info, value, length);
}

}  // namespace millrace::testing
