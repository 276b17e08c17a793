// SPDX-License-Identifier: MIT
// Every parser of native/wire over any bytes: what it accepts lies inside the input and says the
// same when it is built again. FUZZ_TARGET names the one that this program is about.
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp_header.h"
#include "wire/udp.h"

#include <vector>

#include "fuzz/check.h"
#include "port/wrap/fault_config.h"

using namespace millrace;
using namespace millrace::wire;
using Bytes = std::span<const uint8_t>;

namespace {

[[maybe_unused]] void ethernet(Bytes in) {
  EthernetView v;
  if (!parse_ethernet(in, v)) return FUZZ_CHECK(in.size() < 18);
  FUZZ_CHECK(v.header_bytes == 14 || v.header_bytes == 18);
  FUZZ_CHECK(v.header_bytes <= in.size() && v.vlan < 4096);
  uint8_t built[14];
  build_ethernet(built, v.destination, v.source, v.ether_type);
  FUZZ_CHECK(std::memcmp(built, in.data(), 12) == 0);
  FUZZ_CHECK(load16(built + 12) == load16(in.data() + v.header_bytes - 2));
}

[[maybe_unused]] void ipv4(Bytes in) {
  for (const bool quoted : {false, true}) {
    Ipv4View v;
    if (parse_ipv4(in, v, quoted) != IpProblem::kNone) continue;
    FUZZ_CHECK(v.header_bytes >= 20 && v.header_bytes <= 60 && v.header_bytes <= in.size());
    FUZZ_CHECK(quoted || (v.total_bytes <= in.size() && v.header_bytes <= v.total_bytes));
    if (quoted || v.header_bytes != 20 || v.fragment) continue;
    uint8_t built[20];
    build_ipv4(built,
               {.total_bytes = uint16_t(v.total_bytes),
                .identification = load16(in.data() + 4),
                .dont_fragment = (in[6] & 0x40) != 0,
                .ttl = v.ttl,
                .traffic_class = v.traffic_class,
                .protocol = v.protocol},
               v.source, v.destination);
    // The reserved bit is not built, and a checksum of 0 has two forms.
    if (!(in[6] & 0x80) && load16(in.data() + 10) != 0xffff) {
      FUZZ_CHECK(std::memcmp(built, in.data(), 20) == 0);
    }
  }
}

[[maybe_unused]] void ipv6(Bytes in) {
  Ipv6View v;
  if (parse_ipv6(in, v) != IpProblem::kNone) return;
  FUZZ_CHECK(v.total_bytes >= 40 && v.total_bytes <= in.size());
  const Bytes packet = in.first(v.total_bytes);
  const Ipv6Chain chain = walk_ipv6(packet, v.next_header);
  if (chain.result == Ipv6Walk::kTransport) {
    FUZZ_CHECK(chain.offset >= 40 && chain.offset <= packet.size());
  }
  if (chain.result == Ipv6Walk::kProblem) FUZZ_CHECK(chain.pointer < packet.size());
  uint8_t built[40];
  build_ipv6(built, uint16_t(v.total_bytes - 40), v.next_header, v.hop_limit, v.traffic_class,
             v.source, v.destination);
  FUZZ_CHECK(std::memcmp(built + 4, in.data() + 4, 36) == 0);
}

void compare(const TcpOptions& a, const TcpOptions& b) {
  FUZZ_CHECK(a.has_mss == b.has_mss && (!a.has_mss || a.mss_bytes == b.mss_bytes));
  FUZZ_CHECK(a.has_window_scale == b.has_window_scale && a.window_scale == b.window_scale);
  FUZZ_CHECK(a.has_timestamps == b.has_timestamps);
  if (a.has_timestamps) FUZZ_CHECK(a.ts_value == b.ts_value && a.ts_echo == b.ts_echo);
  FUZZ_CHECK(a.sack_permitted == b.sack_permitted && a.sack_count == b.sack_count);
  for (uint8_t i = 0; i < a.sack_count; ++i) {
    FUZZ_CHECK(a.sack[i].start == b.sack[i].start && a.sack[i].end == b.sack[i].end);
  }
}

[[maybe_unused]] void tcp_options(Bytes in) {
  TcpHeader h;
  if (!parse_tcp_header(in, h)) return;
  FUZZ_CHECK(h.header_bytes >= 20 && h.header_bytes <= in.size());
  const bool syn = h.flags & kTcpSyn;
  TcpOptions o;
  parse_tcp_options(in.subspan(20, h.header_bytes - 20u), syn, o);
  FUZZ_CHECK(o.sack_count <= kSackBlocksMax && o.window_scale <= 14);
  FUZZ_CHECK(syn ? o.sack_count == 0 : !(o.has_mss || o.has_window_scale || o.sack_permitted));
  const uint32_t bytes = tcp_options_bytes(o);
  if (bytes > 40) return;  // four SACK blocks and timestamps: nobody builds that
  uint8_t built[60];
  h.header_bytes = uint8_t(20 + bytes);
  build_tcp_header(built, h, o);
  TcpHeader again;
  TcpOptions options;
  FUZZ_CHECK(parse_tcp_header({built, 20u + bytes}, again));
  parse_tcp_options({built + 20, bytes}, syn, options);
  FUZZ_CHECK(again.seq == h.seq && again.ack == h.ack && again.flags == h.flags);
  FUZZ_CHECK(again.window == h.window && again.urgent == h.urgent);
  compare(o, options);
}

[[maybe_unused]] void udp(Bytes in) {
  UdpView v;
  if (!parse_udp(in, v)) return;
  FUZZ_CHECK(v.length_bytes >= 8 && v.length_bytes <= in.size());
  const IpAddress a = IpAddress::v4(0x0a000001), b = IpAddress::v4(0x0a000002);
  (void)udp_checksum_ok(in.first(v.length_bytes), a, b, in.size() & 1);
  std::vector<uint8_t> copy(in.begin(), in.begin() + v.length_bytes);
  build_udp(copy, v.source_port, v.destination_port, a, b);
  FUZZ_CHECK(udp_checksum_ok(copy, a, b, false));
  FUZZ_CHECK(load16(copy.data() + 6) != 0);
}

[[maybe_unused]] void icmp(Bytes in) {
  if (in.size() < 2) return;
  (void)meaning_of_icmp4(in[0], in[1]);
  (void)meaning_of_icmp6(in[0], in[1]);
  for (const bool v4 : {true, false}) {
    IcmpQuote q;
    if (!(v4 ? parse_quote4(in.subspan(2), q) : parse_quote6(in.subspan(2), q))) continue;
    FUZZ_CHECK(q.transport.size() >= 8);
    FUZZ_CHECK(q.transport.data() >= in.data() &&
               q.transport.data() + q.transport.size() <= in.data() + in.size());
  }
}

[[maybe_unused]] void fault_config(Bytes in) {
  const std::string_view text(reinterpret_cast<const char*>(in.data()), in.size());
  const FaultParse parsed = parse_faults(text);
  FUZZ_CHECK(parsed.error.empty() || parsed.error.size() > 10);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FUZZ_TARGET({data, size});
  return 0;
}
