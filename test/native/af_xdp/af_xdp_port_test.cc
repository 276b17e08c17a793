// SPDX-License-Identifier: MIT
#include "port/af_xdp/af_xdp_port.h"

#include <doctest/doctest.h>
#include <netinet/in.h>

#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;
using steer::Protocol;

namespace {

int udp_socket(const char* address, uint16_t port) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, address, &a.sin_addr);
  const int bytes = 4 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
  const timeval wait{2, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof(a)) == 0);
  return fd;
}

}  // namespace

TEST_CASE("af_xdp: a steered datagram of a kernel peer reaches the port, and the answer the peer") {
  if (skip_without_root()) return;
  Rig rig;
  REQUIRE_MESSAGE(rig.ok, rig.error.text);
  MESSAGE(std::string(rig.port->info().mode));
  CHECK(std::string(rig.port->info().mode) == "native copy");
  CHECK(rig.port->info().mtu_bytes == 1500);
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 9000)));

  int fd;
  {
    Inside there(rig.veth.there);
    fd = udp_socket("10.77.0.2", 5000);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9000);
    inet_pton(AF_INET, "10.77.0.1", &to.sin_addr);
    REQUIRE(sendto(fd, "hello", 5, 0, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 5);
  }
  const auto frames = rig.receive(1);
  REQUIRE(frames.size() == 1);
  CHECK(std::string(frames[0].end() - 5, frames[0].end()) == "hello");
  CHECK(rig.last_flags == Frame::kChecksumMayBePartial);
  CHECK(rig.steering->counters().ours_local == 1);

  REQUIRE(rig.transmit(
              {ethernet(rig.there_mac, rig.here_mac,
                        packet("10.77.0.1", "10.77.0.2", 17, udp(9000, 5000, "answer")))}) == 1);
  char answer[64];
  REQUIRE(recv(fd, answer, sizeof(answer), 0) == 6);
  CHECK(std::string(answer, 6) == "answer");
  close(fd);
}
