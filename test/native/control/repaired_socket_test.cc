// SPDX-License-Identifier: MIT
// Kernel sockets that begin in mid-stream, both ends of a connection that never was, over the
// loopback of a namespace of the test's own.
#include "control/repaired_socket.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <string>

#include "support/netns.h"
#include "support/raw_packets.h"

using namespace millrace;
using namespace millrace::test;
using control::RepairedSocket;

namespace {

constexpr uint32_t kSeqA = 0xfffff000, kSeqB = 77'000;  // the first one wraps

std::span<const uint8_t> bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

net::ConnectionState state(wire::Endpoint local, wire::Endpoint remote, uint32_t send_una,
                           uint32_t receive_next) {
  net::ConnectionState s;
  s.flow = {local, remote};
  s.send_una = send_una;
  s.receive_next = receive_next;
  s.send_window_bytes = s.send_window_max_bytes = 60'000;
  s.window_update_seq = receive_next;
  s.receive_window_bytes = 60'000;
  s.peer_mss_bytes = 1400;
  s.window_scaling = s.sack = s.timestamps = true;
  s.send_shift = s.receive_shift = 7;
  s.timestamp = 5001;
  s.keepalive_idle_s = 100;
  s.keepalive_interval_s = 10;
  s.keepalive_probes = 3;
  return s;
}

// What can be read until nothing comes for 300 ms; `end`: and then the end.
std::string read_all(int fd, bool& end) {
  std::string out;
  char buffer[4096];
  end = false;
  for (;;) {
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, 300) <= 0) return out;
    const ssize_t n = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n < 0) return out;
    if (n == 0) {
      end = true;
      return out;
    }
    out.append(buffer, size_t(n));
  }
}

struct Ends {
  net::ConnectionState a = state(at("127.0.0.1", 4000), at("127.0.0.1", 5000), kSeqA, kSeqB);
  net::ConnectionState b = state(at("127.0.0.1", 5000), at("127.0.0.1", 4000), kSeqB, kSeqA);
};

struct Descriptors {
  int a, b;
  ~Descriptors() {
    close(a);
    close(b);
  }
};

Descriptors start(Ends& ends, const net::Pieces& before_a = {}) {
  auto a = RepairedSocket::open(ends.a, before_a, false);
  REQUIRE(a.ok());
  auto b = RepairedSocket::open(ends.b, {}, false);
  REQUIRE(b.ok());
  const auto started_a = a->start(ends.a);
  const auto started_b = b->start(ends.b);
  CHECK(started_a.unsent_bytes == 0);
  CHECK(started_b.unsent_bytes == 0);
  return {started_a.fd, started_b.fd};
}

}  // namespace

TEST_CASE("a repaired socket: what lies between the ends arrives once and in order" *
          needs_root()) {
  Namespace ns;
  Inside inside(ns);
  // The other end has the first 4 of the 12 bytes that were sent, and their ACK was lost.
  const std::string sent = "sent already", arrived = "sent", unsent(300'000, 'u'),
                    unread = "unread";
  const std::string seen = "seen, not read; ";
  Ends ends;
  ends.a.sent = {bytes(sent)};
  ends.a.unsent = {bytes(unsent)};
  ends.a.received = {bytes(unread)};
  ends.b.receive_next = kSeqA + uint32_t(arrived.size());
  ends.b.received = {bytes(arrived)};
  const auto fds = start(ends, {bytes(seen)});
  bool end = false;
  CHECK(read_all(fds.a, end) == seen + unread);
  CHECK(!end);
  CHECK(read_all(fds.b, end) == sent + unsent);
  CHECK(send(fds.b, "on", 2, 0) == 2);
  CHECK(read_all(fds.a, end) == "on");
  tcp_info info{};
  socklen_t length = sizeof info;
  REQUIRE(getsockopt(fds.a, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  CHECK(uint8_t(info.tcpi_snd_wscale) == 7);
  CHECK(uint8_t(info.tcpi_rcv_wscale) == 7);
  CHECK(info.tcpi_snd_mss == 1400 - 12);  // timestamps
  CHECK((info.tcpi_options & (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK)) ==
        (TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK));
}

TEST_CASE("a repaired socket: half-closed either way" * needs_root()) {
  Namespace ns;
  Inside inside(ns);
  const std::string unread = "last words";
  SUBCASE("the FIN has been taken and acknowledged") {
    Ends ends;
    ends.a.fin_received = true;
    ends.a.received = {bytes(unread)};
    ends.b.fin_queued = ends.b.fin_acked = true;
    ends.b.send_una += 1;
    const auto fds = start(ends);
    bool end = false;
    CHECK(read_all(fds.a, end) == unread);
    CHECK(end);
    CHECK(send(fds.a, "answer", 6, 0) == 6);
    CHECK(read_all(fds.b, end) == "answer");
    CHECK(!end);
    shutdown(fds.a, SHUT_WR);
    CHECK(read_all(fds.b, end).empty());
    CHECK(end);
  }
  SUBCASE("the FIN is on its way, behind bytes") {
    Ends ends;
    ends.b.fin_queued = true;
    ends.b.sent = {bytes(unread)};
    const auto fds = start(ends);
    bool end = false;
    CHECK(read_all(fds.a, end) == unread);
    CHECK(end);
    CHECK(send(fds.a, "answer", 6, 0) == 6);
    CHECK(read_all(fds.b, end) == "answer");
  }
}

TEST_CASE("a repaired socket: given up before it started it was never there" * needs_root()) {
  Namespace ns;
  Inside inside(ns);
  Ends ends;
  auto a = RepairedSocket::open(ends.a, {}, false);
  auto b = RepairedSocket::open(ends.b, {}, false);
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  const auto started = b->start(ends.b);
  *a = RepairedSocket();  // closed
  pollfd p{started.fd, POLLIN, 0};
  CHECK(poll(&p, 1, 300) == 0);  // neither an end nor a reset
  close(started.fd);
}

TEST_CASE("a repaired socket: beside a listener and a reservation, and twice" * needs_root()) {
  Namespace ns;
  Inside inside(ns);
  const int listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(4000);
  REQUIRE(bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
  REQUIRE(listen(listener, 5) == 0);
  Ends ends;
  auto a = RepairedSocket::open(ends.a, {}, true);
  REQUIRE(a.ok());
  // The kernel has this connection now.
  CHECK(RepairedSocket::open(ends.a, {}, false).error().code == EADDRNOTAVAIL);
  auto b = RepairedSocket::open(ends.b, {}, false);
  REQUIRE(b.ok());
  const auto started = a->start(ends.a);
  sockaddr_in6 name{};
  socklen_t length = sizeof name;
  REQUIRE(getpeername(started.fd, reinterpret_cast<sockaddr*>(&name), &length) == 0);
  CHECK(name.sin6_family == AF_INET6);  // as the listener's own connections
  CHECK(IN6_IS_ADDR_V4MAPPED(&name.sin6_addr));
  close(started.fd);
  close(listener);
}
