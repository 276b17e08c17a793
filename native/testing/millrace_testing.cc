// SPDX-License-Identifier: MIT
// The C functions: arguments checked for null, results turned into -1 and errno.
#include "testing/millrace_testing.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "testing/door.h"

using millrace::Instant;
using millrace::testing::Door;

struct mrt_stack {
  explicit mrt_stack(const mrt_options& options) : door(options, this) {}
  Door door;
};

namespace {

int result(int value) {
  if (value >= 0) return value;
  errno = -value;
  return -1;
}

ssize_t long_result(ssize_t value) {
  if (value >= 0) return value;
  errno = int(-value);
  return -1;
}

iovec part(const void* buffer, size_t length) {
  return {const_cast<void*>(buffer), length};
}

bool valid(const mrt_options& o) {
  return o.start_ns >= 1 && o.start_ns < INT64_MAX / 2 && o.mtu_bytes >= 68 &&
         o.mtu_bytes <= 65000 && o.frames >= 64 && o.frames <= 1u << 20 && o.connections_max >= 1 &&
         o.connections_max <= 1u << 20 &&
         (o.defaults == MRT_DEFAULTS_LINUX || o.defaults == MRT_DEFAULTS_RFC) &&
         (o.ecn == MRT_ECN_PASSIVE || o.ecn == MRT_ECN_ON || o.ecn == MRT_ECN_OFF) &&
         o.mtu_probing >= 0 && o.mtu_probing <= 2;
}

// A caller built against an older header gives a shorter struct: the rest are defaults.
bool read_options(const mrt_options* given, mrt_options& out) {
  mrt_options_init(&out);
  if (!given) return true;
  if (given->size < sizeof given->size || given->size > sizeof out) return false;
  std::memcpy(&out, given, given->size);
  return valid(out);
}

constexpr int kTcpCmInq = 36;  // TCP_CM_INQ

// The one control message there is: what is left to read.
void put_queue_hint(msghdr& message, int hint, int& flags) {
  const size_t room = message.msg_control ? message.msg_controllen : 0;
  message.msg_controllen = 0;
  if (hint < 0) return;
  if (room < CMSG_LEN(sizeof hint)) {
    flags |= MSG_CTRUNC;
    return;
  }
  cmsghdr* header = static_cast<cmsghdr*>(message.msg_control);
  header->cmsg_level = IPPROTO_TCP;
  header->cmsg_type = kTcpCmInq;
  header->cmsg_len = CMSG_LEN(sizeof hint);
  std::memcpy(CMSG_DATA(header), &hint, sizeof hint);
  message.msg_controllen = std::min(room, CMSG_SPACE(sizeof hint));
}

constexpr nfds_t kPollMax = 65536;
constexpr int kPartsMax = 1024;  // IOV_MAX

}  // namespace

void mrt_options_init(mrt_options* options) {
  *options = {};
  options->size = sizeof *options;
  options->seed = 1;
  options->start_ns = 1'000'000'000;
  options->mtu_bytes = 1500;
  options->frames = 8192;
  options->connections_max = 4096;
}

mrt_stack* mrt_create(const mrt_options* options) {
  mrt_options read;
  if (!read_options(options, read)) {
    errno = EINVAL;
    return nullptr;
  }
  return std::make_unique<mrt_stack>(read).release();
}

unsigned mrt_destroy(mrt_stack* stack) {
  if (!stack) return 0;
  const std::unique_ptr<mrt_stack> owner(stack);
  return owner->door.close_all();
}

int mrt_address_add(mrt_stack* stack, const char* address) {
  return result(stack->door.address_change(address, true));
}

int mrt_address_remove(mrt_stack* stack, const char* address) {
  return result(stack->door.address_change(address, false));
}

int mrt_route_add(mrt_stack* stack, const char* prefix, const char* gateway, uint32_t mtu_bytes) {
  return result(stack->door.route_change(prefix, gateway, mtu_bytes, true));
}

int mrt_route_remove(mrt_stack* stack, const char* prefix) {
  return result(stack->door.route_change(prefix, nullptr, 0, false));
}

int mrt_link_set(mrt_stack* stack, uint32_t mtu_bytes, int up) {
  return result(stack->door.link_set(mtu_bytes, up != 0));
}

int mrt_neighbor_set(mrt_stack* stack, const char* address, int answers) {
  return result(stack->door.neighbor_set(address, answers != 0));
}

int mrt_packet_in(mrt_stack* stack, const void* packet, size_t length) {
  if (!packet && length > 0) return result(-EFAULT);
  return result(stack->door.packet_in({static_cast<const uint8_t*>(packet), length}));
}

size_t mrt_packet_out(mrt_stack* stack, void* buffer, size_t capacity, int64_t* time_ns) {
  return stack->door.packet_out({static_cast<uint8_t*>(buffer), buffer ? capacity : 0}, time_ns);
}

size_t mrt_packets_waiting(const mrt_stack* stack) {
  return stack->door.packets_waiting();
}

int64_t mrt_now(const mrt_stack* stack) {
  return stack->door.now().ns;
}

int mrt_advance(mrt_stack* stack, int64_t time_ns) {
  return result(time_ns == MRT_NEVER ? -EINVAL : stack->door.advance({time_ns}));
}

int64_t mrt_advance_until_event(mrt_stack* stack, int64_t time_ns) {
  stack->door.advance_until_event({time_ns});
  return stack->door.now().ns;
}

int64_t mrt_next_timer(const mrt_stack* stack) {
  return stack->door.next_timer().ns;
}

int mrt_wait_for_timers(void*, mrt_stack* stack, int64_t deadline_ns) {
  const int64_t next = mrt_next_timer(stack);
  if (next == MRT_NEVER && deadline_ns == MRT_NEVER) return -1;
  return mrt_advance(stack, std::min(next, deadline_ns));
}

int mrt_socket(mrt_stack* stack, int domain, int type, int protocol) {
  return result(stack->door.socket(domain, type, protocol));
}

int mrt_bind(mrt_stack* stack, int fd, const sockaddr* address, socklen_t length) {
  return result(stack->door.bind(fd, address, length));
}

int mrt_listen(mrt_stack* stack, int fd, int backlog) {
  return result(stack->door.listen(fd, backlog));
}

int mrt_accept(mrt_stack* stack, int fd, sockaddr* address, socklen_t* length) {
  return result(stack->door.accept(fd, address, length, 0));
}

int mrt_accept4(mrt_stack* stack, int fd, sockaddr* address, socklen_t* length, int flags) {
  return result(stack->door.accept(fd, address, length, flags));
}

int mrt_connect(mrt_stack* stack, int fd, const sockaddr* address, socklen_t length) {
  return result(stack->door.connect(fd, address, length));
}

int mrt_getsockname(mrt_stack* stack, int fd, sockaddr* address, socklen_t* length) {
  return result(stack->door.name(fd, false, address, length));
}

int mrt_getpeername(mrt_stack* stack, int fd, sockaddr* address, socklen_t* length) {
  return result(stack->door.name(fd, true, address, length));
}

ssize_t mrt_read(mrt_stack* stack, int fd, void* buffer, size_t length) {
  return mrt_recv(stack, fd, buffer, length, 0);
}

ssize_t mrt_write(mrt_stack* stack, int fd, const void* buffer, size_t length) {
  return mrt_send(stack, fd, buffer, length, 0);
}

ssize_t mrt_readv(mrt_stack* stack, int fd, const iovec* parts, int count) {
  if (count < 0 || count > kPartsMax) return result(-EINVAL);
  int flags = 0;
  return long_result(stack->door.receive(fd, {parts, size_t(count)}, flags, nullptr, nullptr));
}

ssize_t mrt_writev(mrt_stack* stack, int fd, const iovec* parts, int count) {
  if (count < 0 || count > kPartsMax) return result(-EINVAL);
  return long_result(stack->door.send(fd, {parts, size_t(count)}, 0, nullptr, 0));
}

ssize_t mrt_recv(mrt_stack* stack, int fd, void* buffer, size_t length, int flags) {
  return mrt_recvfrom(stack, fd, buffer, length, flags, nullptr, nullptr);
}

ssize_t mrt_send(mrt_stack* stack, int fd, const void* buffer, size_t length, int flags) {
  return mrt_sendto(stack, fd, buffer, length, flags, nullptr, 0);
}

ssize_t mrt_sendto(mrt_stack* stack, int fd, const void* buffer, size_t length, int flags,
                   const sockaddr* address, socklen_t address_length) {
  if (!buffer && length > 0) return result(-EFAULT);
  const iovec one = part(buffer, length);
  return long_result(stack->door.send(fd, {&one, 1}, flags, address, address_length));
}

ssize_t mrt_recvfrom(mrt_stack* stack, int fd, void* buffer, size_t length, int flags,
                     sockaddr* address, socklen_t* address_length) {
  if (!buffer && length > 0) return result(-EFAULT);
  const iovec one = part(buffer, length);
  return long_result(stack->door.receive(fd, {&one, 1}, flags, address, address_length));
}

ssize_t mrt_sendmsg(mrt_stack* stack, int fd, const msghdr* message, int flags) {
  if (!message) return result(-EFAULT);
  if (message->msg_iovlen > kPartsMax) return result(-EMSGSIZE);
  return long_result(stack->door.send(fd, {message->msg_iov, message->msg_iovlen}, flags,
                                      static_cast<const sockaddr*>(message->msg_name),
                                      message->msg_namelen));
}

ssize_t mrt_recvmsg(mrt_stack* stack, int fd, msghdr* message, int flags) {
  if (!message) return result(-EFAULT);
  if (message->msg_iovlen > kPartsMax) return result(-EMSGSIZE);
  socklen_t length = message->msg_namelen;
  const ssize_t n = stack->door.receive(fd, {message->msg_iov, message->msg_iovlen}, flags,
                                        static_cast<sockaddr*>(message->msg_name), &length);
  if (n < 0) return long_result(n);
  message->msg_namelen = message->msg_name ? length : 0;
  put_queue_hint(*message, stack->door.queue_hint(fd), flags);
  message->msg_flags = flags;
  return n;
}

int mrt_shutdown(mrt_stack* stack, int fd, int how) {
  return result(stack->door.shutdown(fd, how));
}

int mrt_close(mrt_stack* stack, int fd) {
  return result(stack->door.close(fd));
}

int mrt_getsockopt(mrt_stack* stack, int fd, int level, int name, void* value, socklen_t* length) {
  return result(stack->door.get_option(fd, level, name, value, length));
}

int mrt_setsockopt(mrt_stack* stack, int fd, int level, int name, const void* value,
                   socklen_t length) {
  return result(stack->door.set_option(fd, level, name, value, length));
}

int mrt_fcntl(mrt_stack* stack, int fd, int command, int argument) {
  return result(stack->door.control(fd, command, argument));
}

int mrt_ioctl(mrt_stack* stack, int fd, unsigned long request, int* value) {
  return result(stack->door.io_control(fd, request, value));
}

int mrt_sysctl(mrt_stack* stack, const char* name, const char* value) {
  if (!name || !value) return result(-EFAULT);
  return result(stack->door.set_default(name, value));
}

int mrt_poll(mrt_stack* stack, pollfd* fds, nfds_t count, int timeout_ms) {
  if (count > kPollMax) return result(-EINVAL);
  if (!fds && count > 0) return result(-EFAULT);
  return result(stack->door.poll({fds, size_t(count)}, timeout_ms));
}
