// SPDX-License-Identifier: MIT
// Counters of TCP: name and meaning in one place, read by `stats()` and the docs.
#pragma once

#include <cstdint>

// X(name, meaning)
#define MILLRACE_TCP_COUNTERS(X)                                                           \
  X(tcp_received, "TCP segments received")                                                 \
  X(tcp_sent, "TCP segments sent, retransmissions included")                               \
  X(tcp_bad_header, "segments dropped for a malformed header")                             \
  X(tcp_bad_checksum, "segments dropped for a wrong checksum")                             \
  X(tcp_bad_address, "segments dropped for addresses that no connection can have")         \
  X(tcp_no_route_back,                                                                     \
    "SYNs left to the kernel because the answer leaves by no interface of ours")           \
  X(tcp_no_connection, "segments for which there was no connection and no listener")       \
  X(tcp_strays,                                                                            \
    "segments left or passed on to the owner of their flow, another stack or the kernel")  \
  X(tcp_resets_sent, "RST segments sent")                                                  \
  X(tcp_resets_received, "connections ended by the peer's RST")                            \
  X(tcp_active_opens, "connections begun by connect()")                                    \
  X(tcp_passive_opens, "connections that a listener completed")                            \
  X(tcp_open_failed, "connection attempts that failed")                                    \
  X(tcp_listen_overflows, "SYNs and handshakes dropped because the backlog was full")      \
  X(tcp_half_open_full, "SYNs dropped because no half-open slot was free")                 \
  X(tcp_half_open_expired, "half-open connections forgotten after the last SYN-ACK")       \
  X(tcp_cookies_sent, "SYNs answered with a SYN cookie, keeping no state (RFC 4987)")      \
  X(tcp_cookies_accepted, "connections made from a SYN cookie that came back")             \
  X(tcp_cookies_rejected, "ACKs whose SYN cookie was forged, old or spent")                \
  X(tcp_connections_full, "connections refused past connections_max")                      \
  X(tcp_syn_acks_resent, "SYN-ACKs sent again")                                            \
  X(tcp_time_wait_reused, "connections opened over a 4-tuple that was in TIME-WAIT")       \
  X(tcp_time_wait_recycled, "TIME-WAITs ended early to make room")                         \
  X(tcp_time_wait_reopened, "SYNs that legally reopened a TIME-WAIT (RFC 6191)")           \
  X(tcp_retransmits, "segments sent again")                                                \
  X(tcp_fast_recoveries, "recoveries begun by duplicate ACKs or SACK")                     \
  X(tcp_timeouts, "retransmission timeouts")                                               \
  X(tcp_loss_probes, "tail loss probes sent")                                              \
  X(tcp_loss_probe_recoveries, "losses that a tail loss probe repaired")                   \
  X(tcp_spurious_recoveries, "recoveries undone because nothing had been lost")            \
  X(tcp_lost_retransmits, "retransmissions found lost and sent again without a timeout")   \
  X(tcp_sack_reneged, "timeouts at which the peer had forgotten what it had SACKed")       \
  X(tcp_sack_invalid, "SACK blocks ignored as impossible")                                 \
  X(tcp_sack_budget, "ACKs whose SACK blocks were only partly taken to bound the work")    \
  X(tcp_dsacks_received, "duplicates that peers reported")                                 \
  X(tcp_ecn_agreed, "connections that agreed on ECN (RFC 3168)")                           \
  X(tcp_ecn_marks, "data segments that came with a router's mark (CE)")                    \
  X(tcp_ecn_cuts, "windows cut because the peer echoed a mark")                            \
  X(tcp_dsacks_sent, "duplicates reported to peers")                                       \
  X(tcp_duplicates, "segments received that held nothing new")                             \
  X(tcp_out_of_order, "segments queued out of order")                                      \
  X(tcp_out_of_order_dropped, "out-of-order segments dropped to bound memory")             \
  X(tcp_memory_dropped, "segments dropped because the frame pool was nearly empty")        \
  X(tcp_coalesced, "small segments copied together in a receive queue")                    \
  X(tcp_out_of_window, "segments outside the receive window")                              \
  X(tcp_paws_dropped, "segments dropped for an old timestamp (RFC 7323 5)")                \
  X(tcp_challenge_acks, "challenge ACKs sent (RFC 5961)")                                  \
  X(tcp_challenge_acks_skipped, "challenge ACKs not sent because of their rate limit")     \
  X(tcp_bad_acks, "segments acknowledging what was never sent or is long gone")            \
  X(tcp_data_after_close, "connections reset because data came after close()")             \
  X(tcp_zero_window_probes, "zero window probes sent")                                     \
  X(tcp_keepalive_probes, "keep-alive probes sent")                                        \
  X(tcp_timed_out, "connections given up after their last retry")                          \
  X(tcp_pmtu_lowered, "times that ICMP lowered a connection's segment size")               \
  X(tcp_black_holes, "timeouts that looked as if ICMP were filtered and packets too long") \
  X(tcp_mtu_probes, "longer packets tried (RFC 4821)")                                     \
  X(tcp_icmp_ignored, "ICMP errors ignored: no such flow, sequence not in flight")         \
  X(tcp_no_memory, "segments not sent at once because the frame pool was empty")           \
  X(tcp_send_refused, "segments that the Internet layer refused")                          \
  X(tcp_handed_over, "connections that the kernel went on with in mid-stream")             \
  X(tcp_late_for_kernel, "segments dropped because their connection is the kernel's since")

namespace millrace::tcp {

struct Counters {
#define X(name, meaning) uint64_t name = 0;
  MILLRACE_TCP_COUNTERS(X)
#undef X
};

}  // namespace millrace::tcp
