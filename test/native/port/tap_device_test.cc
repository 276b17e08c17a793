// SPDX-License-Identifier: MIT
// The tap by which the kernel gets what is not ours: it takes packets for what they are, whatever
// it thinks of senders on an interface that does not lead back to them.
#include "port/wrap/tap_device.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "support/netns.h"
#include "support/raw_packets.h"

using namespace millrace;
using namespace millrace::test;

namespace {

constexpr uint16_t kPort = 7;

int bound_socket() {
  const int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(kPort);
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0);
  return fd;
}

void set_filter(const char* interface, const char* value) {
  const std::string path = std::string("/proc/sys/net/ipv4/conf/") + interface + "/rp_filter";
  FILE* file = std::fopen(path.c_str(), "w");
  REQUIRE(file);
  std::fputs(value, file);
  std::fclose(file);
}

}  // namespace

TEST_CASE("a quiet tap is a way in for packets of another interface, whatever the filter" *
          needs_root()) {
  VethPair veth;
  REQUIRE(veth.ok);
  Inside inside(veth.here);
  const Mac mac{2, 0, 0, 0, 0, 1}, peer{2, 0, 0, 0, 0, 2};
  const int fd = bound_socket();
  for (const char* filter : {"0", "1", "2"}) {
    CAPTURE(filter);
    set_filter("all", filter);
    set_filter("default", filter);
    TapDevice tap;
    TapDevice::Settings settings;
    settings.name = "millrace%d";
    settings.quiet = true;
    std::memcpy(settings.mac, mac.data(), 6);
    SetupError error;
    REQUIRE_MESSAGE(tap.open(settings, error), error.text);
    for (const bool v4 : {true, false}) {
      CAPTURE(v4);
      const char* from = v4 ? "10.77.0.2" : "fd77::2";
      const char* to = v4 ? "10.77.0.1" : "fd77::1";
      CHECK(tap.write(ethernet(mac, peer, packet(from, to, 17, udp(9, kPort, "hello")))));
      char bytes[64];
      CHECK(recv(fd, bytes, sizeof(bytes), 0) == 5);
    }
  }
  close(fd);
}
