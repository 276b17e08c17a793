// SPDX-License-Identifier: MIT
// Small talk over the kernel, for guests, where Node takes seconds to start.
//
//   talk serve PORT [CONNECTIONS]   echoes TCP and UDP, IPv4 and IPv6; after so many connections it
//                                   listens no more ("no more") and goes on with those it has
//   talk session HOST PORT [LOCAL PORT]
//                                   says something ten times a second, as somebody who types does,
//                                   and counts what comes back: "echoes N."; "broken: WHY" at the
//                                   end
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

constexpr int kEveryMs = 100;

[[noreturn]] void fail(const char* what) {
  printf("broken: %s: %s\n", what, strerror(errno));
  exit(1);
}

int bound(int type, uint16_t port) {
  const int fd = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
  const int on = 1, off = 0;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)) != 0) fail("bind");
  return fd;
}

// False: there is nobody any more.
bool echo_stream(int fd) {
  char bytes[65536];
  const ssize_t n = read(fd, bytes, sizeof(bytes));
  if (n <= 0) return false;
  for (ssize_t done = 0; done < n;) {
    const ssize_t written = write(fd, bytes + done, size_t(n - done));
    if (written < 0) return false;
    done += written;
  }
  return true;
}

void echo_datagram(int fd) {
  char bytes[65536];
  sockaddr_storage from{};
  socklen_t length = sizeof(from);
  const ssize_t n =
      recvfrom(fd, bytes, sizeof(bytes), 0, reinterpret_cast<sockaddr*>(&from), &length);
  if (n >= 0) sendto(fd, bytes, size_t(n), 0, reinterpret_cast<sockaddr*>(&from), length);
}

int serve(uint16_t port, long most) {
  const int listener = bound(SOCK_STREAM, port);
  if (listen(listener, 16) != 0) fail("listen");
  std::vector<pollfd> all{{listener, POLLIN, 0}, {bound(SOCK_DGRAM, port), POLLIN, 0}};
  printf("listening on %u\n", unsigned(port));
  for (;;) {
    if (poll(all.data(), all.size(), -1) < 0) fail("poll");
    if (all[1].revents) echo_datagram(all[1].fd);
    for (size_t i = all.size(); i-- > 2;) {
      if (!all[i].revents || echo_stream(all[i].fd)) continue;
      close(all[i].fd);
      all.erase(all.begin() + long(i));
    }
    if (!all[0].revents) continue;
    const int fd = accept(listener, nullptr, nullptr);
    if (fd >= 0) all.push_back({fd, POLLIN, 0});
    if (fd < 0 || --most != 0) continue;
    close(listener);
    all[0] = {-1, 0, 0};
    printf("no more\n");
  }
}

int connected(const char* host, const char* port, uint16_t local_port) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  if (getaddrinfo(host, port, &hints, &found) != 0) fail(host);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage local{};
  local.ss_family = sa_family_t(found->ai_family);
  // The port stands at the same place in both families' addresses.
  reinterpret_cast<sockaddr_in*>(&local)->sin_port = htons(local_port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&local), found->ai_addrlen) != 0) fail("bind");
  if (connect(fd, found->ai_addr, found->ai_addrlen) != 0) fail("connect");
  freeaddrinfo(found);
  return fd;
}

int session(int fd) {
  unsigned long echoes = 0;
  for (;;) {
    pollfd one{fd, POLLIN, 0};
    const int ready = poll(&one, 1, kEveryMs);
    if (ready < 0) fail("poll");
    if (ready == 0) {
      if (write(fd, "x", 1) != 1) fail("write");
      continue;
    }
    char bytes[4096];
    const ssize_t n = read(fd, bytes, sizeof(bytes));
    if (n < 0) fail("read");
    if (n == 0) {
      printf("broken: closed\n");
      return 1;
    }
    echoes += size_t(n);
    printf("echoes %lu.\n", echoes);
  }
}

uint16_t port_of(const char* text) {
  return uint16_t(atoi(text));
}

}  // namespace

int main(int count, char** words) {
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::string what = count > 1 ? words[1] : "";
  if (what == "serve" && count >= 3) {
    return serve(port_of(words[2]), count > 3 ? atol(words[3]) : 0);
  }
  if (what == "session" && count >= 4) {
    return session(connected(words[2], words[3], count > 4 ? port_of(words[4]) : 0));
  }
  fprintf(stderr, "usage: talk serve PORT [CONNECTIONS] | session HOST PORT [LOCAL PORT]\n");
  return 2;
}
