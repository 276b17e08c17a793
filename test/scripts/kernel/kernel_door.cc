// SPDX-License-Identifier: MIT
// The functions of millrace_testing.h over the kernel's own stack, in a network namespace of the
// process and behind a TUN device, in real time: the same script runner, linked against this file,
// shows whether what the scripts say of Linux is so. Needs root. The namespace and its device end
// with the process.
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "testing/millrace_testing.h"

namespace {

// What is not expected has this long to come; and it is long enough that a sender does not wait for
// more to send at once (TSO deferral: within a millisecond of its last segment).
constexpr int64_t kSettleNs = 1'200'000;

int64_t clock_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

struct Sent {
  std::vector<uint8_t> bytes;
  int64_t at_ns;
};

bool shell(const std::string& command) {
  return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

// What a host says by itself on a new link: neighbour discovery, MLD, IGMP.
bool chatter(const std::vector<uint8_t>& p) {
  if (p.size() < 40) return false;
  if (p[0] >> 4 == 4) return p[9] == 2;
  if (p[6] == 0) return true;  // MLD, behind hop-by-hop options
  return p[6] == 58 && p.size() > 40 && p[40] >= 130 && p[40] <= 143;
}

}  // namespace

struct mrt_stack {
  int tun = -1;
  std::deque<Sent> sent;
  std::vector<int> open;

  void collect(int64_t until_ns) {
    while (true) {
      const int64_t left = until_ns - clock_ns();
      pollfd p{tun, POLLIN, 0};
      const timespec wait{std::max<int64_t>(left, 0) / 1'000'000'000,
                          std::max<int64_t>(left, 0) % 1'000'000'000};
      if (ppoll(&p, 1, &wait, nullptr) <= 0) return;
      std::vector<uint8_t> packet(65536);
      const ssize_t n = read(tun, packet.data(), packet.size());
      if (n <= 0) return;
      packet.resize(size_t(n));
      if (chatter(packet)) continue;
      sent.push_back({std::move(packet), clock_ns()});
      until_ns = 0;  // and what else is there now
    }
  }
};

void mrt_options_init(mrt_options* options) {
  *options = {};
  options->size = sizeof *options;
  options->mtu_bytes = 1500;
}

mrt_stack* mrt_create(const mrt_options* options) {
  if (unshare(CLONE_NEWNET) != 0) return nullptr;
  auto stack = std::make_unique<mrt_stack>();
  stack->tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  ifreq request{};
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  std::strcpy(request.ifr_name, "mrt0");
  if (stack->tun < 0 || ioctl(stack->tun, TUNSETIFF, &request) != 0) return nullptr;
  const std::string mtu = std::to_string(options->mtu_bytes);
  if (!shell("ip link set lo up; ip link set mrt0 mtu " + mtu + " up")) return nullptr;
  const int ecn = options->ecn == MRT_ECN_ON ? 1 : options->ecn == MRT_ECN_OFF ? 0 : 2;
  if (!shell("sysctl -w net.ipv4.tcp_ecn=" + std::to_string(ecn))) return nullptr;
  const std::string probing = std::to_string(options->mtu_probing);
  if (!shell("sysctl -w net.ipv4.tcp_mtu_probing=" + probing)) return nullptr;
  return stack.release();
}

unsigned mrt_destroy(mrt_stack* stack) {
  for (int fd : stack->open) close(fd);
  close(stack->tun);
  delete stack;
  return 0;
}

int mrt_address_add(mrt_stack*, const char* address) {
  return shell("ip addr add " + std::string(address) + " dev mrt0 " +
               (std::strchr(address, ':') ? "nodad" : ""))
             ? 0
             : -1;
}
int mrt_route_add(mrt_stack*, const char* prefix, const char*, uint32_t) {
  const char* family = std::strchr(prefix, ':') ? "-6 " : "";
  return shell("ip " + std::string(family) + "route add " + prefix + " dev mrt0") ? 0 : -1;
}
int mrt_link_set(mrt_stack*, uint32_t mtu_bytes, int up) {
  return shell("ip link set mrt0 mtu " + std::to_string(mtu_bytes) + (up ? " up" : " down")) ? 0
                                                                                             : -1;
}
int mrt_packet_in(mrt_stack* stack, const void* packet, size_t length) {
  // The device itself refuses what is no IP packet at all: as good as dropped.
  (void)!write(stack->tun, packet, length);
  return 0;
}
size_t mrt_packet_out(mrt_stack* stack, void* buffer, size_t capacity, int64_t* time_ns) {
  if (stack->sent.empty()) return 0;
  const Sent packet = std::move(stack->sent.front());
  stack->sent.pop_front();
  std::memcpy(buffer, packet.bytes.data(), std::min(capacity, packet.bytes.size()));
  if (time_ns) *time_ns = packet.at_ns;
  return packet.bytes.size();
}
size_t mrt_packets_waiting(const mrt_stack* stack) {
  return stack->sent.size();
}
int64_t mrt_now(const mrt_stack*) {
  return clock_ns();
}
int mrt_advance(mrt_stack* stack, int64_t time_ns) {
  stack->collect(time_ns);
  return 0;
}
int64_t mrt_advance_until_event(mrt_stack* stack, int64_t time_ns) {
  if (stack->sent.empty()) stack->collect(std::max(time_ns, clock_ns() + kSettleNs));
  return clock_ns();
}
int64_t mrt_next_timer(const mrt_stack*) {
  return MRT_NEVER;  // nobody can say
}
int mrt_socket(mrt_stack* stack, int domain, int type, int protocol) {
  const int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
  if (fd < 0) return fd;
  stack->open.push_back(fd);
  if ((type & 15) == SOCK_STREAM) {
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
  }
  return fd;
}
int mrt_bind(mrt_stack*, int fd, const sockaddr* address, socklen_t length) {
  return bind(fd, address, length);
}
int mrt_listen(mrt_stack*, int fd, int backlog) {
  return listen(fd, backlog);
}
int mrt_accept4(mrt_stack* stack, int fd, sockaddr* address, socklen_t* length, int flags) {
  const int accepted = accept4(fd, address, length, flags | SOCK_CLOEXEC);
  if (accepted >= 0) stack->open.push_back(accepted);
  return accepted;
}
int mrt_connect(mrt_stack*, int fd, const sockaddr* address, socklen_t length) {
  return connect(fd, address, length);
}
int mrt_getsockname(mrt_stack*, int fd, sockaddr* address, socklen_t* length) {
  return getsockname(fd, address, length);
}
ssize_t mrt_recv(mrt_stack*, int fd, void* buffer, size_t length, int flags) {
  return recv(fd, buffer, length, flags);
}
ssize_t mrt_send(mrt_stack*, int fd, const void* buffer, size_t length, int flags) {
  return send(fd, buffer, length, flags | MSG_NOSIGNAL);
}
ssize_t mrt_sendto(mrt_stack*, int fd, const void* buffer, size_t length, int flags,
                   const sockaddr* address, socklen_t address_length) {
  return sendto(fd, buffer, length, flags | MSG_NOSIGNAL, address, address_length);
}
int mrt_shutdown(mrt_stack*, int fd, int how) {
  return shutdown(fd, how);
}
int mrt_close(mrt_stack* stack, int fd) {
  std::erase(stack->open, fd);
  return close(fd);
}
int mrt_getsockopt(mrt_stack*, int fd, int level, int name, void* value, socklen_t* length) {
  return getsockopt(fd, level, name, value, length);
}
int mrt_setsockopt(mrt_stack*, int fd, int level, int name, const void* value, socklen_t length) {
  return setsockopt(fd, level, name, value, length);
}
int mrt_fcntl(mrt_stack*, int fd, int command, int argument) {
  return fcntl(fd, command, argument);
}
int mrt_neighbor_set(mrt_stack*, const char*, int) {
  errno = EOPNOTSUPP;  // a TUN device has none
  return -1;
}
int mrt_ioctl(mrt_stack*, int fd, unsigned long request, int* value) {
  return ioctl(fd, request, value);
}
int mrt_sysctl(mrt_stack*, const char* name, const char* value) {
  const int file = open((std::string("/proc/sys/net/ipv4/") + name).c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return -1;
  const ssize_t n = write(file, value, strlen(value));
  close(file);
  return n < 0 ? -1 : 0;
}
int mrt_poll(mrt_stack*, pollfd* fds, nfds_t count, int timeout_ms) {
  return poll(fds, count, timeout_ms);
}
