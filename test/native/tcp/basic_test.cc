// SPDX-License-Identifier: MIT
// Handshake, data and close over a good wire. RFC 9293 3.5, 3.6.
#include "tcp/harness.h"

using namespace millrace;
using namespace millrace::test;

TEST_CASE("handshake, data both ways, close by one side and then the other") {
  World w;
  w.establish();
  CHECK(w.a.connected[1] == 1);
  w.a.write(*w.ca, "hello");
  w.a.tcp->push(w.now, *w.ca);
  w.b.write(*w.cb, "world!");
  w.b.tcp->push(w.now, *w.cb);
  w.run(Duration::millis(100));
  CHECK(w.a.readable[1] >= 1);
  CHECK(w.b.readable[2] >= 1);
  CHECK(w.b.read(w.now, *w.cb) == "hello");
  CHECK(w.a.read(w.now, *w.ca) == "world!");
  CHECK(w.a.tcp->acked_bytes(*w.ca) == 5);
  CHECK(w.b.tcp->acked_bytes(*w.cb) == 6);

  w.a.tcp->shutdown_write(w.now, *w.ca);
  w.run(Duration::millis(100));
  CHECK(w.b.tcp->at_end(*w.cb));
  // Half-closed: the other direction still works (C7).
  w.b.write(*w.cb, "late");
  w.b.tcp->push(w.now, *w.cb);
  w.run(Duration::seconds(5));
  CHECK(w.a.read(w.now, *w.ca) == "late");
  CHECK(!w.a.tcp->at_end(*w.ca));
  w.b.tcp->close(w.now, w.cb);
  w.run(Duration::millis(100));
  CHECK(w.a.tcp->at_end(*w.ca));
  CHECK(w.b.tcp->connection_count() == 0);
  CHECK(w.b.freed == 1);
  CHECK(w.a.tcp->info(*w.ca).state == uint8_t(tcp::State::kTimeWait));
  w.a.tcp->close(w.now, w.ca);
  w.run(Duration::seconds(59));
  CHECK(w.a.tcp->connection_count() == 1);
  w.run(Duration::seconds(2));
  CHECK(w.a.tcp->connection_count() == 0);
  CHECK(w.a.freed == 1);
  CHECK(w.a.errors.empty());
  CHECK(w.b.errors.empty());
}

TEST_CASE(
    "the SYN offers MSS, scale, SACK and timestamps, and nothing is retransmitted on a good wire") {
  World w;
  w.establish();
  const Packet& syn = w.log[0];
  CHECK(syn.tcp.flags == wire::kTcpSyn);
  CHECK(syn.options.mss_bytes == 1460);
  CHECK(syn.options.sack_permitted);
  CHECK(syn.options.has_timestamps);
  CHECK(syn.options.has_window_scale);
  CHECK(syn.options.window_scale == 7);
  CHECK(w.a.tcp->payload_mss_bytes(*w.ca) == 1448);
  const Duration took = w.transfer(8'000'000);
  CHECK(took < Duration::seconds(3));
  CHECK(w.a.tcp->counters().tcp_retransmits == 0);
  CHECK(w.a.tcp->counters().tcp_timeouts == 0);
  CHECK(w.b.tcp->counters().tcp_out_of_order == 0);
}

TEST_CASE(
    "simultaneous open gives one connection, simultaneous close ends in TIME-WAIT on both sides") {
  World w;
  auto a = w.a.tcp->connect(w.now, {kAddressA, 5000}, {kAddressB, 6000}, {}, 1);
  auto b = w.b.tcp->connect(w.now, {kAddressB, 6000}, {kAddressA, 5000}, {}, 2);
  REQUIRE((a.ok() && b.ok()));
  w.ca = *a, w.cb = *b;
  w.run(Duration::millis(200));
  CHECK(w.a.connected[1] == 1);
  CHECK(w.b.connected[2] == 1);
  w.transfer(100'000);
  w.a.tcp->shutdown_write(w.now, *w.ca);
  w.b.tcp->shutdown_write(w.now, *w.cb);
  w.run(Duration::millis(200));
  CHECK(w.a.tcp->info(*w.ca).state == uint8_t(tcp::State::kTimeWait));
  CHECK(w.b.tcp->info(*w.cb).state == uint8_t(tcp::State::kTimeWait));
  w.a.tcp->close(w.now, w.ca);
  w.b.tcp->close(w.now, w.cb);
  w.run(Duration::seconds(61));
  CHECK(w.a.tcp->connection_count() == 0);
  CHECK(w.b.tcp->connection_count() == 0);
}

TEST_CASE(
    "shutdown before a simultaneous open, without memory for the FIN: it goes out afterwards") {
  World w;
  auto a = w.a.tcp->connect(w.now, {kAddressA, 5000}, {kAddressB, 6000}, {}, 1);
  auto b = w.b.tcp->connect(w.now, {kAddressB, 6000}, {kAddressA, 5000}, {}, 2);
  REQUIRE((a.ok() && b.ok()));
  w.ca = *a, w.cb = *b;
  w.a.ip.flush(w.now);
  FrameQueue taken;
  while (Frame* f = w.a.pool.alloc()) taken.push_back(f);
  w.a.tcp->shutdown_write(w.now, *w.ca);
  w.a.pool.release_all(taken);
  w.run(Duration::seconds(2));
  CHECK(w.b.tcp->at_end(*w.cb));
  w.b.tcp->close(w.now, w.cb);
  w.a.tcp->close(w.now, w.ca);
  w.run(Duration::seconds(61));
  CHECK(w.a.tcp->connection_count() == 0);
}

TEST_CASE("closed port: connect is refused") {
  World w;
  w.connect();
  w.run(Duration::millis(100));
  CHECK(w.a.errors[1] == ECONNREFUSED);
  w.a.tcp->close(w.now, w.ca);
  CHECK(w.a.tcp->connection_count() == 0);
}

TEST_CASE("memory of a connection stays small") {
  MESSAGE("sizeof(Connection) = ", sizeof(Connection),
          ", sizeof(HalfOpen) = ", sizeof(tcp::HalfOpen),
          ", sizeof(Listener) = ", sizeof(Listener));
  CHECK(sizeof(Connection) <= 1344);
  CHECK(sizeof(tcp::HalfOpen) <= 256);
}
