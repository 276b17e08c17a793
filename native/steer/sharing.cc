// SPDX-License-Identifier: MIT
#include "steer/sharing.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/clock_os.h"
#include "steer/xdp_abi.h"

namespace millrace::steer {
namespace {

constexpr Duration kAskAgain = Duration::millis(50);

struct Name {
  sockaddr_un address{};
  socklen_t bytes = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }
};

// "@millrace/<ifindex>/<member>", with "/frames" for the second socket.
Name name_of(uint32_t ifindex, uint8_t member, bool frames) {
  Name name;
  name.address.sun_family = AF_UNIX;
  char* path = name.address.sun_path + 1;
  const int n = std::snprintf(path, sizeof(name.address.sun_path) - 1, "millrace/%u/%u%s", ifindex,
                              unsigned(member), frames ? "/frames" : "");
  name.bytes = socklen_t(offsetof(sockaddr_un, sun_path) + 1 + size_t(n));
  return name;
}

// The member that has a name; 0: it is no member's.
uint8_t member_of(const sockaddr_un& address, socklen_t bytes) {
  char text[sizeof(address.sun_path)] = "";
  const size_t skip = offsetof(sockaddr_un, sun_path) + 1;
  if (bytes <= skip || address.sun_path[0] != '\0') return 0;
  std::memcpy(text, address.sun_path + 1, bytes - skip);
  unsigned ifindex = 0, member = 0;
  int end = 0;
  if (std::sscanf(text, "millrace/%u/%u%n", &ifindex, &member, &end) != 2) return 0;
  if (text[end] != '\0' || member == 0 || member > MR_MEMBERS_MAX) return 0;
  return uint8_t(member);
}

int open_socket(int flags) {
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
  return fd;
}

bool trusted(uid_t uid) {
  return uid == 0 || uid == geteuid();
}

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
}

}  // namespace

struct Sharing::Message {
  char magic[8];
  Kind kind;
  uint32_t native;
  char source[sizeof(kXdpSource)];
};

// A message, who sent it, and the descriptors that came with it.
struct Sharing::Received {
  Message message{};
  uint8_t from = 0;
  bool trusted = false;
  size_t count = 0;
  std::array<int, kXdpMaps + 1> descriptors{};
  bool same_program() const {
    return std::memcmp(message.source, kXdpSource, sizeof(kXdpSource)) == 0;
  }
  void drop() {
    for (size_t i = 0; i < count; ++i) close_fd(descriptors[i]);
    count = 0;
  }
};

namespace {
constexpr char kMagic[8] = {'m', 'i', 'l', 'l', 'r', 'a', 'c', 'e'};
}  // namespace

std::unique_ptr<Sharing> Sharing::claim(uint32_t ifindex, SetupError& error) {
  for (unsigned member = 1; member <= MR_MEMBERS_MAX; ++member) {
    int control = open_socket(0);
    if (control < 0) {
      error.set(errno, "cannot open a Unix socket: %s", std::strerror(errno));
      return nullptr;
    }
    const Name name = name_of(ifindex, uint8_t(member), false);
    if (bind(control, name.get(), name.bytes) != 0) {
      ::close(control);
      continue;
    }
    int frames = open_socket(SOCK_NONBLOCK);
    const Name second = name_of(ifindex, uint8_t(member), true);
    if (frames >= 0 && bind(frames, second.get(), second.bytes) == 0) {
      auto* sharing = new (std::nothrow) Sharing(ifindex, uint8_t(member), control, frames);
      if (sharing) return std::unique_ptr<Sharing>(sharing);
    }
    close_fd(frames);
    ::close(control);
  }
  error.set(EBUSY, "%d stacks share the interface already", MR_MEMBERS_MAX);
  return nullptr;
}

// --- messages

Error Sharing::say(uint8_t member, Kind kind) const {
  Message message{};
  std::memcpy(message.magic, kMagic, sizeof(kMagic));
  std::memcpy(message.source, kXdpSource, sizeof(kXdpSource));
  message.kind = kind;
  message.native = handout_.native;
  Name name = name_of(ifindex_, member, false);
  iovec part{&message, sizeof(message)};
  msghdr header{};
  header.msg_name = &name.address;
  header.msg_namelen = name.bytes;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(handout_.descriptors))] = {};
  if (kind == Kind::kHandout) {
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(handout_.descriptors));
    std::memcpy(CMSG_DATA(rights), handout_.descriptors.data(), sizeof(handout_.descriptors));
  }
  return sendmsg(control_, &header, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? Error{errno} : kOk;
}

// False: nothing is there. A message that makes no sense has no sender.
bool Sharing::receive(Received& out, int flags) const {
  out = Received{};
  sockaddr_un from{};
  iovec part{&out.message, sizeof(out.message)};
  alignas(
      cmsghdr) char control[CMSG_SPACE(sizeof(out.descriptors)) + CMSG_SPACE(sizeof(ucred))] = {};
  msghdr header{};
  header.msg_name = &from;
  header.msg_namelen = sizeof(from);
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  const ssize_t n = recvmsg(control_, &header, flags | MSG_CMSG_CLOEXEC);
  if (n < 0) return false;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_RIGHTS) {
      out.count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      std::memcpy(out.descriptors.data(), CMSG_DATA(c), out.count * sizeof(int));
    } else if (c->cmsg_type == SCM_CREDENTIALS) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(c), sizeof(sender));
      out.trusted = trusted(sender.uid);
    }
  }
  if (size_t(n) == sizeof(out.message) && std::memcmp(out.message.magic, kMagic, 8) == 0) {
    out.from = member_of(from, header.msg_namelen);
  }
  return true;
}

void Sharing::answer(const Received& question) const {
  if (question.from == 0 || question.message.kind != Kind::kHello) return;
  const Kind kind = !question.trusted || !question.same_program() ? Kind::kRefused
                    : serving_                                    ? Kind::kHandout
                                                                  : Kind::kStarting;
  static_cast<void>(say(question.from, kind));
}

// --- finding the others

Sharing::Found Sharing::find(Handout& out, Duration patience, SetupError& error) {
  const Instant give_up = monotonic_now() + patience;
  for (;;) {
    bool asked[MR_MEMBERS_MAX + 1] = {};
    int silent = 0;
    bool wait = false;
    for (unsigned m = 1; m <= MR_MEMBERS_MAX; ++m) {
      if (m == member_ || say(uint8_t(m), Kind::kHello)) continue;
      asked[m] = true;
      ++silent;
    }
    const Instant round_ends = monotonic_now() + kAskAgain;
    while (silent > 0 && monotonic_now() < round_ends) {
      pollfd p{control_, POLLIN, 0};
      if (poll(&p, 1, 10) <= 0) continue;
      Received got;
      if (!receive(got, MSG_DONTWAIT)) continue;
      const Kind kind = got.message.kind;
      const bool handed = kind == Kind::kHandout && got.from != 0 && got.trusted &&
                          got.count == out.descriptors.size() && got.same_program();
      if (handed) {
        out.descriptors = got.descriptors;
        out.native = got.message.native != 0;
        return Found::kOthers;
      }
      got.drop();
      answer(got);
      if (got.from == 0 || !asked[got.from] || kind == Kind::kHello) continue;
      if (kind == Kind::kRefused) {
        error.set(EBUSY, got.same_program()
                             ? "another user's millrace is on the interface already"
                             : "another version of millrace is on the interface already");
        return Found::kFailed;
      }
      asked[got.from] = false;
      --silent;
      wait |= got.from < member_;
    }
    // Whoever is there and says nothing is asked again.
    if (silent == 0 && !wait) return Found::kNobody;
    if (monotonic_now() >= give_up) return Found::kNobody;
    if (silent == 0) {
      const timespec pause{0, 5'000'000};
      nanosleep(&pause, nullptr);
    }
  }
}

// --- serving

void Sharing::serve(const Handout& handout) {
  handout_ = handout;
  serving_ = true;
  // Signals are the program's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Sharing::run() {
  Received got;
  while (receive(got, 0) && !stopping_) {
    got.drop();
    answer(got);
  }
  got.drop();
}

bool Sharing::anyone_else() const {
  for (unsigned m = 1; m <= MR_MEMBERS_MAX; ++m) {
    if (m == member_) continue;
    const int fd = open_socket(SOCK_NONBLOCK);
    if (fd < 0) return true;
    const Name name = name_of(ifindex_, uint8_t(m), true);
    const bool there = connect(fd, name.get(), name.bytes) == 0;
    ::close(fd);
    if (there) return true;
  }
  return false;
}

void Sharing::close() {
  if (control_ < 0) return;
  stopping_ = true;
  shutdown(control_, SHUT_RDWR);
  if (thread_.joinable()) thread_.join();
  close_fd(control_);
  close_fd(frames_);
}

// --- frames

Error Sharing::send(uint8_t member, std::span<const uint8_t> frame) const {
  const Name name = name_of(ifindex_, member, true);
  const ssize_t n = sendto(frames_, frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                           name.get(), name.bytes);
  return n < 0 ? Error{errno} : kOk;
}

uint32_t receive_shared_frame(int frames_fd, std::span<uint8_t> out) {
  for (;;) {
    iovec part{out.data(), out.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))] = {};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    const ssize_t n = recvmsg(frames_fd, &header, MSG_DONTWAIT);
    if (n < 0) return 0;
    const cmsghdr* c = CMSG_FIRSTHDR(&header);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS) continue;
    ucred sender;
    std::memcpy(&sender, CMSG_DATA(c), sizeof(sender));
    if (trusted(sender.uid) && !(header.msg_flags & MSG_TRUNC) && n > 0) return uint32_t(n);
  }
}

}  // namespace millrace::steer
