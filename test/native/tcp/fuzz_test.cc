// SPDX-License-Identifier: MIT
// A peer without manners: random segments near the windows, with random options, against a
// connection that is used at the same time. After each one everything that must hold of a
// connection is checked.
#include "tcp/invariants.h"
#include "tcp/peer.h"

using namespace millrace;
using namespace millrace::test;
using namespace millrace::wire;

namespace {

uint32_t near(Random& r, uint32_t value) {
  switch (r.below(8)) {
    case 0:
      return value + r.below(5) - 2;
    case 1:
      return value + r.below(200000) - 100000;
    case 2:
      return r.next_u32();
    default:
      return value + r.below(4000);
  }
}

Made random_segment(Random& r, const Scene& s, const Connection& c) {
  Made m;
  const uint32_t una = c.snd.una.value();
  const uint32_t flight = uint32_t(c.snd.nxt - c.snd.una);
  m.seq = r.below(3) ? c.rcv.nxt.value() : near(r, c.rcv.nxt.value());
  m.ack = r.below(3) ? una + (flight ? r.below(flight + 1) : 0) : near(r, una);
  m.flags = kTcpAck;
  if (r.below(12) == 0) m.flags |= uint8_t(r.next_u32());
  if (r.below(40)) m.flags &= uint8_t(~(kTcpRst | kTcpSyn));
  if (r.below(60)) m.flags &= uint8_t(~kTcpFin);
  m.window = uint16_t(r.below(4) ? 30000 + r.below(30000) : r.below(3000));
  if (r.below(2)) m.payload.assign(r.below(4) ? r.below(100) : r.below(1449), 'f');
  m.options.has_timestamps = r.below(20) != 0;
  m.options.ts_value = s.ts + (r.below(10) ? 0 : r.below(50) - 25);
  m.options.ts_echo = s.ts_echo - r.below(20);
  m.options.sack_count = uint8_t(r.below(4));
  for (uint8_t i = 0; i < m.options.sack_count; ++i) {
    const uint32_t from =
        r.below(4) ? una + (flight ? r.below(flight + 1) : 0) / 36 * 36 : near(r, una);
    m.options.sack[i] = {Seq(from), Seq(from + r.below(5000))};
  }
  return m;
}

void use(Random& r, Scene& s) {
  tcp::Tcp& tcp = *s.host.tcp;
  switch (r.below(12)) {
    case 0:
    case 1:
      if (s.c->snd.queue.bytes < 200000) s.host.write(*s.c, std::string(1 + r.below(9000), 'w'));
      tcp.push(s.now, *s.c);
      break;
    case 2:
      s.host.read(s.now, *s.c, r.below(5000));
      break;
    case 3:
      if (r.below(60) == 0) tcp.shutdown_write(s.now, *s.c);
      break;
    case 4:
      tcp.set_option(s.now, *s.c, tcp::Option::kNodelay, r.below(2));
      break;
    case 5:
      if (r.below(10) == 0)
        tcp.set_option(s.now, *s.c, tcp::Option::kReceiveBuffer, r.below(100000));
      break;
    case 6: {
      if (r.below(20)) break;
      uint8_t quoted[8];
      store16(quoted, 80);
      store16(quoted + 2, 5555);
      store32(quoted + 4, near(r, s.c->snd.una.value()));
      tcp.icmp_error(s.now, {.local = kAddressA,
                             .remote = kAddressB,
                             .quoted_transport = quoted,
                             .error = Error{EMSGSIZE},
                             .mtu_bytes = r.below(1500)});
      break;
    }
    default:
      break;
  }
}

}  // namespace

TEST_CASE("random segments: every invariant holds after each, nothing leaks") {
  uint64_t resets = 0, delivered = 0;
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    CAPTURE(seed);
    Random r = Random::from_seed(seed);
    tcp::StackOptions options;
    if (seed % 3 == 0) options.receive_buffer_bytes = options.receive_buffer_max_bytes = 3000;
    Scene s(options);
    TcpOptions syn{.mss_bytes = uint16_t(seed % 2 ? 1460 : 100),
                   .window_scale = uint8_t(seed % 5),
                   .has_mss = true,
                   .has_window_scale = seed % 5 != 0,
                   .has_timestamps = seed % 4 != 0,
                   .sack_permitted = seed % 7 != 0};
    s.open(syn, 20000);
    if (seed % 5 == 0) (void)s.host.tcp->set_congestion_control(s.now, *s.c, "bbr");
    if (seed % 11 == 0) (void)s.host.tcp->set_congestion_control(s.now, *s.c, "reno");
    for (int i = 0; i < 1500; ++i) {
      use(r, s);
      if (s.c->state == tcp::State::kClosed) break;
      s.ts = 500 + uint32_t(s.now.ns / 1000000 % 1000000);
      s.send(random_segment(r, s, *s.c));
      check_connection(*s.c);
      if (r.below(3) == 0) s.drain();
      if (r.below(3) == 0) s.advance(Duration::micros(r.below(r.below(20) ? 20000 : 2000000)));
      check_connection(*s.c);
      delivered += s.c->rcv.nxt - s.c->irs > 1000 ? 1 : 0;
    }
    resets += s.c->state == tcp::State::kClosed ? 1 : 0;
    if (r.below(2)) {
      s.host.tcp->close(s.now, s.c);
    } else {
      s.host.tcp->abort(s.now, s.c);
    }
    s.drain();
    s.advance(Duration::seconds(4000));
    s.drain();
    CHECK(s.host.tcp->connection_count() == 0);
  }
  CHECK(delivered > 1000);
  CHECK(resets > 0);
}

TEST_CASE("random bytes as segments to a listener and to nobody") {
  Random r = Random::from_seed(77);
  Scene s;
  s.listen();
  for (int i = 0; i < 20000; ++i) {
    Made m{.seq = r.next_u32(), .ack = r.next_u32(), .flags = uint8_t(r.next_u32())};
    m.from_port = uint16_t(1 + r.below(50));
    m.to_port = uint16_t(r.below(2) ? 80 : 81);
    m.payload.assign(r.below(40), char(r.next_u32()));
    std::vector<uint8_t> options(4 * r.below(11));
    for (auto& o : options) o = r.below(2) ? uint8_t(r.below(12)) : uint8_t(r.next_u32());
    s.host.deliver(s.now, make_packet(m, options));
    s.drain();
    if (r.below(50) == 0) s.advance(Duration::seconds(1));
    while (Connection* c = s.host.tcp->accept(*s.listener, 1)) s.host.tcp->abort(s.now, c);
  }
  s.drain();
  s.advance(Duration::seconds(100));
  CHECK(s.host.tcp->connection_count() == 0);
}
