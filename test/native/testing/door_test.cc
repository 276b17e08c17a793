// SPDX-License-Identifier: MIT
// The C interface for test suites, used as a suite would: socket calls on one side, hand-made
// packets on the other.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include <cerrno>
#include <functional>

#include "native/testing/wire.h"
#include "testing/millrace_testing.h"

using namespace millrace::test;
namespace wire = millrace::wire;
using wire::kTcpAck, wire::kTcpFin, wire::kTcpPsh, wire::kTcpRst, wire::kTcpSyn;

namespace {

constexpr int64_t kSecond = 1'000'000'000;

sockaddr_in address(const char* text, uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, text, &a.sin_addr);
  return a;
}

struct Bench {
  explicit Bench(std::function<int(int64_t)> wait = nullptr, int64_t start_ns = kSecond)
      : wait_(std::move(wait)) {
    mrt_options options;
    mrt_options_init(&options);
    options.fixed_isn = 1;
    options.isn = 1000;
    options.start_ns = start_ns;
    if (wait_) {
      options.wait = [](void* context, mrt_stack*, int64_t deadline) {
        return static_cast<Bench*>(context)->wait_(deadline);
      };
      options.wait_context = this;
    }
    stack = mrt_create(&options);
    REQUIRE(stack != nullptr);
    CHECK(mrt_address_add(stack, "192.0.2.1/24") == 0);
  }
  ~Bench() { CHECK(mrt_destroy(stack) == 0); }

  int socket(int type = SOCK_STREAM | SOCK_NONBLOCK) { return mrt_socket(stack, AF_INET, type, 0); }
  int bind(int fd, uint16_t port) {
    const sockaddr_in a = address("192.0.2.1", port);
    return mrt_bind(stack, fd, reinterpret_cast<const sockaddr*>(&a), sizeof a);
  }
  int connect(int fd, const char* to, uint16_t port) {
    const sockaddr_in a = address(to, port);
    return mrt_connect(stack, fd, reinterpret_cast<const sockaddr*>(&a), sizeof a);
  }
  int listener(uint16_t port, int type = SOCK_STREAM | SOCK_NONBLOCK) {
    const int fd = socket(type);
    REQUIRE(bind(fd, port) == 0);
    REQUIRE(mrt_listen(stack, fd, 10) == 0);
    return fd;
  }
  void in_raw(const std::vector<uint8_t>& packet) {
    CHECK(mrt_packet_in(stack, packet.data(), packet.size()) == 0);
  }
  void in(const Tcp& t) { in_raw(tcp_packet(t)); }
  Sent out() {
    std::vector<uint8_t> packet(65536);
    int64_t at = 0;
    const size_t length = mrt_packet_out(stack, packet.data(), packet.size(), &at);
    if (length == 0) return {};
    packet.resize(length);
    return take_apart(packet, at);
  }
  // A connection from the peer, accepted.
  int accepted() {
    listening = listener(80);
    in({.seq = 500, .flags = kTcpSyn, .mss = 1460});
    REQUIRE(out().tcp.flags == (kTcpSyn | kTcpAck));
    in({.seq = 501, .ack = 1001});
    const int fd = mrt_accept4(stack, listening, nullptr, nullptr, SOCK_NONBLOCK);
    REQUIRE(fd > listening);
    return fd;
  }

  mrt_stack* stack = nullptr;
  int listening = -1;

 private:
  std::function<int(int64_t)> wait_;
};

#define CHECK_ERRNO(call, code) \
  do {                          \
    errno = 0;                  \
    CHECK((call) == -1);        \
    CHECK(errno == (code));     \
  } while (0)

}  // namespace

TEST_CASE("passive open, data both ways and close, against hand-made packets") {
  Bench b;
  const int listening = b.listener(80);
  CHECK(listening == 3);
  CHECK_ERRNO(mrt_accept(b.stack, listening, nullptr, nullptr), EAGAIN);

  b.in({.seq = 500, .flags = kTcpSyn, .mss = 1460});
  Sent s = b.out();
  REQUIRE(s.any);
  CHECK(s.at_ns == kSecond);
  CHECK(s.tcp.flags == (kTcpSyn | kTcpAck));
  CHECK(s.tcp.seq.value() == 1000);
  CHECK(s.tcp.ack.value() == 501);
  CHECK_ERRNO(mrt_accept(b.stack, listening, nullptr, nullptr), EAGAIN);
  b.in({.seq = 501, .ack = 1001});

  sockaddr_in peer{};
  socklen_t length = sizeof peer;
  const int fd =
      mrt_accept4(b.stack, listening, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK);
  REQUIRE(fd == 4);
  CHECK(length == sizeof peer);
  CHECK(ntohs(peer.sin_port) == 40000);
  CHECK(ntohl(peer.sin_addr.s_addr) == 0xc0000202);

  char buffer[100];
  CHECK_ERRNO(mrt_read(b.stack, fd, buffer, sizeof buffer), EAGAIN);
  b.in({.seq = 501, .ack = 1001, .flags = kTcpAck | kTcpPsh, .data = "hello"});
  CHECK(b.out().tcp.ack.value() == 506);
  CHECK(mrt_recv(b.stack, fd, buffer, 3, MSG_PEEK) == 3);
  CHECK(mrt_read(b.stack, fd, buffer, sizeof buffer) == 5);
  CHECK(std::string_view(buffer, 5) == "hello");

  CHECK(mrt_write(b.stack, fd, "world!", 6) == 6);
  s = b.out();
  CHECK(s.tcp.seq.value() == 1001);
  CHECK(s.tcp.flags == (kTcpAck | kTcpPsh));
  CHECK(s.data == "world!");
  b.in({.seq = 506, .ack = 1007, .flags = kTcpAck | kTcpFin});
  CHECK(mrt_packets_waiting(b.stack) == 0);  // the FIN's ACK waits for what we say
  CHECK(mrt_read(b.stack, fd, buffer, sizeof buffer) == 0);
  CHECK(mrt_close(b.stack, fd) == 0);
  s = b.out();
  CHECK(s.tcp.flags == (kTcpAck | kTcpFin));
  CHECK(s.tcp.seq.value() == 1007);
  b.in({.seq = 507, .ack = 1008});
  CHECK_FALSE(b.out().any);
  CHECK(mrt_next_timer(b.stack) == MRT_NEVER);
  CHECK_ERRNO(mrt_read(b.stack, fd, buffer, 1), EBADF);
}

TEST_CASE("active open: EINPROGRESS, EALREADY, then writable; and its timer in virtual time") {
  Bench b;
  const int fd = b.socket();
  REQUIRE(b.bind(fd, 5000) == 0);
  CHECK_ERRNO(b.connect(fd, "192.0.2.2", 90), EINPROGRESS);
  CHECK_ERRNO(b.connect(fd, "192.0.2.2", 90), EALREADY);
  Sent s = b.out();
  CHECK(s.tcp.flags == kTcpSyn);
  CHECK(s.tcp.source_port == 5000);

  // The SYN again after a second, with its own time though the caller leapt.
  CHECK(mrt_advance(b.stack, kSecond + 2500 * (kSecond / 1000)) == 0);
  s = b.out();
  CHECK(s.tcp.flags == kTcpSyn);
  CHECK(s.at_ns >= 2 * kSecond);
  CHECK(s.at_ns <= 2 * kSecond + 300'000);
  CHECK(b.out().at_ns / 1'000'000 == 3000);
  CHECK_FALSE(b.out().any);
  CHECK_ERRNO(mrt_advance(b.stack, kSecond), EINVAL);

  pollfd p{fd, POLLIN | POLLOUT, 0};
  CHECK(mrt_poll(b.stack, &p, 1, 0) == 0);
  b.in({.from = 90, .to = 5000, .seq = 700, .ack = 1001, .flags = kTcpSyn | kTcpAck, .mss = 1460});
  CHECK(b.out().tcp.flags == kTcpAck);
  CHECK(mrt_poll(b.stack, &p, 1, 0) == 1);
  CHECK(p.revents == POLLOUT);
  CHECK(b.connect(fd, "192.0.2.2", 90) == 0);  // the news, once
  CHECK_ERRNO(b.connect(fd, "192.0.2.2", 90), EISCONN);
  tcp_info info{};
  socklen_t length = sizeof info;
  CHECK(mrt_getsockopt(b.stack, fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0);
  CHECK(length == sizeof info);
  CHECK(info.tcpi_state == 1);
  CHECK(info.tcpi_snd_mss == 1460);
  CHECK(info.tcpi_snd_cwnd == 1);  // the SYN was repeated: RFC 6928 2
  CHECK(mrt_close(b.stack, fd) == 0);
}

TEST_CASE("a refused connection: SO_ERROR once, or the errno of the next connect") {
  Bench b;
  const int fd = b.socket();
  REQUIRE(b.bind(fd, 5000) == 0);
  CHECK_ERRNO(b.connect(fd, "192.0.2.2", 90), EINPROGRESS);
  b.in({.from = 90, .to = 5000, .ack = 1001, .flags = kTcpRst | kTcpAck});
  pollfd p{fd, POLLIN | POLLOUT, 0};
  CHECK(mrt_poll(b.stack, &p, 1, 0) == 1);
  CHECK(p.revents == (POLLIN | POLLOUT | POLLERR | POLLHUP));
  int error = 0;
  socklen_t length = sizeof error;
  CHECK(mrt_getsockopt(b.stack, fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
  CHECK(error == ECONNREFUSED);
  CHECK(mrt_getsockopt(b.stack, fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
  CHECK(error == 0);
  CHECK_ERRNO(b.connect(fd, "192.0.2.2", 90), ECONNABORTED);
  CHECK_ERRNO(b.connect(fd, "192.0.2.2", 90), EINPROGRESS);  // and a new attempt
  b.in({.from = 90, .to = 5000, .ack = 1001, .flags = kTcpRst | kTcpAck});
  CHECK_ERRNO(b.connect(fd, "192.0.2.2", 90), ECONNREFUSED);
}

TEST_CASE("blocking calls wait through the callback, and only through it") {
  SUBCASE("nobody to wait for: EDEADLK") {
    Bench b;
    const int fd = b.listener(80, SOCK_STREAM);
    CHECK_ERRNO(mrt_accept(b.stack, fd, nullptr, nullptr), EDEADLK);
  }
  SUBCASE("accept and read, while the callback plays the peer") {
    Bench* bench = nullptr;
    int step = 0;
    Bench b([&](int64_t deadline) {
      CHECK(deadline == MRT_NEVER);
      const Tcp script[] = {{.seq = 500, .flags = kTcpSyn},
                            {.seq = 501, .ack = 1001},
                            {.seq = 501, .ack = 1001, .data = "abc"},
                            {.seq = 504, .ack = 1001, .data = "def"}};
      if (step >= 4) return -1;
      bench->in(script[step++]);
      return 0;
    });
    bench = &b;
    const int listening = b.listener(80, SOCK_STREAM);
    const int fd = mrt_accept(b.stack, listening, nullptr, nullptr);
    REQUIRE(fd > 0);
    CHECK(step == 2);
    char buffer[8];
    CHECK(mrt_recv(b.stack, fd, buffer, 6, MSG_WAITALL) == 6);
    CHECK(std::string_view(buffer, 6) == "abcdef");
    CHECK_ERRNO(mrt_read(b.stack, fd, buffer, 1), EINTR);
  }
  SUBCASE("a write larger than the buffer goes on as the peer acknowledges") {
    Bench* bench = nullptr;
    int waits = 0;
    Bench b([&](int64_t) {
      uint32_t ack = 0;
      for (Sent s = bench->out(); s.any; s = bench->out()) {
        ack = s.tcp.seq.value() + uint32_t(s.data.size());
      }
      if (ack) bench->in({.seq = 501, .ack = ack});
      return ++waits > 5000 ? -1 : 0;
    });
    bench = &b;
    const int fd = b.accepted();
    CHECK(mrt_fcntl(b.stack, fd, F_SETFL, 0) == 0);
    CHECK(mrt_fcntl(b.stack, fd, F_GETFL, 0) == O_RDWR);
    const std::string much(3'000'000, 'x');
    CHECK(mrt_write(b.stack, fd, much.data(), much.size()) == ssize_t(much.size()));
    CHECK(waits > 1);
  }
  SUBCASE("only time passes: the connection times out after two minutes") {
    Bench* bench = nullptr;
    Bench b([&](int64_t deadline) { return mrt_wait_for_timers(nullptr, bench->stack, deadline); });
    bench = &b;
    const int fd = b.socket(SOCK_STREAM);
    CHECK_ERRNO(b.connect(fd, "192.0.2.2", 90), ETIMEDOUT);
    CHECK((mrt_now(b.stack) - kSecond) / kSecond >= 130);
    CHECK((mrt_now(b.stack) - kSecond) / kSecond <= 137);
  }
  SUBCASE("timeouts of poll and of SO_RCVTIMEO") {
    Bench* bench = nullptr;
    Bench b([&](int64_t deadline) { return mrt_wait_for_timers(nullptr, bench->stack, deadline); });
    bench = &b;
    const int fd = b.accepted();
    pollfd p{fd, POLLIN, 0};
    const int64_t before = mrt_now(b.stack);
    CHECK(mrt_poll(b.stack, &p, 1, 250) == 0);
    CHECK(mrt_now(b.stack) - before == 250'000'000);
    CHECK(mrt_fcntl(b.stack, fd, F_SETFL, 0) == 0);
    const timeval limit{1, 500'000};
    CHECK(mrt_setsockopt(b.stack, fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    char c;
    CHECK_ERRNO(mrt_read(b.stack, fd, &c, 1), EAGAIN);
    CHECK(mrt_now(b.stack) - before == 1'750'000'000);
  }
}

TEST_CASE("errors of a connection: reset, broken pipe, linger") {
  Bench b;
  const int fd = b.accepted();
  char c;
  SUBCASE("a reset is told once, then end of file and EPIPE") {
    b.in({.seq = 501, .ack = 1001, .flags = kTcpRst});
    CHECK_ERRNO(mrt_read(b.stack, fd, &c, 1), ECONNRESET);
    CHECK(mrt_read(b.stack, fd, &c, 1) == 0);
    CHECK_ERRNO(mrt_write(b.stack, fd, "x", 1), EPIPE);
    CHECK_ERRNO(mrt_shutdown(b.stack, fd, SHUT_RDWR), ENOTCONN);
  }
  SUBCASE("what came before the reset can be read") {
    b.in({.seq = 501, .ack = 1001, .data = "z"});
    b.in({.seq = 502, .ack = 1001, .flags = kTcpRst});
    CHECK(mrt_read(b.stack, fd, &c, 1) == 1);
    CHECK_ERRNO(mrt_write(b.stack, fd, "x", 1), ECONNRESET);
  }
  SUBCASE("half-close") {
    CHECK(mrt_shutdown(b.stack, fd, SHUT_WR) == 0);
    CHECK(b.out().tcp.flags == (kTcpAck | kTcpFin));
    CHECK_ERRNO(mrt_write(b.stack, fd, "x", 1), EPIPE);
    b.in({.seq = 501, .ack = 1002, .data = "z"});
    CHECK(mrt_read(b.stack, fd, &c, 1) == 1);
  }
  SUBCASE("SO_LINGER with zero resets") {
    const linger l{1, 0};
    CHECK(mrt_setsockopt(b.stack, fd, SOL_SOCKET, SO_LINGER, &l, sizeof l) == 0);
    CHECK(mrt_close(b.stack, fd) == 0);
    CHECK((b.out().tcp.flags & kTcpRst) != 0);
  }
}

TEST_CASE("socket options read back as Linux's") {
  Bench b;
  const int fd = b.socket();
  const auto set = [&](int level, int name, int value) {
    return mrt_setsockopt(b.stack, fd, level, name, &value, sizeof value);
  };
  const auto get = [&](int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    CHECK(mrt_getsockopt(b.stack, fd, level, name, &value, &length) == 0);
    return value;
  };
  CHECK(get(SOL_SOCKET, SO_KEEPALIVE) == 0);
  CHECK(get(IPPROTO_TCP, TCP_KEEPIDLE) == 7200);
  CHECK(set(IPPROTO_TCP, TCP_KEEPIDLE, 10) == 0);
  CHECK(get(IPPROTO_TCP, TCP_KEEPIDLE) == 10);
  CHECK_ERRNO(set(IPPROTO_TCP, TCP_KEEPCNT, 128), EINVAL);
  CHECK(set(SOL_SOCKET, SO_RCVBUF, 10000) == 0);
  CHECK(get(SOL_SOCKET, SO_RCVBUF) == 20000);
  CHECK(set(SOL_SOCKET, SO_SNDBUF, 1) == 0);
  CHECK(get(SOL_SOCKET, SO_SNDBUF) == 4608);
  CHECK_ERRNO(set(IPPROTO_TCP, TCP_MAXSEG, 87), EINVAL);
  CHECK(set(IPPROTO_TCP, TCP_MAXSEG, 1000) == 0);
  CHECK(get(IPPROTO_TCP, TCP_MAXSEG) == 1000);
  CHECK(get(SOL_SOCKET, SO_TYPE) == SOCK_STREAM);
  CHECK_ERRNO(set(SOL_SOCKET, 9999, 1), ENOPROTOOPT);
  CHECK_ERRNO(set(IPPROTO_IPV6, IPV6_V6ONLY, 1), ENOPROTOOPT);
  CHECK(mrt_setsockopt(b.stack, fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0);
  char name[16] = {};
  socklen_t length = sizeof name;
  CHECK(mrt_getsockopt(b.stack, fd, IPPROTO_TCP, TCP_CONGESTION, name, &length) == 0);
  CHECK(std::string_view(name) == "reno");
  CHECK_ERRNO(mrt_setsockopt(b.stack, fd, IPPROTO_TCP, TCP_CONGESTION, "none", 4), ENOENT);
}

TEST_CASE("bind: who may share a port") {
  Bench b;
  const int one = b.socket(), two = b.socket();
  CHECK(b.bind(one, 80) == 0);
  CHECK_ERRNO(b.bind(one, 81), EINVAL);
  CHECK_ERRNO(b.bind(two, 80), EADDRINUSE);
  const int yes = 1;
  for (int fd : {one, two}) mrt_setsockopt(b.stack, fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  CHECK(b.bind(two, 80) == 0);
  CHECK(mrt_listen(b.stack, one, 1) == 0);
  CHECK_ERRNO(mrt_listen(b.stack, two, 1), EADDRINUSE);
  const sockaddr_in foreign = address("192.0.2.9", 80);
  CHECK_ERRNO(
      mrt_bind(b.stack, b.socket(), reinterpret_cast<const sockaddr*>(&foreign), sizeof foreign),
      EADDRNOTAVAIL);
  const int any = b.socket();
  CHECK(b.bind(any, 0) == 0);
  sockaddr_in name{};
  socklen_t length = sizeof name;
  CHECK(mrt_getsockname(b.stack, any, reinterpret_cast<sockaddr*>(&name), &length) == 0);
  CHECK(ntohs(name.sin_port) >= 32768);
  CHECK(ntohs(name.sin_port) <= 60999);
}

TEST_CASE("UDP: datagrams, truncation, errors") {
  Bench b;
  const int fd = b.socket(SOCK_DGRAM | SOCK_NONBLOCK);
  REQUIRE(b.bind(fd, 53) == 0);
  char buffer[16];
  CHECK_ERRNO(mrt_recv(b.stack, fd, buffer, sizeof buffer, 0), EAGAIN);
  b.in_raw(udp_packet(4000, 53, "question"));
  b.in_raw(udp_packet(4001, 53, ""));
  sockaddr_in from{};
  socklen_t length = sizeof from;
  CHECK(mrt_recvfrom(b.stack, fd, buffer, 5, MSG_TRUNC, reinterpret_cast<sockaddr*>(&from),
                     &length) == 8);
  CHECK(std::string_view(buffer, 5) == "quest");
  CHECK(ntohs(from.sin_port) == 4000);
  CHECK(mrt_recv(b.stack, fd, buffer, sizeof buffer, 0) == 0);
  CHECK(mrt_sendto(b.stack, fd, "answer", 6, 0, reinterpret_cast<sockaddr*>(&from), length) == 6);
  const Sent s = b.out();
  CHECK(s.protocol == 17);
  CHECK(s.data == "answer");
  CHECK_ERRNO(mrt_send(b.stack, fd, "x", 1, 0), EDESTADDRREQ);
  const sockaddr_in all = address("192.0.2.255", 9);
  CHECK_ERRNO(
      mrt_sendto(b.stack, fd, "x", 1, 0, reinterpret_cast<const sockaddr*>(&all), sizeof all),
      EACCES);
  const std::string big(65508, 'x');
  CHECK(b.connect(fd, "192.0.2.2", 9) == 0);
  CHECK_ERRNO(mrt_send(b.stack, fd, big.data(), big.size(), 0), EMSGSIZE);
}

TEST_CASE("the same seed gives the same packets, another seed others") {
  const auto run = [](uint64_t seed) {
    mrt_options options;
    mrt_options_init(&options);
    options.seed = seed;
    mrt_stack* stack = mrt_create(&options);
    CHECK(mrt_address_add(stack, "192.0.2.1/24") == 0);
    const int fd = mrt_socket(stack, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const sockaddr_in to = address("192.0.2.2", 80);
    CHECK_ERRNO(mrt_connect(stack, fd, reinterpret_cast<const sockaddr*>(&to), sizeof to),
                EINPROGRESS);
    std::string packet(100, '\0');
    packet.resize(mrt_packet_out(stack, packet.data(), packet.size(), nullptr));
    CHECK(mrt_destroy(stack) == 0);
    return packet;
  };
  CHECK(run(7) == run(7));
  CHECK(run(7) != run(8));
  mrt_options bad;
  mrt_options_init(&bad);
  bad.mtu_bytes = 67;
  errno = 0;
  CHECK(mrt_create(&bad) == nullptr);
  CHECK(errno == EINVAL);
}
