/* SPDX-License-Identifier: MIT
 *
 * The door for test suites: one TCP/UDP/IP stack of millrace as a C library, with the socket calls
 * of POSIX on one side and raw IP packets on the other, in a time that the caller makes pass. No
 * device, no thread, no clock and no Node; two runs with the same seed and the same calls give the
 * same packets to the byte.
 *
 *   struct mrt_options options;
 *   mrt_options_init(&options);
 *   struct mrt_stack *stack = mrt_create(&options);
 *   mrt_address_add(stack, "192.0.2.1/24");
 *   int fd = mrt_socket(stack, AF_INET, SOCK_STREAM, 0);
 *   ... mrt_bind(), mrt_listen() as usual ...
 *   mrt_packet_in(stack, syn, syn_length);
 *   length = mrt_packet_out(stack, buffer, sizeof buffer, &time_ns);    // the SYN-ACK
 *   mrt_destroy(stack);
 *
 * Errors: every call that can fail returns -1 and sets errno to Linux's number; NULL instead of -1
 * where a pointer is returned. The errors of each socket call are those of its manual page; what is
 * particular to this library stands with the call.
 *
 * Units: times are nanoseconds of the stack's own clock (int64_t), lengths are bytes.
 *
 * Threads: the library has no lock. Calls for one stack must not overlap; several stacks are
 * independent of each other. A blocking call may be left waiting by one thread while another goes
 * on: see `wait` below.
 */
#pragma once

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MRT_API __attribute__((visibility("default")))

/* "Never", as a time. */
#define MRT_NEVER INT64_MAX

struct mrt_stack;

/* Where Linux and the RFCs differ: whose numbers a stack begins with. */
enum mrt_defaults {
  MRT_DEFAULTS_LINUX = 0, /* RTO 200 ms to 120 s, TIME-WAIT 60 s, path MTU >= 552, keep-alive off */
  MRT_DEFAULTS_RFC = 1    /* RTO 1 s to 60 s (RFC 6298 2.4), TIME-WAIT 240 s, path MTU >= 68 */
};

/* Explicit congestion notification: only for peers that ask (Linux's tcp_ecn=2), for all, for none.
 */
enum mrt_ecn { MRT_ECN_PASSIVE = 0, MRT_ECN_ON = 1, MRT_ECN_OFF = 2 };

/* Ends a wait: see mrt_options.wait. */
typedef int (*mrt_wait_function)(void* context, struct mrt_stack* stack, int64_t deadline_ns);

struct mrt_options {
  /* sizeof(struct mrt_options) of the caller, set by mrt_options_init(). */
  size_t size;
  /* All randomness of the stack: sequence numbers, ports, timestamp offsets, hash keys. */
  uint64_t seed;
  /* What the clock shows at first; at least 1. Default: one second. */
  int64_t start_ns;
  /* Of the link: the longest IP packet, 68 to 65,000. Default 1,500. */
  uint32_t mtu_bytes;
  enum mrt_defaults defaults;
  /* Packet buffers, each long enough for one packet of mtu_bytes. Default 8,192. */
  uint32_t frames;
  /* Connections in any state, TIME-WAIT included. Default 4,096. */
  uint32_t connections_max;
  /* Milliseconds; 0: as `defaults` say. */
  uint32_t rto_min_ms, rto_max_ms, time_wait_ms, fin_timeout_ms;
  /* Not 0: every connection of ours begins with sequence number `isn`, and its timestamp clock is
   * the stack's clock in milliseconds without an offset. Against RFC 6528; for tests that name
   * absolute numbers. */
  int fixed_isn;
  uint32_t isn;
  /* Not 0: an Ethernet link. Packets wait for the address of their neighbour, and neighbours answer
   * unless mrt_neighbor_set() says that one does not. What goes in and out are IP packets still. */
  int ethernet;
  /* Called by a blocking call that cannot go on. It is to let something happen: put packets in,
   * advance the clock, or let another thread do so (with a mutex around all calls,
   * pthread_cond_wait() on it is a complete implementation). The stack may be used freely within,
   * other blocking calls included. `deadline_ns` is when the call gives up by itself (a timeout of
   * poll(), SO_RCVTIMEO, SO_SNDTIMEO, SO_LINGER), or MRT_NEVER. Return 0: the call looks again and
   * waits again if need be. Return -1: the call fails with EINTR, or returns what it has done.
   * NULL: a call that would have to wait fails with EDEADLK, for there is nobody who could end it.
   */
  mrt_wait_function wait;
  void* wait_context;
  /* ECN (RFC 3168): passive by default. */
  enum mrt_ecn ecn;
  /* Probing of the path MTU (RFC 4821), the values of Linux's tcp_mtu_probing: 0 never (the
   * default), 1 once timeouts look like a black hole, 2 always. */
  int mtu_probing;
};

/* Fills in the defaults. */
MRT_API void mrt_options_init(struct mrt_options* options);

/* A stack with one network interface, which is up, without addresses and routes. `options` may be
 * NULL. NULL with EINVAL: a value out of its bounds. */
MRT_API struct mrt_stack* mrt_create(const struct mrt_options* options);
/* Ends the stack without a word to any peer. Returns the number of packet buffers that had leaked:
 * anything but 0 is a bug of millrace. */
MRT_API unsigned mrt_destroy(struct mrt_stack* stack);

/* ------------------------------------------------------------------ the network */

/* `address`: "192.0.2.1/24", "2001:db8::1/64". The prefix is reachable on the link from then on.
 * EINVAL: not an address. ENOBUFS: too many. */
MRT_API int mrt_address_add(struct mrt_stack* stack, const char* address);
MRT_API int mrt_address_remove(struct mrt_stack* stack, const char* address);
/* `prefix`: "0.0.0.0/0", "2001:db8:1::/48". `gateway`: NULL for a prefix on the link (the link has
 * no link-layer addresses, so it makes no difference to the packets). `mtu_bytes`: 0 for the
 * link's. A route to the same prefix is replaced. EINVAL, ENOBUFS. */
MRT_API int mrt_route_add(struct mrt_stack* stack, const char* prefix, const char* gateway,
                          uint32_t mtu_bytes);
/* ESRCH: there is none. */
MRT_API int mrt_route_remove(struct mrt_stack* stack, const char* prefix);
/* Changes the link. `mtu_bytes` at most what it was at mrt_create(): EINVAL. */
MRT_API int mrt_link_set(struct mrt_stack* stack, uint32_t mtu_bytes, int up);

/* On an Ethernet link: whether a neighbour answers when it is asked for its address. EINVAL. */
MRT_API int mrt_neighbor_set(struct mrt_stack* stack, const char* address, int answers);

/* One raw IP packet (IPv4 or IPv6, from the first byte of its header) arrives now. Malformed
 * packets are the stack's business and no error. EMSGSIZE: longer than the link's MTU allows a
 * buffer to be. ENOBUFS: no buffer; the packet is lost as on a card without buffers. */
MRT_API int mrt_packet_in(struct mrt_stack* stack, const void* packet, size_t length);
/* The oldest packet that the stack has sent and nobody has taken: its bytes go to `buffer`, what
 * does not fit is cut off; the time at which it was sent goes to `time_ns` (may be NULL). Returns
 * its full length, or 0 when there is none. */
MRT_API size_t mrt_packet_out(struct mrt_stack* stack, void* buffer, size_t capacity,
                              int64_t* time_ns);
/* Packets that wait for mrt_packet_out(). */
MRT_API size_t mrt_packets_waiting(const struct mrt_stack* stack);

/* ------------------------------------------------------------------ time */

MRT_API int64_t mrt_now(const struct mrt_stack* stack);
/* Lets time pass until `time_ns`. Every timer that is due on the way fires at its own time, in
 * order, at most 0.3 ms late (the tick of the timers). EINVAL: in the past. */
MRT_API int mrt_advance(struct mrt_stack* stack, int64_t time_ns);
/* The same, but stops early: as soon as a packet waits for mrt_packet_out(), or a call that had to
 * wait might now go on. Returns the time reached; read mrt_now() to tell how far it went. */
MRT_API int64_t mrt_advance_until_event(struct mrt_stack* stack, int64_t time_ns);
/* When the next timer may fire, never later than it does; MRT_NEVER when none runs. */
MRT_API int64_t mrt_next_timer(const struct mrt_stack* stack);
/* A ready-made `wait`: nobody answers, only time passes, up to the next timer or the deadline.
 * Gives up when nothing is left that could happen. The context is not used. */
MRT_API int mrt_wait_for_timers(void* context, struct mrt_stack* stack, int64_t deadline_ns);

/* Sets what new connections begin with, by the name of Linux's sysctl (with or without
 * "net.ipv4."): tcp_rmem and tcp_wmem ("least default largest", in bytes; half of tcp_rmem is
 * window, as with Linux's overhead), tcp_timestamps, tcp_sack, tcp_window_scaling, tcp_syn_retries,
 * tcp_synack_retries, tcp_retries2, tcp_orphan_retries, tcp_fin_timeout,
 * tcp_slow_start_after_idle, tcp_tw_reuse, tcp_keepalive_time, tcp_keepalive_intvl,
 * tcp_keepalive_probes, tcp_congestion_control, tcp_notsent_lowat, tcp_rto_min_us,
 * tcp_rto_max_ms. ENOENT: another name; EINVAL: not a value of it. */
MRT_API int mrt_sysctl(struct mrt_stack* stack, const char* name, const char* value);

/* ------------------------------------------------------------------ sockets
 *
 * Descriptors are small numbers of the stack's own, 3 and up, the lowest free one first. They have
 * nothing to do with the descriptors of the process. AF_INET and AF_INET6; SOCK_STREAM (TCP) and
 * SOCK_DGRAM (UDP), with SOCK_NONBLOCK; SOCK_CLOEXEC is ignored. No SIGPIPE is ever raised.
 * A blocking call that must wait calls mrt_options.wait. */

/* EAFNOSUPPORT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EMFILE. */
MRT_API int mrt_socket(struct mrt_stack* stack, int domain, int type, int protocol);
/* EADDRINUSE by Linux's rules: two sockets share a port when both have SO_REUSEADDR and neither
 * listens, and connections that outlive their socket count. Port 0: one of 32768 to 60999. */
MRT_API int mrt_bind(struct mrt_stack* stack, int fd, const struct sockaddr* address,
                     socklen_t length);
MRT_API int mrt_listen(struct mrt_stack* stack, int fd, int backlog);
MRT_API int mrt_accept(struct mrt_stack* stack, int fd, struct sockaddr* address,
                       socklen_t* length);
/* `flags`: SOCK_NONBLOCK, SOCK_CLOEXEC. */
MRT_API int mrt_accept4(struct mrt_stack* stack, int fd, struct sockaddr* address,
                        socklen_t* length, int flags);
/* AF_UNSPEC dissolves the association (a TCP connection is reset). */
MRT_API int mrt_connect(struct mrt_stack* stack, int fd, const struct sockaddr* address,
                        socklen_t length);
MRT_API int mrt_getsockname(struct mrt_stack* stack, int fd, struct sockaddr* address,
                            socklen_t* length);
MRT_API int mrt_getpeername(struct mrt_stack* stack, int fd, struct sockaddr* address,
                            socklen_t* length);

MRT_API ssize_t mrt_read(struct mrt_stack* stack, int fd, void* buffer, size_t length);
MRT_API ssize_t mrt_write(struct mrt_stack* stack, int fd, const void* buffer, size_t length);
MRT_API ssize_t mrt_readv(struct mrt_stack* stack, int fd, const struct iovec* parts, int count);
MRT_API ssize_t mrt_writev(struct mrt_stack* stack, int fd, const struct iovec* parts, int count);
/* `flags`: MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, MSG_TRUNC (TCP: the bytes are thrown away). Urgent
 * data stays in the stream, so MSG_OOB is EINVAL; the error queue is always empty, so MSG_ERRQUEUE
 * is EAGAIN; EOPNOTSUPP for others. */
MRT_API ssize_t mrt_recv(struct mrt_stack* stack, int fd, void* buffer, size_t length, int flags);
/* `flags`: MSG_DONTWAIT, MSG_NOSIGNAL (always so), MSG_MORE (TCP: a last short segment waits for
 * the next write), MSG_EOR (TCP: nothing written later shares a segment with this); MSG_ZEROCOPY,
 * MSG_CONFIRM and MSG_DONTROUTE change nothing; EOPNOTSUPP for others. */
MRT_API ssize_t mrt_send(struct mrt_stack* stack, int fd, const void* buffer, size_t length,
                         int flags);
/* UDP: a datagram longer than the link's MTU takes is EMSGSIZE (in millrace the kernel fragments
 * it). */
MRT_API ssize_t mrt_sendto(struct mrt_stack* stack, int fd, const void* buffer, size_t length,
                           int flags, const struct sockaddr* address, socklen_t address_length);
MRT_API ssize_t mrt_recvfrom(struct mrt_stack* stack, int fd, void* buffer, size_t length,
                             int flags, struct sockaddr* address, socklen_t* address_length);
/* The one control message is TCP_CM_INQ, behind TCP_INQ. */
MRT_API ssize_t mrt_sendmsg(struct mrt_stack* stack, int fd, const struct msghdr* message,
                            int flags);
MRT_API ssize_t mrt_recvmsg(struct mrt_stack* stack, int fd, struct msghdr* message, int flags);

MRT_API int mrt_shutdown(struct mrt_stack* stack, int fd, int how);
/* With SO_LINGER on and 0 seconds a TCP connection is reset. */
MRT_API int mrt_close(struct mrt_stack* stack, int fd);

/* SOL_SOCKET: SO_ERROR, SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN (these only to be read),
 * SO_REUSEADDR, SO_KEEPALIVE, SO_LINGER, SO_RCVBUF, SO_SNDBUF (doubled on reading, as Linux does),
 * SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVLOWAT, SO_BROADCAST.
 * IPPROTO_TCP: TCP_CORK, TCP_QUICKACK, TCP_SYNCNT, TCP_LINGER2, TCP_DEFER_ACCEPT, TCP_WINDOW_CLAMP,
 * TCP_NOTSENT_LOWAT, TCP_INQ, TCP_FASTOPEN (accepted on a listener, without effect, as with Linux's
 * default), TCP_TIMESTAMP (only to be read), TCP_NODELAY, TCP_MAXSEG, TCP_KEEPIDLE, TCP_KEEPINTVL,
 * TCP_KEEPCNT, TCP_USER_TIMEOUT (milliseconds), TCP_CONGESTION ("cubic", "reno", "bbr"), TCP_INFO
 * (the struct tcp_info of <linux/tcp.h>, as much of it as fits; what millrace does not count is 0).
 * IPPROTO_IP: IP_TTL, IP_TOS, IP_MTU. IPPROTO_IPV6: IPV6_V6ONLY, IPV6_UNICAST_HOPS, IPV6_TCLASS,
 * IPV6_MTU.
 * ENOPROTOOPT for others. Accepted sockets inherit their listener's. */
MRT_API int mrt_getsockopt(struct mrt_stack* stack, int fd, int level, int name, void* value,
                           socklen_t* length);
MRT_API int mrt_setsockopt(struct mrt_stack* stack, int fd, int level, int name, const void* value,
                           socklen_t length);
/* F_GETFL, F_SETFL with O_NONBLOCK (O_RDWR is reported too), F_GETFD, F_SETFD (nothing happens);
 * EINVAL for other commands. */
MRT_API int mrt_fcntl(struct mrt_stack* stack, int fd, int command, int argument);
/* SIOCINQ (FIONREAD), SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK, FIONBIO. EINVAL on a listener, ENOTTY for
 * others. */
MRT_API int mrt_ioctl(struct mrt_stack* stack, int fd, unsigned long request, int* value);
/* `timeout_ms` of the stack's clock; -1: for ever. */
MRT_API int mrt_poll(struct mrt_stack* stack, struct pollfd* fds, nfds_t count, int timeout_ms);

#ifdef __cplusplus
}
#endif
