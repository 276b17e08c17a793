// SPDX-License-Identifier: MIT
#include "control/desk.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstring>

#include "base/clock_os.h"
#include "base/close_fd.h"

namespace millrace::control {
namespace {

constexpr int kDesksMax = 256;
constexpr int kThrownAwayMax = 8;
constexpr size_t kAnswerBytesMax = 64u << 20;
constexpr char kQuestion[] = "flows";

struct Name {
  sockaddr_un address{};
  socklen_t bytes = 0;
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&address); }
};

bool make_name(const std::string& text, Name& name) {
  if (text.size() + 1 > sizeof(name.address.sun_path)) return false;
  name.address.sun_family = AF_UNIX;
  std::memcpy(name.address.sun_path + 1, text.data(), text.size());
  name.bytes = socklen_t(offsetof(sockaddr_un, sun_path) + 1 + text.size());
  return true;
}

int open_socket() {
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const int on = 1;
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
  return fd;
}

// A datagram, who sent it, and the descriptor that came with it.
struct Received {
  char text[16] = "";
  ssize_t bytes = -1;
  Name from;
  uid_t uid = uid_t(-1);
  int fd = -1;
};

Received receive(int fd) {
  Received out;
  iovec part{out.text, sizeof(out.text)};
  // Room for one descriptor; the kernel closes what does not fit.
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(ucred))] = {};
  msghdr header{};
  header.msg_name = &out.from.address;
  header.msg_namelen = sizeof(out.from.address);
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  out.bytes = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (out.bytes < 0) return out;
  out.from.bytes = header.msg_namelen;
  for (cmsghdr* c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_CREDENTIALS) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(c), sizeof(sender));
      out.uid = sender.uid;
    } else if (c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int))) {
      std::memcpy(&out.fd, CMSG_DATA(c), sizeof(out.fd));
    }
  }
  return out;
}

void send_file(int fd, Name& to, int file) {
  char word[] = "answer";
  iovec part{word, sizeof(word)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};
  header.msg_name = &to.address;
  header.msg_namelen = to.bytes;
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(rights), &file, sizeof(file));
  // Who does not take the answer has it not.
  static_cast<void>(sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL));
}

bool write_all(int fd, const std::string& text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t n = write(fd, text.data() + at, text.size() - at);
    if (n <= 0) return false;
    at += size_t(n);
  }
  return true;
}

Error read_all(int fd, std::string& out) {
  struct stat facts;
  if (fstat(fd, &facts) != 0) return {errno};
  if (!S_ISREG(facts.st_mode) || size_t(facts.st_size) > kAnswerBytesMax) return {EBADMSG};
  out.resize(size_t(facts.st_size));
  size_t at = 0;
  while (at < out.size()) {
    const ssize_t n = pread(fd, out.data() + at, out.size() - at, off_t(at));
    if (n <= 0) return {n < 0 ? errno : EBADMSG};
    at += size_t(n);
  }
  return kOk;
}

}  // namespace

Error Desk::open() {
  const int fd = open_socket();
  if (fd < 0) return {errno};
  for (int number = 1; number <= kDesksMax; ++number) {
    Name name;
    make_name("millrace/flows/" + std::to_string(getpid()) + "/" + std::to_string(number), name);
    if (bind(fd, name.get(), name.bytes) == 0) {
      fd_ = fd;
      return kOk;
    }
  }
  ::close(fd);
  return {EADDRINUSE};
}

void Desk::on_readable(const std::function<std::string()>& text) {
  if (fd_ < 0) return;
  for (int i = 0; i < kThrownAwayMax; ++i) {
    Received question = receive(fd_);
    if (question.bytes < 0) return;
    if (question.fd >= 0) ::close(question.fd);
    const bool trusted = question.uid == 0 || question.uid == geteuid();
    const bool named = question.from.bytes > offsetof(sockaddr_un, sun_path);
    const bool known = question.bytes == sizeof(kQuestion) &&
                       std::memcmp(question.text, kQuestion, sizeof(kQuestion)) == 0;
    if (!trusted || !named || !known) continue;
    const int file = memfd_create("millrace-flows", MFD_CLOEXEC);
    if (file < 0) return;
    if (write_all(file, text())) send_file(fd_, question.from, file);
    ::close(file);
    return;
  }
}

void Desk::close() {
  close_fd(fd_);
}

Error ask_desk(const std::string& text, Duration patience, std::string& out) {
  Name name;
  if (!make_name(text, name)) return {EINVAL};
  const int fd = open_socket();
  if (fd < 0) return {errno};
  // A name that the kernel chooses, for the answer to come back to.
  sockaddr_un any{};
  any.sun_family = AF_UNIX;
  Error error = kOk;
  if (bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(sa_family_t)) != 0 ||
      connect(fd, name.get(), name.bytes) != 0 ||
      send(fd, kQuestion, sizeof(kQuestion), MSG_NOSIGNAL) < 0) {
    error = {errno == EAGAIN ? ETIMEDOUT : errno};
  }
  const Instant give_up = monotonic_now() + patience;
  while (!error) {
    const int64_t left_ms = (give_up - monotonic_now()).millis() + 1;
    pollfd p{fd, POLLIN, 0};
    if (left_ms <= 0 || poll(&p, 1, int(left_ms)) == 0) {
      error = {ETIMEDOUT};
      break;
    }
    Received answer = receive(fd);
    if (answer.bytes < 0) {
      if (errno != EAGAIN && errno != EINTR) error = {errno};
      continue;
    }
    if (answer.fd < 0) continue;
    const bool trusted = answer.uid == 0 || answer.uid == geteuid() || geteuid() == 0;
    error = trusted ? read_all(answer.fd, out) : Error{EACCES};
    ::close(answer.fd);
    break;
  }
  ::close(fd);
  return error;
}

}  // namespace millrace::control
