// SPDX-License-Identifier: MIT
// Each kind of rule with real packets: put on the wire at one end of a veth pair, looked for in the
// AF_XDP socket and in the program's counters at the other.
#include "steer/xdp_steering.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/wait.h>

#include <set>
#include <string>

#include "steer/bpf.h"
#include "support/rig.h"

using namespace millrace;
using namespace millrace::test;
using steer::Owner;
using steer::Protocol;
using steer::SteeringCounters;

namespace {

constexpr uint8_t kTcp = 6, kUdp = 17, kIcmp = 1, kIcmp6 = 58;

// Puts an IP packet on the wire and says whether the port received exactly it.
bool reaches_us(Rig& rig, const Bytes& ip_packet, int vlan = -1) {
  const Bytes frame = ethernet(rig.here_mac, rig.there_mac, ip_packet, vlan);
  REQUIRE(rig.inject(frame));
  // A datagram that is ours for certain follows: when it has come, the one before has been decided.
  REQUIRE(rig.inject_ip(packet("10.77.0.2", "10.77.0.1", kUdp, udp(1, 65000, "marker"))));
  bool reached = false;
  for (int i = 0; i < 3; ++i) {
    for (const Bytes& received : rig.receive(1)) {
      if (received == frame) {
        reached = true;
      } else {
        CHECK(std::string(received.end() - 6, received.end()) == "marker");
        return reached;
      }
    }
  }
  FAIL_CHECK("the datagram that is ours did not come");
  return reached;
}

struct SteeringRig : Rig {
  explicit SteeringRig(unsigned queues = 1, const steer::XdpSteeringOptions& tables = {})
      : Rig(queues, steer::XdpMode::kAuto, 2048, {}, tables) {
    REQUIRE_MESSAGE(ok, error.text);
    REQUIRE(!steering->add_local(Protocol::kUdp, at("0.0.0.0", 65000)));
  }
  SteeringCounters counters() const { return steering->counters(); }
};

Bytes tcp4(uint16_t from, uint16_t to, uint8_t flags = kSyn, const char* local = "10.77.0.1") {
  return packet("10.77.0.2", local, kTcp, tcp(from, to, flags));
}
Bytes tcp6(uint16_t from, uint16_t to, const char* local = "fd77::1") {
  return packet("fd77::2", local, kTcp, tcp(from, to, kSyn));
}
Bytes udp4(uint16_t from, uint16_t to, const char* local = "10.77.0.1") {
  return packet("10.77.0.2", local, kUdp, udp(from, to, "data"));
}

}  // namespace

TEST_CASE("steering: without rules everything is the kernel's" * needs_root()) {
  SteeringRig rig;
  CHECK(!reaches_us(rig, tcp4(5000, 80)));
  CHECK(!reaches_us(rig, tcp6(5000, 80)));
  CHECK(!reaches_us(rig, udp4(5000, 53)));
  CHECK(rig.counters().kernel_other >= 3);
  Inside there(rig.veth.there);
  CHECK(run({"ping", "-c", "1", "-W", "2", "10.77.0.1"}));
  CHECK(run({"ping", "-c", "1", "-W", "2", "fd77::1"}));
}

TEST_CASE("steering: local address and port" * needs_root()) {
  SteeringRig rig;
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("10.77.0.1", 80)));
  CHECK(reaches_us(rig, tcp4(5000, 80)));
  CHECK(reaches_us(rig, tcp4(5000, 80, kAck)));
  CHECK(!reaches_us(rig, tcp4(5000, 81)));
  CHECK(!reaches_us(rig, tcp6(5000, 80)));
  CHECK(!reaches_us(rig, udp4(5000, 80)));
  CHECK(!reaches_us(rig, tcp4(5000, 80, kSyn, "10.77.0.3")));
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("fd77::1", 80)));
  CHECK(reaches_us(rig, tcp6(5000, 80)));
  CHECK(rig.counters().ours_local >= 3);
  REQUIRE(!rig.steering->remove_local(Protocol::kTcp, at("10.77.0.1", 80)));
  CHECK(!reaches_us(rig, tcp4(5000, 80)));
  CHECK(rig.steering->remove_local(Protocol::kTcp, at("10.77.0.1", 80)).code == ENOENT);
  CHECK(rig.steering->add_local(Protocol::kTcp, at("10.77.0.1", 0)).code == EINVAL);
}

TEST_CASE("steering: any address means the interface's own, of one family" * needs_root()) {
  SteeringRig rig;
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("0.0.0.0", 80)));
  CHECK(reaches_us(rig, tcp4(5000, 80)));
  CHECK(!reaches_us(rig, tcp6(5000, 80)));
  // Routed through this machine, or to another interface's address: not ours.
  CHECK(!reaches_us(rig, tcp4(5000, 80, kSyn, "10.88.0.1")));
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("::", 80)));
  CHECK(reaches_us(rig, tcp6(5000, 80)));
  CHECK(!reaches_us(rig, tcp6(5000, 80, "fd77::99")));
  REQUIRE(!rig.steering->remove_address(ip("10.77.0.1")));
  REQUIRE(rig.inject_ip(tcp4(5000, 80)));
  CHECK(rig.receive(1, 100).empty());
  REQUIRE(!rig.steering->add_address(ip("10.77.0.1")));
  CHECK(reaches_us(rig, tcp4(5000, 80)));
  CHECK(rig.steering->add_address(ip("224.0.0.1")).code == EINVAL);
  CHECK(rig.steering->add_address(ip("::")).code == EINVAL);
}

TEST_CASE("steering: port blocks" * needs_root()) {
  SteeringRig rig;
  REQUIRE(!rig.steering->add_port_block(Protocol::kTcp, 40000));
  CHECK(reaches_us(rig, tcp4(80, 40000)));
  CHECK(reaches_us(rig, tcp4(80, 40063, kAck)));
  CHECK(reaches_us(rig, tcp6(80, 40010)));
  CHECK(!reaches_us(rig, tcp4(80, 40064)));
  CHECK(!reaches_us(rig, tcp4(80, 39999)));
  CHECK(!reaches_us(rig, udp4(80, 40000)));
  CHECK(!reaches_us(rig, tcp4(80, 40000, kSyn, "10.88.0.1")));
  CHECK(rig.counters().ours_block == 3);
  // Another block in the same word of the bitmap is not disturbed by its removal.
  REQUIRE(!rig.steering->add_port_block(Protocol::kTcp, 40064));
  REQUIRE(!rig.steering->add_port_block(Protocol::kUdp, 40000));
  REQUIRE(!rig.steering->remove_port_block(Protocol::kTcp, 40000));
  CHECK(!reaches_us(rig, tcp4(80, 40000)));
  CHECK(reaches_us(rig, tcp4(80, 40064)));
  CHECK(reaches_us(rig, udp4(80, 40000)));
  CHECK(rig.steering->add_port_block(Protocol::kTcp, 40001).code == EINVAL);
  CHECK(rig.steering->add_port_block(Protocol::kTcp, 0).code == EINVAL);
  CHECK(rig.steering->remove_port_block(Protocol::kTcp, 40000).code == ENOENT);
  REQUIRE(!rig.steering->add_port_block(Protocol::kTcp, 65472));
  CHECK(reaches_us(rig, tcp4(80, 65535)));
}

TEST_CASE("steering: exact flows, ours and the kernel's, win over everything" * needs_root()) {
  SteeringRig rig;
  const wire::FlowKey flow{at("10.77.0.1", 80), at("10.77.0.2", 5000)};
  REQUIRE(!rig.steering->set_flow(Protocol::kTcp, flow, Owner::kOurs));
  CHECK(reaches_us(rig, tcp4(5000, 80, kAck)));
  CHECK(!reaches_us(rig, tcp4(5001, 80, kAck)));
  CHECK(!reaches_us(rig, udp4(5000, 80)));
  CHECK(rig.counters().ours_flow == 1);
  // A listener takes the rest, and leaves the kernel its own.
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("0.0.0.0", 80)));
  REQUIRE(!rig.steering->set_flow(Protocol::kTcp, flow, Owner::kKernel));
  CHECK(!reaches_us(rig, tcp4(5000, 80, kAck)));
  CHECK(reaches_us(rig, tcp4(5001, 80)));
  CHECK(rig.counters().kernel_flow == 1);
  REQUIRE(!rig.steering->remove_flow(Protocol::kTcp, flow));
  CHECK(reaches_us(rig, tcp4(5000, 80, kAck)));
  CHECK(rig.steering->remove_flow(Protocol::kTcp, flow).code == ENOENT);
  // IPv6, UDP.
  const wire::FlowKey flow6{at("fd77::1", 443), at("fd77::2", 6000)};
  REQUIRE(!rig.steering->set_flow(Protocol::kUdp, flow6, Owner::kOurs));
  CHECK(reaches_us(rig, packet("fd77::2", "fd77::1", kUdp, udp(6000, 443, "six"))));
  CHECK(!reaches_us(rig, packet("fd77::2", "fd77::1", kUdp, udp(6001, 443, "six"))));
  CHECK(rig.steering->set_flow(Protocol::kUdp, {at("fd77::1", 1), at("10.0.0.1", 1)}, Owner::kOurs)
            .code == EINVAL);
  CHECK(rig.steering->set_flow(Protocol::kUdp, {at("10.0.0.1", 0), at("10.0.0.1", 1)}, Owner::kOurs)
            .code == EINVAL);
}

TEST_CASE("steering: ICMP errors that quote our packets" * needs_root()) {
  SteeringRig rig;
  REQUIRE(!rig.steering->add_port_block(Protocol::kTcp, 40000));
  // What we sent, as a router would quote it: whole, and the least of it (RFC 792: 8 bytes).
  const Bytes ours = packet("10.77.0.1", "192.0.2.1", kTcp, tcp(40001, 80, kSyn));
  const Bytes least(ours.begin(), ours.begin() + 28);
  const auto error4 = [](uint8_t type, uint8_t code, const Bytes& quoted,
                         const char* to = "10.77.0.1") {
    return packet("10.77.0.2", to, kIcmp, icmp(type, code, 0x000005dc, quoted));
  };
  CHECK(reaches_us(rig, error4(3, 4, ours)));
  CHECK(reaches_us(rig, error4(3, 1, least)));
  CHECK(reaches_us(rig, error4(11, 0, least)));
  CHECK(reaches_us(rig, error4(12, 0, least)));
  CHECK(rig.counters().ours_icmp == 4);
  // Not errors, not ours, or not addressed to the sender of what they quote.
  CHECK(!reaches_us(rig, error4(8, 0, ours)));
  CHECK(!reaches_us(rig, error4(4, 0, ours)));
  CHECK(
      !reaches_us(rig, error4(3, 1, packet("10.77.0.1", "192.0.2.1", kTcp, tcp(50000, 80, kSyn)))));
  CHECK(
      !reaches_us(rig, error4(3, 1, packet("10.77.0.9", "192.0.2.1", kTcp, tcp(40001, 80, kSyn)))));
  CHECK(!reaches_us(rig, error4(3, 1, Bytes(ours.begin(), ours.begin() + 20))));
  // The quoted packet has IP options.
  CHECK(reaches_us(rig, error4(3, 1,
                               packet("10.77.0.1", "192.0.2.1", kTcp, tcp(40002, 80, kSyn),
                                      {.options = Bytes(8, 1)}))));
  // A later fragment holds no ports, whatever its bytes look like.
  CHECK(!reaches_us(rig, error4(3, 1,
                                packet("10.77.0.1", "192.0.2.1", kTcp, tcp(40001, 80, kSyn),
                                       {.fragment = 100}))));

  const Bytes ours6 = packet("fd77::1", "2001:db8::1", kTcp, tcp(40001, 80, kSyn));
  const auto error6 = [](uint8_t type, const Bytes& quoted) {
    return packet("fd77::2", "fd77::1", kIcmp6, icmp(type, 0, 1280, quoted));
  };
  for (uint8_t type : {1, 2, 3, 4}) CHECK(reaches_us(rig, error6(type, ours6)));
  CHECK(!reaches_us(rig, error6(128, ours6)));
  CHECK(!reaches_us(rig, error6(1, packet("fd77::1", "2001:db8::1", kTcp, tcp(50000, 80, kSyn)))));
  CHECK(rig.counters().ours_icmp == 9);

  // An error about a flow of the kernel's on a port of ours stays the kernel's.
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 53)));
  const Bytes about = packet("10.77.0.1", "192.0.2.9", kUdp, udp(53, 700, "x"));
  CHECK(reaches_us(rig, error4(3, 3, about)));
  REQUIRE(!rig.steering->set_flow(Protocol::kUdp, {at("10.77.0.1", 53), at("192.0.2.9", 700)},
                                  Owner::kKernel));
  CHECK(!reaches_us(rig, error4(3, 3, about)));
}

TEST_CASE("steering: fragments, odd headers and malformed packets are the kernel's" *
          needs_root()) {
  SteeringRig rig;
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 53)));
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("0.0.0.0", 53)));
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("::", 53)));
  const Bytes whole = udp4(5000, 53);
  const Bytes whole6 = packet("fd77::2", "fd77::1", kUdp, udp(5000, 53, "data"));
  CHECK(reaches_us(rig, whole));
  CHECK(reaches_us(rig, whole6));

  SteeringCounters before = rig.counters();
  for (uint16_t fragment : {uint16_t(0x2000), uint16_t(0x2001), uint16_t(1)}) {
    CHECK(!reaches_us(rig, packet("10.77.0.2", "10.77.0.1", kUdp, udp(5000, 53, "data"),
                                  {.fragment = fragment})));
  }
  Bytes fragment6 = whole6;
  fragment6[6] = 44;
  CHECK(!reaches_us(rig, fragment6));
  CHECK(rig.counters().kernel_fragment == before.kernel_fragment + 4);
  // "Don't fragment" is no fragment.
  CHECK(reaches_us(
      rig, packet("10.77.0.2", "10.77.0.1", kUdp, udp(5000, 53, "data"), {.fragment = 0x4000})));

  // IPv4 options are fine; IPv6 extension headers are not looked behind.
  CHECK(reaches_us(rig, packet("10.77.0.2", "10.77.0.1", kUdp, udp(5000, 53, "data"),
                               {.options = Bytes(40, 1)})));
  Bytes hop_by_hop = whole6;
  hop_by_hop[6] = 0;
  CHECK(!reaches_us(rig, hop_by_hop));

  before = rig.counters();
  std::vector<Bytes> malformed;
  Bytes b = whole;
  b[0] = 0x44;  // header shorter than a header
  malformed.push_back(b);
  b = whole;
  b[0] = 0x65;  // version
  malformed.push_back(b);
  b = whole;
  wire::store16(&b[2], uint16_t(whole.size() + 50));  // longer than the frame
  malformed.push_back(b);
  b = whole;
  wire::store16(&b[24], 7);  // UDP length
  malformed.push_back(b);
  b = whole;
  wire::store16(&b[24], uint16_t(whole.size()));
  malformed.push_back(b);
  b = tcp4(5000, 53);
  b[32] = 4 << 4;  // data offset
  malformed.push_back(b);
  b = tcp4(5000, 53);
  b[32] = 6 << 4;
  malformed.push_back(b);
  b = whole6;
  wire::store16(&b[4], 2000);
  malformed.push_back(b);
  for (const Bytes& packet : malformed) CHECK(!reaches_us(rig, packet));
  // Cut short at every length: never ours, and the program survives.
  for (size_t n = 1; n < whole.size(); ++n)
    CHECK(!reaches_us(rig, Bytes(whole.begin(), whole.begin() + long(n))));
  for (size_t n = 1; n < whole6.size(); n += 7)
    CHECK(!reaches_us(rig, Bytes(whole6.begin(), whole6.begin() + long(n))));
  CHECK(rig.counters().kernel_malformed >= before.kernel_malformed + malformed.size());
}

TEST_CASE("steering: a group's datagrams, where a rule names group and port" * needs_root()) {
  SteeringRig rig;
  const auto to_group = [&](const Mac& mac, const Bytes& ip_packet) {
    const Bytes frame = ethernet(mac, rig.there_mac, ip_packet);
    REQUIRE(rig.inject(frame));
    REQUIRE(rig.inject_ip(packet("10.77.0.2", "10.77.0.1", kUdp, udp(1, 65000, "marker"))));
    const auto received = rig.receive(2, 300);
    return received.size() == 2 && received[0] == frame;
  };
  const Mac group_mac = {1, 0, 0x5e, 1, 2, 3}, six_mac = {0x33, 0x33, 0, 0, 0, 1};
  const Bytes datagram = udp4(5000, 6000, "239.1.2.3");
  CHECK(!to_group(group_mac, datagram));
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 6000)));
  CHECK(!to_group(group_mac, datagram));  // any address is not any group
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("239.1.2.3", 6000)));
  CHECK(to_group(group_mac, datagram));
  CHECK(!to_group(group_mac, udp4(5000, 6001, "239.1.2.3")));
  CHECK(!to_group(group_mac, udp4(5000, 6000, "239.1.2.4")));
  CHECK(!to_group(group_mac, udp4(5000, 6000)));  // to the host, in a frame to a group
  CHECK(!reaches_us(rig, datagram));              // to the group, in a frame to the host
  CHECK(reaches_us(rig, udp4(5000, 6000)));
  CHECK(!to_group(group_mac, packet("10.77.0.2", "239.1.2.3", kTcp, tcp(5000, 6000, kSyn))));
  // What this machine sent itself comes back by the kernel.
  CHECK(!to_group(group_mac, packet("10.77.0.1", "239.1.2.3", kUdp, udp(5000, 6000, "own"))));
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("ff05::1", 6000)));
  CHECK(to_group(six_mac, packet("fd77::2", "ff05::1", kUdp, udp(5000, 6000, "six"))));
  CHECK(!to_group(six_mac, packet("fd77::2", "ff05::2", kUdp, udp(5000, 6000, "six"))));
  REQUIRE(!rig.steering->remove_local(Protocol::kUdp, at("239.1.2.3", 6000)));
  CHECK(!to_group(group_mac, datagram));
}

TEST_CASE("steering: VLAN tags and group addresses" * needs_root()) {
  SteeringRig rig;
  REQUIRE(!rig.steering->add_local(Protocol::kUdp, at("0.0.0.0", 53)));
  CHECK(reaches_us(rig, udp4(5000, 53), 0));  // a priority tag, no VLAN
  // misread.
  CHECK(!reaches_us(rig, udp4(5000, 53), 7));
  Bytes group = ethernet({0x01, 0, 0x5e, 0, 0, 1}, rig.there_mac, udp4(5000, 53));
  REQUIRE(rig.inject(group));
  CHECK(rig.receive(1, 100).empty());
  CHECK(reaches_us(rig, udp4(5000, 53)));
}

namespace {

// The kernel's TCP has answered from port 80.
bool answered(Rig& rig, const Bytes& ip_packet) {
  REQUIRE(rig.inject_ip(ip_packet));
  pollfd p{rig.packet_fd, POLLIN, 0};
  const Instant end = clock_now() + Duration::millis(300);
  while (clock_now() < end) {
    if (poll(&p, 1, 20) <= 0) continue;
    uint8_t buffer[2048];
    const ssize_t n = recv(rig.packet_fd, buffer, sizeof(buffer), 0);
    // A TCP segment from port 80 to us.
    if (n >= 54 && wire::load16(buffer + 12) == 0x800 && buffer[23] == kTcp &&
        wire::load16(buffer + 34) == 80)
      return true;
  }
  return false;
}

Bytes long_ack(uint16_t from) {
  Bytes segment = tcp(from, 80, kAck);
  segment.resize(segment.size() + 400, 'x');
  return packet("10.77.0.2", "10.77.0.1", kTcp, segment);
}

}  // namespace

TEST_CASE("steering: what is longer than a frame never makes the kernel reset a connection" *
          needs_root()) {
  SteeringRig rig;
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("0.0.0.0", 80)));
  REQUIRE(!rig.steering->set_frame_limit(200));
  CHECK(!answered(rig, long_ack(5000)));
  CHECK(reaches_us(rig, tcp4(5000, 80, kAck)));
  CHECK(rig.counters().undeliverable == 1);
}

TEST_CASE("steering: a stack that has gone leaves its connections to the kernel's reset" *
          needs_root()) {
  SteeringRig rig;
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("0.0.0.0", 80)));
  const wire::FlowKey flow{at("10.77.0.1", 80), at("10.77.0.2", 5001)};
  REQUIRE(!rig.steering->set_flow(Protocol::kTcp, flow, Owner::kOurs));
  rig.port->close();  // as kill -9 would
  CHECK(answered(rig, tcp4(5000, 80, kAck)));
  CHECK(answered(rig, tcp4(5001, 80, kAck)));
  CHECK(answered(rig, tcp4(5000, 80, kSyn)));  // the kernel may serve (or refuse) a new connection
  CHECK(rig.counters().undeliverable == 3);
}

TEST_CASE("steering: an interface takes one program; missing interfaces are named" * needs_root()) {
  VethPair veth;
  REQUIRE(veth.ok);
  Inside here(veth.here);
  SetupError error;
  // mov r0, XDP_PASS; exit: somebody else's.
  const uint64_t pass[] = {0x00000002000000b7, 0x0000000000000095};
  int program = steer::bpf::load_xdp_program(pass, "foreign", {});
  REQUIRE(program >= 0);
  int link = steer::bpf::link_xdp(program, if_nametoindex("mrh"), steer::bpf::kXdpNative);
  REQUIRE(link >= 0);
  for (auto mode : {steer::XdpMode::kAuto, steer::XdpMode::kNative, steer::XdpMode::kGeneric}) {
    error = {};
    CHECK(!steer::XdpSteering::open("mrh", {.mode = mode}, error));
    CHECK(error.code == EBUSY);
    CHECK(std::string(error.text).find("\"mrh\"") != std::string::npos);
  }
  close(link);
  close(program);
  error = {};
  auto generic = steer::XdpSteering::open("mrh", {.mode = steer::XdpMode::kGeneric}, error);
  REQUIRE(generic);
  CHECK(!generic->native());
  CHECK(!generic->joined());
  CHECK(!steer::XdpSteering::open("mrh", {.mode = steer::XdpMode::kNative}, error));
  CHECK(error.code == EBUSY);
  CHECK(!steer::XdpSteering::open("nosuch", {}, error));
  CHECK(error.code == ENODEV);
  CHECK(std::string(error.text).find("\"nosuch\"") != std::string::npos);
}

TEST_CASE("steering: rule tables are bounded" * needs_root()) {
  VethPair veth;
  REQUIRE(veth.ok);
  Inside here(veth.here);
  SetupError error;
  auto steering =
      steer::XdpSteering::open("mrh", {.flows_max = 8, .locals_max = 4, .addresses_max = 2}, error);
  REQUIRE_MESSAGE(steering, error.text);
  for (uint16_t p = 1; p <= 8; ++p) {
    REQUIRE(!steering->set_flow(Protocol::kTcp, {at("10.77.0.1", 80), at("10.77.0.2", p)},
                                Owner::kOurs));
  }
  CHECK(steering->set_flow(Protocol::kTcp, {at("10.77.0.1", 80), at("10.77.0.2", 99)}, Owner::kOurs)
            .code == ENOBUFS);
  // Changing what is there is possible though the table is full.
  CHECK(!steering->set_flow(Protocol::kTcp, {at("10.77.0.1", 80), at("10.77.0.2", 3)},
                            Owner::kKernel));
  for (uint16_t p = 1; p <= 4; ++p) REQUIRE(!steering->add_local(Protocol::kTcp, at("0.0.0.0", p)));
  CHECK(steering->add_local(Protocol::kTcp, at("0.0.0.0", 5)).code == ENOBUFS);
  REQUIRE(!steering->add_address(ip("10.0.0.1")));
  REQUIRE(!steering->add_address(ip("10.0.0.2")));
  CHECK(steering->add_address(ip("10.0.0.3")).code == ENOBUFS);
}

TEST_CASE("steering: rules are told from the maps, and why one could not be had" * needs_root()) {
  SteeringRig rig(2, {.flows_max = 1});
  REQUIRE(!rig.steering->add_local(Protocol::kTcp, at("fd77::1", 80)));
  REQUIRE(!rig.steering->add_port_block(Protocol::kUdp, 40000));
  REQUIRE(!rig.steering->set_flow(Protocol::kTcp, {at("10.77.0.1", 80), at("10.77.0.2", 4000)},
                                  Owner::kKernel));
  const auto told = [&] {
    std::set<std::string> words;
    rig.steering->each_rule([&](const steer::RuleReport& rule) {
      CHECK(std::string(rule.by) == "xdp");
      CHECK(!rule.counted);
      words.insert(steer::name_of(rule.kind) + (" " + steer::words_of(rule)));
      return true;
    });
    return words;
  };
  CHECK(told() == std::set<std::string>{
                      "local udp to any IPv4 address port 65000: queues 0, 1",
                      "local tcp to fd77::1 port 80: queues 0, 1",
                      "port-block udp to any address port 40000-40063: ours, by any queue",
                      "kernel-flow tcp to 10.77.0.1 port 80 from 10.77.0.2 port 4000: the kernel's",
                  });
  CHECK(rig.steering->refusals().empty());
  CHECK(rig.steering
            ->set_flow(Protocol::kTcp, {at("10.77.0.1", 80), at("10.77.0.2", 4001)}, Owner::kOurs)
            .code == ENOBUFS);
  REQUIRE(rig.steering->refusals().size() == 1);
  CHECK(rig.steering->refusals()[0].text ==
        "tcp to 10.77.0.1 port 80 from 10.77.0.2 port 4001: ours, by any queue: the interface's "
        "table of such rules is full");
  REQUIRE(!rig.steering->remove_port_block(Protocol::kUdp, 40000));
  CHECK(told().size() == 3);
}
