// SPDX-License-Identifier: MIT
// TCP in bulk, one way: either side writes.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "load.h"

namespace load {
namespace {

void set_receive_timeout(int fd, double seconds) {
  timeval wait{};
  wait.tv_sec = static_cast<time_t>(seconds);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
}

void print_bulk(uint64_t bytes, double seconds, const char* extra) {
  printf("{\"bytes\":%lu,\"seconds\":%.3f,\"mb_per_s\":%.1f%s}\n", bytes, seconds,
         static_cast<double>(bytes) / seconds / 1e6, extra);
  fflush(stdout);
}

}  // namespace

int tcp_send(const Settings& settings) {
  const int fd = connect_or_fail(resolve(settings.host, settings.port, SOCK_STREAM));
  set_receive_timeout(fd, settings.timeout_seconds);
  std::vector<uint8_t> block(settings.size_bytes);
  fill(block.data(), settings.size_bytes, 1);
  const uint64_t start = now_ns();
  const uint64_t end =
      start + static_cast<uint64_t>((settings.warmup_seconds + settings.seconds) * 1e9);
  uint64_t bytes = 0;
  while (now_ns() < end) {
    const ssize_t sent = send(fd, block.data(), block.size(), MSG_NOSIGNAL);
    if (sent <= 0) fail("send");
    bytes += static_cast<uint64_t>(sent);
  }
  // The server answers with its count when it has seen our end: the time is that of all bytes
  // having arrived.
  shutdown(fd, SHUT_WR);
  std::string answer;
  char part[64];
  ssize_t length = 0;
  while ((length = recv(fd, part, sizeof part, 0)) > 0)
    answer.append(part, static_cast<size_t>(length));
  if (length < 0) fail("no answer");
  const bool equal = strtoull(answer.c_str(), nullptr, 10) == bytes;
  print_bulk(bytes, static_cast<double>(now_ns() - start) / 1e9,
             equal ? ",\"counted\":true" : ",\"counted\":false");
  return equal ? 0 : 1;
}

int tcp_receive(const Settings& settings) {
  const int fd = connect_or_fail(resolve(settings.host, settings.port, SOCK_STREAM));
  set_receive_timeout(fd, settings.timeout_seconds);
  std::vector<uint8_t> buffer(256 * 1024);
  const uint64_t start = now_ns();
  const uint64_t begin = start + static_cast<uint64_t>(settings.warmup_seconds * 1e9);
  const uint64_t end = begin + static_cast<uint64_t>(settings.seconds * 1e9);
  uint64_t bytes = 0;
  uint64_t now = start;
  while (now < end) {
    const ssize_t length = recv(fd, buffer.data(), buffer.size(), 0);
    if (length <= 0) fail("receive");
    now = now_ns();
    if (now >= begin) bytes += static_cast<uint64_t>(length);
  }
  print_bulk(bytes, static_cast<double>(now - begin) / 1e9, "");
  close(fd);
  return 0;
}

}  // namespace load
