// SPDX-License-Identifier: MIT
// Socket options of the scripts, and TCP_INFO.
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "scripts/runner/machine.h"
#include "scripts/runner/names.h"

namespace millrace::scripts {

namespace {

struct OptionName {
  const char* word;
  int level;
  int name;
};

constexpr OptionName kOptions[] = {{"nodelay", IPPROTO_TCP, TCP_NODELAY},
                                   {"maxseg", IPPROTO_TCP, TCP_MAXSEG},
                                   {"keepidle", IPPROTO_TCP, TCP_KEEPIDLE},
                                   {"keepintvl", IPPROTO_TCP, TCP_KEEPINTVL},
                                   {"keepcnt", IPPROTO_TCP, TCP_KEEPCNT},
                                   {"usertimeout", IPPROTO_TCP, TCP_USER_TIMEOUT},
                                   {"cork", IPPROTO_TCP, TCP_CORK},
                                   {"quickack", IPPROTO_TCP, TCP_QUICKACK},
                                   {"syncnt", IPPROTO_TCP, TCP_SYNCNT},
                                   {"linger2", IPPROTO_TCP, TCP_LINGER2},
                                   {"deferaccept", IPPROTO_TCP, TCP_DEFER_ACCEPT},
                                   {"windowclamp", IPPROTO_TCP, TCP_WINDOW_CLAMP},
                                   {"notsentlowat", IPPROTO_TCP, TCP_NOTSENT_LOWAT},
                                   {"rcvlowat", SOL_SOCKET, SO_RCVLOWAT},
                                   {"mtu", IPPROTO_IP, IP_MTU},
                                   {"keepalive", SOL_SOCKET, SO_KEEPALIVE},
                                   {"reuse", SOL_SOCKET, SO_REUSEADDR},
                                   {"rcvbuf", SOL_SOCKET, SO_RCVBUF},
                                   {"sndbuf", SOL_SOCKET, SO_SNDBUF},
                                   {"broadcast", SOL_SOCKET, SO_BROADCAST},
                                   {"oobinline", SOL_SOCKET, SO_OOBINLINE},
                                   {"error", SOL_SOCKET, SO_ERROR},
                                   {"ttl", IPPROTO_IP, IP_TTL},
                                   {"tos", IPPROTO_IP, IP_TOS},
                                   {"hops", IPPROTO_IPV6, IPV6_UNICAST_HOPS},
                                   {"v6only", IPPROTO_IPV6, IPV6_V6ONLY}};

const OptionName* option(const std::string& word) {
  for (const OptionName& o : kOptions) {
    if (word == o.word) return &o;
  }
  return nullptr;
}

std::string congestion_state(int state) {
  static constexpr const char* kNames[] = {"open", "disorder", "cwr", "recovery", "loss"};
  return state >= 0 && state <= 4 ? kNames[state] : std::to_string(state);
}

bool field_of(const tcp_info& i, const std::string& name, int64_t& value) {
  const std::pair<const char*, int64_t> fields[] = {
      {"rto", i.tcpi_rto},
      {"rtt", i.tcpi_rtt},
      {"rttvar", i.tcpi_rttvar},
      {"minrtt", i.tcpi_min_rtt},
      {"cwnd", i.tcpi_snd_cwnd},
      {"ssthresh", i.tcpi_snd_ssthresh},
      {"mss", i.tcpi_snd_mss},
      {"unacked", i.tcpi_unacked},
      {"sacked", i.tcpi_sacked},
      {"lost", i.tcpi_lost},
      {"retrans", i.tcpi_total_retrans},
      {"backoff", i.tcpi_backoff},
      {"probes", i.tcpi_probes},
      {"acked", int64_t(i.tcpi_bytes_acked)},
      {"received", int64_t(i.tcpi_bytes_received)},
      {"notsent", i.tcpi_notsent_bytes},
      {"pmtu", i.tcpi_pmtu},
      {"wscale", i.tcpi_snd_wscale},
      {"rcvwscale", i.tcpi_rcv_wscale},
      {"rcvmss", i.tcpi_rcv_mss},
      {"advmss", i.tcpi_advmss},
      {"lastdatarecv", i.tcpi_last_data_recv},
      {"lastdatasent", i.tcpi_last_data_sent},
      {"lastackrecv", i.tcpi_last_ack_recv},
      {"busy", int64_t(i.tcpi_busy_time)},
      {"rwndlimited", int64_t(i.tcpi_rwnd_limited)},
      {"sndbuflimited", int64_t(i.tcpi_sndbuf_limited)},
      {"sent", int64_t(i.tcpi_bytes_sent)},
      {"resent", int64_t(i.tcpi_bytes_retrans)},
      {"dataout", i.tcpi_data_segs_out},
      {"datain", i.tcpi_data_segs_in},
      {"dsacks", i.tcpi_dsack_dups},
      {"ooo", i.tcpi_rcv_ooopack},
      {"sndwnd", i.tcpi_snd_wnd},
      {"ecn", i.tcpi_options & TCPI_OPT_ECN ? 1 : 0},
  };
  for (const auto& [word, number] : fields) {
    if (name == word) {
      value = number;
      return true;
    }
  }
  return false;
}

}  // namespace

// set NAME OPTION VALUE; set NAME congestion reno; set NAME linger SECONDS|off; set NAME rcvtimeo D
bool Machine::call_set(const Words& words) {
  const int fd = sock(words[1])->fd;
  if (words.size() < 4) return fail("set NAME OPTION VALUE");
  const std::string& value = words[3];
  if (words[2] == "congestion") {
    return judge(mrt_setsockopt(stack_, fd, IPPROTO_TCP, TCP_CONGESTION, value.data(),
                                socklen_t(value.size())),
                 words, 0);
  }
  int64_t n = 0;
  if (words[2] == "linger") {
    if (value != "off" && !number(value, n)) return false;
    const linger l{value != "off", int(n)};
    return judge(mrt_setsockopt(stack_, fd, SOL_SOCKET, SO_LINGER, &l, sizeof l), words, 0);
  }
  if (words[2] == "rcvtimeo" || words[2] == "sndtimeo") {
    const auto d = parse_duration(value);
    if (!d) return fail("not a time: " + value);
    const timeval time{*d / 1'000'000'000, *d / 1000 % 1'000'000};
    const int name = words[2] == "rcvtimeo" ? SO_RCVTIMEO : SO_SNDTIMEO;
    return judge(mrt_setsockopt(stack_, fd, SOL_SOCKET, name, &time, sizeof time), words, 0);
  }
  const OptionName* o = option(words[2]);
  if (!o || !number(value, n)) return fail("no such option: " + words[2]);
  const int as_int = int(n);
  return judge(mrt_setsockopt(stack_, fd, o->level, o->name, &as_int, sizeof as_int), words, 0);
}

// get NAME OPTION = VALUE; of "error" the value is a name, or 0.
bool Machine::call_get(const Words& words) {
  const OptionName* o = words.size() == 5 ? option(words[2]) : nullptr;
  if (!o) return fail("get NAME OPTION = VALUE");
  int value = 0;
  socklen_t length = sizeof value;
  if (mrt_getsockopt(stack_, sock(words[1])->fd, o->level, o->name, &value, &length) != 0)
    return fail("getsockopt: " + errno_name(errno));
  if (o->name == SO_ERROR && o->level == SOL_SOCKET) {
    const std::string got = value == 0 ? "0" : errno_name(value);
    return got == words[4] || fail("SO_ERROR is " + got + ", not " + words[4]);
  }
  std::string difference;
  if (!match_number(words[2], words[4], value, difference)) return false;
  return difference.empty() || fail(difference);
}

// info NAME FIELD = VALUE|FROM..TO, of TCP_INFO; state and recovery by name.
bool Machine::call_info(const Words& words) {
  if (words.size() != 5 || words[3] != "=") return fail("info NAME FIELD = VALUE");
  tcp_info info{};
  socklen_t length = sizeof info;
  if (mrt_getsockopt(stack_, sock(words[1])->fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0)
    return fail("TCP_INFO: " + errno_name(errno));
  if (words[2] == "state" || words[2] == "recovery") {
    const std::string got =
        words[2] == "state" ? state_name(info.tcpi_state) : congestion_state(info.tcpi_ca_state);
    return got == words[4] || fail(words[2] + " is " + got + ", not " + words[4]);
  }
  int64_t value = 0;
  if (!field_of(info, words[2], value)) return fail("no such field: " + words[2]);
  std::string difference;
  const bool measured =
      words[2] == "rtt" || words[2] == "rttvar" || words[2] == "minrtt" || words[2] == "rto";
  int64_t wanted = 0;
  if (kernel_ && measured && words[4].find("..") == std::string::npos) {
    // Real time, within what await_packet() allows.
    if (!number(words[4], wanted)) return false;
    if (std::abs(value - wanted) <= wanted / 5 + 12'000) return true;
  }
  if (!match_number(words[2], words[4], value, difference)) return false;
  return difference.empty() || fail(difference);
}

}  // namespace millrace::scripts
