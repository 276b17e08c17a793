// SPDX-License-Identifier: MIT
#include "udp/udp.h"

#include <doctest/doctest.h>

#include <random>

#include "support/net_world.h"

using namespace millrace;
using namespace millrace::test;
using udp::Datagram;
using udp::Socket;
using udp::Udp;

namespace {

struct Notes : udp::Handler {
  void on_readable(Socket&) override { ++readable; }
  void on_error(Socket& socket, Error error) override {
    errors.push_back(error);
    on = &socket;
  }
  int readable = 0;
  std::vector<Error> errors;
  Socket* on = nullptr;
};

struct UdpWorld : World {
  Notes notes;
  Udp udp;
  explicit UdpWorld(LinkType link = LinkType::kIp, const udp::Options& options = {})
      : World(link), udp(pool, ip, notes, options) {
    ip.set_handler(17, &udp);
  }
  ~UdpWorld() { udp.close_all(); }
  Socket& bind(const char* address, uint16_t port, bool dual_stack = false) {
    Result<Socket*> socket = udp.bind({test::ip(address), port}, dual_stack, port);
    REQUIRE(socket.ok());
    return **socket;
  }
  void arrive(const Endpoint& from, const Endpoint& to, const Bytes& payload) {
    input_ip(udp_packet(from, to, payload));
  }
  Error send(Socket& socket, const Endpoint& to, const Bytes& payload) {
    return udp.send(now, socket, port.make_frame(payload), to);
  }
  // The payload of the oldest datagram; fails the test if there is none.
  Bytes read(Socket& socket, Datagram* out = nullptr) {
    Datagram d = udp.receive(socket);
    REQUIRE(d.frame);
    Bytes bytes(d.frame->data(), d.frame->data() + d.frame->length);
    if (out) *out = d;
    pool.release(d.frame);
    return bytes;
  }
};

}  // namespace

TEST_CASE("datagrams arrive with their boundaries, senders and destinations, empty ones too") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  CHECK(w.udp.user(socket) == 53);
  CHECK(!w.udp.readable(socket));
  CHECK(!w.udp.receive(socket).frame);
  w.arrive({w.peer4, 1000}, {w.us4, 53}, {1, 2, 3});
  w.arrive({w.peer4, 0}, {w.us4, 53}, {});  // source port 0: no reply wanted
  w.arrive({w.peer4, 1001}, {w.us4, 53}, Bytes(1400, 7));
  CHECK(w.notes.readable == 3);
  CHECK(w.udp.readable(socket));
  Datagram d;
  CHECK(w.read(socket, &d) == Bytes{1, 2, 3});
  CHECK(d.from == Endpoint{w.peer4, 1000});
  CHECK(d.to == w.us4);
  CHECK(w.read(socket, &d).empty());
  CHECK(d.from.port == 0);
  CHECK(w.read(socket) == Bytes(1400, 7));
  CHECK(!w.udp.readable(socket));
}

TEST_CASE("bytes behind the datagram's length are no part of it") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  const Bytes datagram = test::udp({w.peer4, 1}, {w.us4, 53}, {1, 2});
  w.input_ip(ipv4(w.peer4, w.us4, datagram + Bytes(6, 0xee)));
  CHECK(w.read(socket) == Bytes{1, 2});
}

TEST_CASE("malformed datagrams: dropped, counted, not answered") {
  UdpWorld w;
  w.bind("0.0.0.0", 53);
  w.bind("::", 53);
  const auto with_length = [&](uint32_t length) {
    Bytes d = test::udp({w.peer4, 1}, {w.us4, 53}, {1, 2});
    put16(d, 4, length);
    return ipv4(w.peer4, w.us4, d);
  };
  for (uint32_t length : {0u, 1u, 7u, 11u, 65535u}) w.input_ip(with_length(length));
  for (size_t size = 0; size < 8; ++size) w.input_ip(ipv4(w.peer4, w.us4, Bytes(size)));
  CHECK(w.udp.counters().udp_bad_length == 13);

  Bytes bad = udp_packet({w.peer4, 1}, {w.us4, 53}, {1, 2});
  bad.back() ^= 1;
  w.input_ip(bad);
  bad = udp_packet({w.peer6, 1}, {w.us6, 53}, {1, 2});
  bad.back() ^= 1;
  w.input_ip(bad);
  bad = udp_packet({w.peer6, 1}, {w.us6, 53}, {1, 2});
  put16(bad, 46, 0);  // RFC 8200 8.1: no checksum over IPv6
  w.input_ip(bad);
  CHECK(w.udp.counters().udp_bad_checksum == 3);
  CHECK(w.notes.readable == 0);
  CHECK(w.take_ip().empty());
}

TEST_CASE(
    "checksums: absent over IPv4, vouched for by the port, left unfinished by a virtual device") {
  UdpWorld w;
  Socket& four = w.bind("0.0.0.0", 53);
  Socket& six = w.bind("::", 53);
  Bytes none = udp_packet({w.peer4, 1}, {w.us4, 53}, {1, 2});
  put16(none, 26, 0);
  w.input_ip(none);
  CHECK(w.read(four) == Bytes{1, 2});

  Bytes wrong = udp_packet({w.peer4, 1}, {w.us4, 53}, {3});
  wrong[26] ^= 0x40;
  w.input_ip(wrong, Frame::kChecksumVerified);
  CHECK(w.read(four) == Bytes{3});
  w.input_ip(wrong, Frame::kChecksumMayBePartial);
  CHECK(w.udp.counters().udp_bad_checksum == 1);

  Bytes partial = udp_packet({w.peer6, 1}, {w.us6, 53}, {4, 5, 6});
  const uint16_t pseudo = uint16_t(~naive_checksum(pseudo_header(w.peer6, w.us6, 17, 11)));
  put16(partial, 46, pseudo);
  w.input_ip(partial);
  CHECK(w.udp.counters().udp_bad_checksum == 2);
  w.input_ip(partial, Frame::kChecksumMayBePartial);
  CHECK(w.read(six) == Bytes{4, 5, 6});
  w.input_ip(udp_packet({w.peer6, 1}, {w.us6, 53}, {7}), Frame::kChecksumMayBePartial);
  CHECK(w.read(six) == Bytes{7});
}

TEST_CASE("the most specific socket gets the datagram") {
  UdpWorld w;
  const IpAddress other = ip("192.0.2.11");
  w.ip.address_changed(World::kIfindex, other, 24, true);
  Socket& wildcard = w.bind("0.0.0.0", 53);
  Socket& bound = w.bind("192.0.2.10", 53);
  Socket& dual = w.bind("::", 53, true);
  Socket& connected = w.bind("192.0.2.10", 54);
  w.arrive({w.peer4, 9}, {w.us4, 53}, {1});
  CHECK(w.read(bound) == Bytes{1});
  w.arrive({w.peer4, 9}, {other, 53}, {2});
  CHECK(w.read(wildcard) == Bytes{2});
  w.arrive({w.peer6, 9}, {w.us6, 53}, {3});
  CHECK(w.read(dual) == Bytes{3});
  w.udp.close(&wildcard);
  w.arrive({w.peer4, 9}, {other, 53}, {4});
  Datagram d;
  CHECK(w.read(dual, &d) == Bytes{4});  // the dual-stack socket takes IPv4 when nobody else does
  CHECK(d.from.address.is_v4());

  CHECK(!w.udp.connect(connected, {w.peer4, 9}));
  Socket& beside = w.bind("192.0.2.10", 54);
  w.arrive({w.peer4, 9}, {w.us4, 54}, {5});
  CHECK(w.read(connected) == Bytes{5});
  w.arrive({w.peer4, 10}, {w.us4, 54}, {6});
  w.arrive({ip("192.0.2.21"), 9}, {w.us4, 54}, {7});
  CHECK(w.read(beside) == Bytes{6});
  CHECK(w.read(beside) == Bytes{7});
  CHECK(!w.udp.readable(connected));
}

TEST_CASE("an IPv6 socket without dual stack takes no IPv4") {
  UdpWorld w;
  w.bind("::", 53);
  w.arrive({w.peer4, 9}, {w.us4, 53}, {1});
  CHECK(w.notes.readable == 0);
  CHECK(w.udp.counters().udp_no_port == 1);
  CHECK(!w.udp.would_receive({w.us4, 53}, {w.peer4, 9}));
  CHECK(w.udp.would_receive({w.us6, 53}, {w.peer6, 9}));
  CHECK(!w.udp.would_receive({w.us6, 54}, {w.peer6, 9}));
}

TEST_CASE("a port that nobody has is answered, in both families, rate limited") {
  UdpWorld w;
  const Bytes four = udp_packet({w.peer4, 9}, {w.us4, 77}, Bytes(30, 2));
  w.input_ip(four);
  const Bytes reply = w.take_ip();
  const Bytes expected = icmp_packet(w.us4, w.peer4, 3, 3, 0, four);
  REQUIRE(reply.size() == expected.size());
  CHECK(Bytes(reply.begin() + 20, reply.end()) == Bytes(expected.begin() + 20, expected.end()));
  const Bytes six = udp_packet({w.peer6, 9}, {w.us6, 77}, Bytes(30, 2));
  w.input_ip(six);
  CHECK(w.take_ip() == icmp_packet(w.us6, w.peer6, 1, 4, 0, six));
  // Behind options and extension headers the quote still begins with the IP header.
  const Bytes options =
      ipv4(w.peer4, w.us4, test::udp({w.peer4, 9}, {w.us4, 77}, {1}), {.options = {1, 1, 1, 0}});
  w.input_ip(options);
  const Bytes quoting = w.take_ip();
  CHECK(Bytes(quoting.begin() + 28, quoting.end()) == options);
  for (int i = 0; i < 100; ++i) w.input_ip(four);
  CHECK(w.ip.counters().icmp_errors_sent == 7);
  CHECK(w.udp.counters().udp_no_port == 103);
}

TEST_CASE("what is sent is a correct datagram, whatever the length") {
  UdpWorld w;
  Socket& four = w.bind("0.0.0.0", 53);
  Socket& six = w.bind("::", 54);
  std::mt19937 random(12);
  for (size_t size :
       {size_t(0), size_t(1), size_t(2), size_t(3), size_t(511), size_t(1471), size_t(1472)}) {
    Bytes payload(size);
    for (uint8_t& b : payload) b = uint8_t(random());
    CHECK(!w.send(four, {w.peer4, 9}, payload));
    const Bytes packet = w.take_ip();
    CHECK(Bytes(packet.begin() + 20, packet.end()) ==
          test::udp({w.us4, 53}, {w.peer4, 9}, payload));
    CHECK(packet[9] == 17);
    if (size > 1452) continue;
    CHECK(!w.send(six, {w.peer6, 9}, payload));
    CHECK(w.take_ip() == udp_packet({w.us6, 54}, {w.peer6, 9}, payload));
  }
  CHECK(w.send(four, {w.peer4, 9}, Bytes(1473)) == Error{EMSGSIZE});
  CHECK(w.send(six, {w.peer6, 9}, Bytes(1453)) == Error{EMSGSIZE});
  CHECK(w.udp.counters().udp_send_failed == 2);
}

TEST_CASE("sends that cannot be: errors, and no frame is lost") {
  UdpWorld w;
  w.ip.address_changed(1, ip("127.0.0.1"), 8, true);
  Socket& four = w.bind("0.0.0.0", 53);
  Socket& six = w.bind("::", 54);
  Socket& dual = w.bind("::", 55, true);
  CHECK(w.send(four, {w.peer4, 0}, {1}) == Error{EINVAL});
  CHECK(w.send(four, {w.peer6, 9}, {1}) == Error{EAFNOSUPPORT});
  CHECK(w.send(six, {w.peer4, 9}, {1}) == Error{ENETUNREACH});
  CHECK(w.send(four, {ip("224.0.0.1"), 9}, {1}) == Error{ENETUNREACH});
  CHECK(w.send(four, {ip("127.0.0.1"), 9}, {1}) == Error{ENETUNREACH});
  CHECK(!w.send(dual, {w.peer4, 9}, {1}));
  CHECK(wire::load16(w.take_ip().data() + 20) == 55);
}

TEST_CASE("binding: bounded, unique, only to addresses of ours") {
  UdpWorld w(LinkType::kIp, {.sockets_max = 3});
  Socket& first = w.bind("0.0.0.0", 53);
  CHECK(w.udp.bind({ip("0.0.0.0"), 53}, false, 0).error() == Error{EADDRINUSE});
  CHECK(w.udp.bind({ip("0.0.0.0"), 0}, false, 0).error() == Error{EINVAL});
  CHECK(w.udp.bind({ip("192.0.2.99"), 53}, false, 0).error() == Error{EADDRNOTAVAIL});
  w.bind("::", 53);
  w.bind("192.0.2.10", 53);
  CHECK(w.udp.bind({ip("0.0.0.0"), 54}, false, 0).error() == Error{ENFILE});
  w.udp.close(&first);
  w.bind("0.0.0.0", 53);
}

TEST_CASE("a connected socket has the path's source, hears its peer alone, and forgets it again") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  CHECK(w.udp.connect(socket, {w.peer4, 0}) == Error{EINVAL});
  CHECK(w.udp.connect(socket, {w.peer6, 9}) == Error{EAFNOSUPPORT});
  CHECK(w.udp.connect(socket, {ip("224.0.0.1"), 9}) == Error{ENETUNREACH});
  CHECK(!w.udp.connect(socket, {w.peer4, 9}));
  w.arrive({w.peer4, 9}, {w.us4, 53}, {1});
  w.arrive({w.peer4, 8}, {w.us4, 53}, {2});
  w.arrive({ip("192.0.2.21"), 9}, {w.us4, 53}, {3});
  CHECK(w.read(socket) == Bytes{1});
  CHECK(!w.udp.readable(socket));
  CHECK(w.udp.counters().udp_no_port == 2);
  CHECK(!w.udp.connect(socket, {ip("192.0.2.21"), 9}));  // anew
  w.arrive({w.peer4, 9}, {w.us4, 53}, {4});
  w.arrive({ip("192.0.2.21"), 9}, {w.us4, 53}, {5});
  CHECK(w.read(socket) == Bytes{5});
  w.udp.disconnect(socket);
  w.udp.disconnect(socket);
  w.arrive({w.peer4, 1}, {w.us4, 53}, {6});
  CHECK(w.read(socket) == Bytes{6});
}

TEST_CASE("ICMP errors: hard ones to connected sockets, nothing to others") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  const auto error = [&](uint8_t type, uint8_t code, uint16_t from_port = 53,
                         uint16_t to_port = 9) {
    w.input_ip(icmp_packet(w.peer4, w.us4, type, code, 1300,
                           udp_packet({w.us4, from_port}, {w.peer4, to_port}, Bytes(4))));
  };
  error(3, 3);
  CHECK(w.notes.errors.empty());  // not connected
  CHECK(!w.udp.connect(socket, {w.peer4, 9}));
  error(3, 1);  // soft
  error(11, 0);
  error(3, 3, 53, 10);  // another peer
  error(3, 3, 54, 9);   // another socket
  CHECK(w.notes.errors.empty());
  error(3, 3);
  CHECK(w.notes.errors == std::vector<Error>{Error{ECONNREFUSED}});
  CHECK(w.notes.on == &socket);
  error(3, 13);
  CHECK(w.notes.errors.back() == Error{EHOSTUNREACH});
  CHECK(w.udp.counters().udp_icmp_errors == 2);
  CHECK(w.udp.counters().udp_icmp_ignored == 5);
}

TEST_CASE("packet too big narrows the path, for the sockets of the port only") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  const auto too_big = [&](uint16_t from_port) {
    w.input_ip(icmp_packet(ip("203.0.113.1"), w.us4, 3, 4, 1300,
                           udp_packet({w.us4, from_port}, {w.peer4, 9}, Bytes(1400))));
  };
  CHECK(!w.send(socket, {w.peer4, 9}, Bytes(1472)));
  too_big(54);  // nobody of ours sent that
  CHECK(!w.send(socket, {w.peer4, 9}, Bytes(1472)));
  too_big(53);
  w.ip.flush(w.now);
  w.port.clear();
  CHECK(!w.send(socket, {w.peer4, 9}, Bytes(1272)));
  Bytes packet = w.take_ip();
  CHECK(wire::load16(packet.data() + 6) == 0x4000);
  // Beyond it: routers may cut the datagram up.
  CHECK(!w.send(socket, {w.peer4, 9}, Bytes(1273)));
  packet = w.take_ip();
  CHECK(packet.size() == 1301);
  CHECK(wire::load16(packet.data() + 6) == 0);
  CHECK(naive_checksum(Bytes(packet.begin(), packet.begin() + 20)) == 0);
  CHECK(w.send(socket, {w.peer4, 9}, Bytes(1473)) == Error{EMSGSIZE});  // beyond the link
  CHECK(!w.send(socket, {ip("192.0.2.21"), 9}, Bytes(1472)));
  CHECK(w.notes.errors.empty());
  CHECK(!w.udp.connect(socket, {w.peer4, 9}));
  too_big(53);
  CHECK(w.notes.errors == std::vector<Error>{Error{EMSGSIZE}});
}

TEST_CASE("over a narrow IPv6 path a datagram is sent in fragments that make it up again") {
  for (size_t size : {size_t(1232), size_t(1233), size_t(1452)}) {
    CAPTURE(size);
    UdpWorld w;
    Socket& socket = w.bind("::", 53);
    Bytes payload(size);
    for (size_t i = 0; i < size; ++i) payload[i] = uint8_t(i * 11 + i / 256);
    w.input_ip(icmp_packet(ip("2001:db8:f::1"), w.us6, 2, 0, 1280,
                           udp_packet({w.us6, 53}, {w.peer6, 9}, Bytes(1400))));
    CHECK(!w.send(socket, {w.peer6, 9}, payload));
    const Bytes whole = test::udp({w.us6, 53}, {w.peer6, 9}, payload);
    Bytes joined;
    uint32_t identification = 0;
    w.ip.flush(w.now);
    const uint32_t pieces = w.port.sent_count();
    CHECK(pieces == (size > 1232 ? 2 : 1));
    for (uint32_t i = 0; i < pieces && pieces > 1; ++i) {
      const Bytes packet = w.take_ip();
      REQUIRE(packet.size() > 48);
      CHECK(packet.size() <= 1280);
      CHECK(wire::load16(packet.data() + 4) == packet.size() - 40);
      CHECK(packet[6] == 44);
      CHECK(packet[40] == 17);
      CHECK(wire::load16(packet.data() + 42) == (joined.size() | (i + 1 < pieces ? 1 : 0)));
      if (i == 0) identification = wire::load32(packet.data() + 44);
      CHECK(wire::load32(packet.data() + 44) == identification);
      joined.insert(joined.end(), packet.begin() + 48, packet.end());
    }
    if (pieces > 1) CHECK(joined == whole);
    CHECK(w.ip.counters().ip_fragments_sent == (pieces > 1 ? 2 : 0));
    CHECK(w.send(socket, {w.peer6, 9}, Bytes(1453)) == Error{EMSGSIZE});
    w.port.clear();
  }
}

TEST_CASE("a link too narrow for IPv6 refuses what does not fit it") {
  UdpWorld w;
  Socket& socket = w.bind("::", 53);
  for (uint32_t mtu : {0u, 40u, 48u, 60u, 1279u}) {
    Route route;
    route.destination = w.peer6;
    route.prefix_length = 128;
    route.ifindex = World::kIfindex;
    route.mtu_bytes = mtu;
    CHECK(!w.ip.route_changed(route, true));
    CHECK(w.send(socket, {w.peer6, 9}, Bytes(1300)) == (mtu ? Error{EMSGSIZE} : kOk));
  }
}

TEST_CASE("a neighbour that does not answer is no error of the socket") {
  UdpWorld w(LinkType::kEthernet);
  Socket& socket = w.bind("0.0.0.0", 53);
  CHECK(!w.udp.connect(socket, {w.peer4, 9}));
  CHECK(!w.send(socket, {w.peer4, 9}, {1}));
  w.wait(Duration::millis(3100));
  CHECK(w.udp.counters().udp_icmp_ignored == 1);
  CHECK(w.notes.errors.empty());
  CHECK(w.send(socket, {w.peer4, 9}, {1}) == Error{EHOSTUNREACH});
}

TEST_CASE("an unconnected socket chooses its source anew when the addresses change") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  CHECK(!w.send(socket, {w.peer4, 9}, {1}));
  Bytes packet = w.take_ip();
  CHECK(Bytes(packet.begin() + 12, packet.begin() + 16) == address_bytes(w.us4));
  w.ip.address_changed(World::kIfindex, ip("192.0.2.77"), 24, true);
  w.ip.address_changed(World::kIfindex, w.us4, 24, false);
  CHECK(!w.send(socket, {w.peer4, 9}, {1}));
  packet = w.take_ip();
  CHECK(Bytes(packet.begin() + 12, packet.begin() + 16) == address_bytes(ip("192.0.2.77")));
}

TEST_CASE("two sockets with different sources share no path") {
  UdpWorld w;
  w.ip.address_changed(World::kIfindex, ip("192.0.2.77"), 24, true);
  Socket& a = w.bind("192.0.2.10", 53);
  Socket& b = w.bind("192.0.2.77", 53);
  for (int i = 0; i < 4; ++i) {
    CHECK(!w.send(i % 2 ? a : b, {w.peer4, 9}, {1}));
    const Bytes packet = w.take_ip();
    CHECK(packet[15] == (i % 2 ? 10 : 77));
  }
}

TEST_CASE("sending to more peers than the path table holds reaches each of them") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  for (uint32_t round = 0; round < 2; ++round) {
    for (uint32_t i = 0; i < 1000; ++i) {
      const IpAddress peer = IpAddress::v4(0xc6336400 + i * 257);
      CHECK(!w.send(socket, {peer, 9}, {1}));
      const Bytes packet = w.take_ip();
      CHECK(Bytes(packet.begin() + 16, packet.begin() + 20) == address_bytes(peer));
    }
  }
}

TEST_CASE("a group's datagrams go to who has joined it, by interface and source") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 5000);
  Socket& other = w.bind("0.0.0.0", 5001);
  const IpAddress group = test::ip("239.1.2.3"), elsewhere = test::ip("239.1.2.4");
  const IpAddress any = IpAddress::v4(0);
  const auto arrive = [&](const IpAddress& from, const IpAddress& to, uint16_t port = 5000) {
    w.arrive({from, 1}, {to, port}, {1, 2, 3});
    return w.udp.readable(socket) && w.read(socket) == Bytes{1, 2, 3};
  };
  CHECK(!arrive(w.peer4, group));
  CHECK(!w.udp.join(socket, {group, any, 0}));
  CHECK(w.udp.join(socket, {group, any, 0}).code == EADDRINUSE);
  CHECK(w.udp.join(socket, {w.peer4, any, 0}).code == EINVAL);
  CHECK(w.udp.join(socket, {test::ip("ff05::1"), IpAddress(), 0}).code == EINVAL);
  CHECK(w.udp.join(socket, {group, any, 7}).code == EINVAL);  // no such interface
  CHECK(arrive(w.peer4, group));
  CHECK(!arrive(w.peer4, elsewhere));
  CHECK(!arrive(w.peer4, group, 5001));
  CHECK(!w.udp.readable(other));
  CHECK(w.port.sent_count() == 0);  // and nobody is told of a closed port
  // A connected socket hears no group; afterwards it does again.
  CHECK(!w.udp.connect(socket, {w.peer4, 1}));
  CHECK(!arrive(w.peer4, group));
  w.udp.disconnect(socket);
  CHECK(arrive(w.peer4, group));
  // Source-specific.
  CHECK(w.udp.leave(socket, {elsewhere, any, 0}).code == EADDRNOTAVAIL);
  CHECK(!w.udp.leave(socket, {group, any, 0}));
  CHECK(!arrive(w.peer4, group));
  CHECK(!w.udp.join(socket, {group, w.peer4, 0}));
  CHECK(arrive(w.peer4, group));
  CHECK(!arrive(test::ip("192.0.2.99"), group));
  CHECK(!w.udp.in_group(socket, elsewhere));
  int left = 0;
  CHECK(!w.udp.join(socket, {group, test::ip("192.0.2.99"), 0}));
  w.udp.leave_all(socket, [&](const IpAddress& address) { left += address == group; });
  CHECK(left == 1);
  CHECK(!arrive(w.peer4, group));
}

TEST_CASE("memberships are bounded, and go with their socket") {
  UdpWorld w(LinkType::kIp, {.memberships_max = 3});
  Socket& socket = w.bind("::", 5000, true);
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK(!w.udp.join(socket, {IpAddress::v4(0xef000001 + i), IpAddress::v4(0), 0}));
  }
  CHECK(w.udp.join(socket, {test::ip("ff05::1"), IpAddress(), 0}).code == ENOBUFS);
  w.udp.close(&socket);
  Socket& next = w.bind("::", 5000);
  CHECK(!w.udp.join(next, {test::ip("ff05::1"), IpAddress(), 0}));
  w.arrive({w.peer6, 1}, {test::ip("ff05::1"), 5000}, {4});
  CHECK(w.read(next) == Bytes{4});
  CHECK(w.udp.join(next, {IpAddress::v4(0xef000001), IpAddress::v4(0), 0}).code == EINVAL);
}

TEST_CASE("segments and strange protocols to a group are nobody's, and nobody is told") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 5000);
  const IpAddress group = test::ip("239.1.2.3");
  CHECK(!w.udp.join(socket, {group, IpAddress::v4(0), 0}));
  for (uint8_t protocol : {6, 1, 4, 132}) {
    w.input_ip(ip_packet(w.peer4, group, protocol, Bytes(40, 8)));
  }
  w.arrive({w.peer4, 1}, {group, 5001}, {1});
  w.ip.flush(w.now);
  CHECK(w.port.sent_count() == 0);
  CHECK(!w.udp.readable(socket));
}

TEST_CASE("a frame to a group holds a packet to a group, and no other") {
  UdpWorld w(LinkType::kEthernet);
  Socket& socket = w.bind("0.0.0.0", 5000);
  const IpAddress group = test::ip("239.1.2.3");
  CHECK(!w.udp.join(socket, {group, IpAddress::v4(0), 0}));
  const Bytes own(World::kMac.begin(), World::kMac.end()), to_group{1, 0, 0x5e, 1, 2, 3};
  const Bytes peer(World::kPeerMac.begin(), World::kPeerMac.end());
  const auto reaches = [&](const Bytes& mac, const IpAddress& to) {
    w.input(ethernet(mac, peer, 0x0800, udp_packet({w.peer4, 1}, {to, 5000}, {1})));
    return w.udp.readable(socket) && w.read(socket) == Bytes{1};
  };
  CHECK(reaches(own, w.us4));
  CHECK(reaches(to_group, group));
  CHECK(!reaches(to_group, w.us4));
  CHECK(!reaches(own, group));
  CHECK(!reaches({2, 7, 7, 7, 7, 7}, w.us4));
}

TEST_CASE("a full receive buffer drops and counts; reading makes room") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  Socket& other = w.bind("0.0.0.0", 54);
  w.udp.set_receive_buffer(socket, 10 * 768);
  for (int i = 0; i < 30; ++i) w.arrive({w.peer4, 9}, {w.us4, 53}, Bytes(100, uint8_t(i)));
  CHECK(w.udp.counters().udp_received == 10);
  CHECK(w.udp.counters().udp_queue_full == 20);
  w.arrive({w.peer4, 9}, {w.us4, 54}, {1});
  CHECK(w.read(other) == Bytes{1});
  for (int i = 0; i < 4; ++i) CHECK(w.read(socket) == Bytes(100, uint8_t(i)));
  for (int i = 0; i < 30; ++i) w.arrive({w.peer4, 9}, {w.us4, 53}, Bytes(100, 99));
  CHECK(w.udp.counters().udp_received == 15);
  // One datagram always fits, however small the buffer.
  w.udp.set_receive_buffer(other, 1);
  w.arrive({w.peer4, 9}, {w.us4, 54}, Bytes(1400));
  CHECK(w.read(other) == Bytes(1400));
}

TEST_CASE("sockets that nobody reads leave most of the pool to the rest of the stack") {
  UdpWorld w;
  for (uint16_t port = 1; port <= 100; ++port) {
    w.bind("0.0.0.0", port);
    for (int i = 0; i < 50; ++i) w.arrive({w.peer4, 9}, {w.us4, port}, {1});
  }
  CHECK(w.pool.available() == w.pool.capacity() * 3 / 4);
  CHECK(w.udp.counters().udp_memory_full == 5000 - w.pool.capacity() / 4);
  w.udp.close_all();
  CHECK(w.pool.available() == w.pool.capacity());
  // What is read does not count any more.
  Socket& socket = w.bind("0.0.0.0", 53);
  for (int i = 0; i < 1000; ++i) {
    w.arrive({w.peer4, 9}, {w.us4, 53}, {7});
    CHECK(w.read(socket) == Bytes{7});
  }
}

TEST_CASE("the time to live is the socket's") {
  UdpWorld w;
  Socket& socket = w.bind("0.0.0.0", 53);
  CHECK(!w.send(socket, {w.peer4, 9}, {1}));
  CHECK(w.take_ip()[8] == 64);
  w.udp.set_ttl(socket, 3);
  CHECK(!w.send(socket, {w.peer4, 9}, {1}));
  CHECK(w.take_ip()[8] == 3);
}

TEST_CASE("random datagrams and random socket operations leak nothing") {
  UdpWorld w(LinkType::kIp, {.sockets_max = 8, .receive_buffer_bytes = 5000});
  std::mt19937 random(13);
  std::vector<Socket*> sockets;
  for (int i = 0; i < 20000; ++i) {
    const bool v4 = random() % 2;
    const Endpoint from{v4 ? w.peer4 : w.peer6, uint16_t(random() % 4 + 1)};
    const Endpoint to{v4 ? w.us4 : w.us6, uint16_t(random() % 4 + 50)};
    Socket* some = sockets.empty() ? nullptr : sockets[random() % sockets.size()];
    switch (random() % 10) {
      case 0: {
        Result<Socket*> socket =
            w.udp.bind({random() % 2 ? to.address : ip(random() % 2 ? "0.0.0.0" : "::"), to.port},
                       random() % 2, uint32_t(i));
        if (socket.ok()) sockets.push_back(*socket);
        break;
      }
      case 1:
        if (some && random() % 2) {
          w.udp.close(some);
          std::erase(sockets, some);
        }
        break;
      case 2:
        if (some) (void)w.udp.connect(*some, from);
        break;
      case 3:
        if (some) w.udp.disconnect(*some);
        break;
      case 4:
        if (some) (void)w.send(*some, from, Bytes(random() % 1600));
        break;
      case 5:
        if (some && w.udp.readable(*some)) w.read(*some);
        break;
      default: {
        Bytes packet = udp_packet(from, to, Bytes(random() % 300));
        if (random() % 4 == 0) packet[random() % packet.size()] = uint8_t(random());
        w.input_ip(packet);
      }
    }
    if (i % 100 == 0) {
      w.ip.flush(w.now);
      w.port.clear();
    }
  }
  CHECK(w.udp.counters().udp_received > 1000);
}
