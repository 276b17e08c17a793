// SPDX-License-Identifier: MIT
#include "steer/sharing.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>

#include "base/clock_os.h"
#include "base/close_fd.h"
#include "steer/member_name.h"
#include "steer/xdp_abi.h"

namespace millrace::steer {
namespace {

constexpr Duration kAskAgain = Duration::millis(50);
constexpr Duration kLookEvery = Duration::millis(1000);

int open_socket(int flags) {
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | flags, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
  return fd;
}

}  // namespace

struct Sharing::Message {
  char magic[8];
  Kind kind;
  uint32_t native;
  uint32_t queues_wanted;
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

std::unique_ptr<Sharing> Sharing::claim(uint32_t ifindex, uint32_t queues_wanted,
                                        SetupError& error) {
  for (unsigned member = 1; member <= MR_MEMBERS_MAX; ++member) {
    int control = open_socket(0);
    if (control < 0) {
      error.set(errno, "cannot open a Unix socket: %s", std::strerror(errno));
      return nullptr;
    }
    const MemberName name = talk_name(ifindex, uint8_t(member));
    if (bind(control, name.get(), name.bytes) != 0) {
      ::close(control);
      continue;
    }
    auto inbox = FrameInbox::open(ifindex, uint8_t(member));
    if (inbox) {
      auto* sharing = new (std::nothrow)
          Sharing(ifindex, queues_wanted, uint8_t(member), control, std::move(inbox));
      if (sharing) return std::unique_ptr<Sharing>(sharing);
    }
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
  message.queues_wanted = queues_wanted_;
  MemberName name = talk_name(ifindex_, member);
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

// As many as there is room for; a sender may have put more into the message.
void Sharing::take_descriptors(const cmsghdr& message, Received& out) {
  const size_t sent = (message.cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (size_t i = 0; i < sent; ++i) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(&message) + i * sizeof(int), sizeof(fd));
    if (out.count < out.descriptors.size()) {
      out.descriptors[out.count++] = fd;
    } else {
      ::close(fd);
    }
  }
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
      take_descriptors(*c, out);
    } else if (c->cmsg_type == SCM_CREDENTIALS) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(c), sizeof(sender));
      out.trusted = is_trusted(sender.uid);
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

void Sharing::serve(const Handout& handout, Observer& observer) {
  handout_ = handout;
  observer_ = &observer;
  serving_ = true;
  next_look_ = monotonic_now() + kLookEvery;
  // Signals are the program's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Sleeps for as long as nobody else is there.
void Sharing::run() {
  Received got;
  while (!stopping_) {
    const Instant now = monotonic_now();
    if (look_round_soon_.exchange(false)) next_look_ = std::min(next_look_, now + kLookEvery);
    if (now >= next_look_) {
      observer_->look_round();
      next_look_ = anyone_else() ? now + kLookEvery : Instant::never();
      continue;
    }
    const int64_t wait_ms = (next_look_ - now).ns / 1'000'000 + 1;
    pollfd p{control_, POLLIN, 0};
    if (poll(&p, 1, next_look_.is_never() ? -1 : int(wait_ms)) <= 0) continue;
    if (receive(got, MSG_DONTWAIT) && !stopping_) take_in(got);
  }
}

void Sharing::take_in(Received& got) {
  got.drop();
  const bool newcomer = got.from != 0 && got.from != member_ && got.trusted &&
                        got.message.kind == Kind::kHello && got.same_program();
  if (newcomer) {
    observer_->newcomer(got.message.queues_wanted);
    next_look_ = monotonic_now() + kLookEvery;
  }
  answer(got);
}

void Sharing::ask_for_queues() const {
  for (unsigned m = 1; m <= MR_MEMBERS_MAX; ++m) {
    if (m != member_) static_cast<void>(say(uint8_t(m), Kind::kHello));
  }
}

// A message to ourselves wakes the thread.
void Sharing::look_round_soon() {
  look_round_soon_ = true;
  static_cast<void>(say(member_, Kind::kStarting));
}

bool Sharing::is_alive(uint8_t member) const {
  const int fd = open_socket(SOCK_NONBLOCK);
  if (fd < 0) return true;
  const MemberName name = talk_name(ifindex_, member);
  const bool there = connect(fd, name.get(), name.bytes) == 0;
  ::close(fd);
  return there;
}

bool Sharing::anyone_else() const {
  for (unsigned m = 1; m <= MR_MEMBERS_MAX; ++m) {
    if (m != member_ && is_alive(uint8_t(m))) return true;
  }
  return false;
}

bool Sharing::is_first() const {
  for (unsigned m = 1; m < member_; ++m) {
    if (is_alive(uint8_t(m))) return false;
  }
  return true;
}

int Sharing::take_name(uint8_t member) const {
  int fd = open_socket(0);
  const MemberName name = talk_name(ifindex_, member);
  if (fd >= 0 && bind(fd, name.get(), name.bytes) != 0) close_fd(fd);
  return fd;
}

void Sharing::give_name(int name) const {
  ::close(name);
}

void Sharing::close() {
  if (control_ < 0) return;
  stopping_ = true;
  shutdown(control_, SHUT_RDWR);
  if (thread_.joinable()) thread_.join();
  close_fd(control_);
}

}  // namespace millrace::steer
