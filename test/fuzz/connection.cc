// SPDX-License-Identifier: MIT
// A connection in every state against a peer without manners. The input is a list of records of 12
// bytes, each a segment, a call of the user or time that passes. Numbers in records are relative to
// what the connection expects, so that most segments are nearly right. Looked at after each: the
// rules of a connection, what it sends, and every byte that the user reads.
#include "tcp/connection.h"

#include <algorithm>

#include "fuzz/stack.h"
#include "support/connection_rules.h"
#include "wire/ipv4.h"
#include "wire/tcp_header.h"

using namespace millrace;
using namespace millrace::fuzz;
using tcp::Connection;
using wire::Seq;

namespace {

constexpr size_t kRecord = 12;
constexpr size_t kRecordsMax = 96;
constexpr uint16_t kPort = 80, kPeerPort = 5555;

// The bytes of one direction, from any position on: they repeat after 64 KB. Tables, because a loop
// over bytes in a target counts every turn as coverage and was half of the time.
class Content {
 public:
  Content(uint8_t low, uint8_t high, uint8_t first) : bytes_(kPeriod + kMost) {
    for (uint32_t i = 0; i < bytes_.size(); ++i) {
      bytes_[i] = uint8_t(i * low + (i >> 8) * high + first);
    }
  }
  static constexpr uint32_t kMost = 16384;  // at once
  const uint8_t* from(uint32_t position) const { return &bytes_[position % kPeriod]; }

 private:
  static constexpr uint32_t kPeriod = 65536;
  std::vector<uint8_t> bytes_;
};
const Content kTheirs(31, 7, 3), kOurs(17, 5, 1);

struct Record {
  uint8_t op, flags, seq_kind, ack_kind;
  uint16_t a, b, window;
  uint8_t options, extra;
};

// What the peer knows, and may be wrong about.
struct Peer {
  Seq isn{77'000}, next{77'000}, acked;
  Seq host_isn, host_next;  // as seen on the wire
  Seq edge;                 // of the host's window
  bool host_known = false;
  bool timestamps = false;
  uint8_t host_shift = 0, shift = 0;
  uint32_t ts = 1000, ts_echo = 0;
};

class Scene {
 public:
  Scene(Memory& memory, uint8_t setup, const tcp::StackOptions& options)
      : stack_(memory, LinkType::kIp, options), setup_(setup) {}
  void open(uint8_t state);
  void play(const Record& r);
  void finish();

 private:
  void drain();
  void look_at(std::span<const uint8_t> packet);
  void send(Seq seq, Seq ack, uint8_t flags, uint16_t window, uint32_t length,
            const wire::TcpOptions& options, std::span<const uint8_t> raw = {});
  void simple(uint8_t flags, uint32_t length = 0);
  void handshake();
  void accept();
  void segment(const Record& r);
  void write(uint32_t bytes);
  void read(uint32_t bytes);
  void set_option(const Record& r);
  void icmp(const Record& r);
  void end(const Record& r);
  void check();
  Connection* found() const;
  wire::TcpOptions options_of(const Record& r, const Connection* c) const;
  wire::TcpOptions syn_options() const;

  Stack stack_;
  const uint8_t setup_;
  tcp::Listener* listener_ = nullptr;
  Connection* owned_ = nullptr;
  tcp::Core* core_ = nullptr;
  Peer peer_;
  uint32_t written_ = 0, read_ = 0;
  bool first_life_ = true;
};

wire::TcpOptions Scene::syn_options() const {
  wire::TcpOptions o;
  o.has_mss = true;
  o.mss_bytes = setup_ & 1 ? 1460 : 100;
  o.has_window_scale = setup_ & 2;
  o.window_scale = setup_ & 2 ? 3 : 0;
  o.has_timestamps = setup_ & 4;
  o.ts_value = peer_.ts;
  o.sack_permitted = setup_ & 8;
  return o;
}

void Scene::send(Seq seq, Seq ack, uint8_t flags, uint16_t window, uint32_t length,
                 const wire::TcpOptions& options, std::span<const uint8_t> raw) {
  Frame* f = stack_.pool().alloc(64);
  if (!f) return;
  const uint32_t option_bytes =
      raw.empty() ? wire::tcp_options_bytes(options) : uint32_t(raw.size() + 3) / 4 * 4;
  const uint32_t header = 20 + option_bytes;
  f->length = 20 + header + length;
  uint8_t* t = f->data() + 20;
  wire::TcpHeader h;
  h.source_port = kPeerPort, h.destination_port = kPort;
  h.seq = seq, h.ack = ack, h.flags = flags, h.window = window;
  h.header_bytes = uint8_t(raw.empty() ? header : 20);
  wire::build_tcp_header(t, h, raw.empty() ? options : wire::TcpOptions{});
  if (!raw.empty()) {
    std::memset(t + 20, 0, option_bytes);
    std::memcpy(t + 20, raw.data(), raw.size());
    t[12] = uint8_t(header / 4 << 4);
  }
  const uint32_t first = uint32_t(seq - (peer_.isn + 1)) + (flags & wire::kTcpSyn ? 1 : 0);
  std::memcpy(t + header, kTheirs.from(first), length);
  wire::build_ipv4(f->data(), {.total_bytes = uint16_t(f->length), .ttl = 64, .protocol = 6},
                   kThere4, kHere4);
  f->flags = Frame::kChecksumVerified;
  stack_.ip.input(stack_.now, 0, f);
}

void Scene::simple(uint8_t flags, uint32_t length) {
  wire::TcpOptions o;
  if (flags & wire::kTcpSyn) o = syn_options();
  o.has_timestamps = peer_.timestamps || ((flags & wire::kTcpSyn) && (setup_ & 4));
  o.ts_value = peer_.ts, o.ts_echo = peer_.ts_echo;
  send(peer_.next, flags & wire::kTcpAck ? peer_.host_next : Seq(), flags, 30'000, length, o);
  peer_.next += length + (flags & (wire::kTcpSyn | wire::kTcpFin) ? 1 : 0);
  drain();
}

void Scene::look_at(std::span<const uint8_t> p) {
  FUZZ_CHECK(p.size() >= 40 && p[0] == 0x45);
  if (p[9] != 6) return;
  const auto t = p.subspan(20);
  wire::TcpHeader h;
  FUZZ_CHECK(wire::parse_tcp_header(t, h));
  const uint64_t pseudo = wire::checksum_pseudo(kHere4, kThere4, 6, uint32_t(t.size()));
  FUZZ_CHECK(wire::checksum_fold(wire::checksum_partial(t, pseudo)) == 0xffff);
  if (h.source_port != kPort || h.destination_port != kPeerPort) return;
  if (h.flags & wire::kTcpRst) return;
  const bool syn = h.flags & wire::kTcpSyn;
  wire::TcpOptions o;
  wire::parse_tcp_options(t.subspan(20, h.header_bytes - 20u), syn, o);
  if (syn) {
    if (peer_.host_known && peer_.host_isn != h.seq) first_life_ = false;  // another connection
    peer_.host_isn = h.seq, peer_.host_known = true;
    peer_.host_shift = o.has_window_scale && (setup_ & 2) ? o.window_scale : 0;
    peer_.timestamps = o.has_timestamps && (setup_ & 4);
  }
  const uint32_t length = uint32_t(t.size()) - h.header_bytes;
  const Seq end = h.seq + length + (syn ? 1 : 0) + (h.flags & wire::kTcpFin ? 1 : 0);
  if (!peer_.host_known || end > peer_.host_next || syn) peer_.host_next = end;
  if (o.has_timestamps) peer_.ts_echo = o.ts_value;
  if (h.flags & wire::kTcpAck) peer_.acked = h.ack;
  // What is sent is what was written, whatever was acknowledged in between.
  const uint32_t first = uint32_t(h.seq - (peer_.host_isn + 1)) + (syn ? 1 : 0);
  const bool keepalive = length == 1 && h.seq + 1 < peer_.host_next;  // or may be
  if (length == 0 || keepalive || !first_life_) return;
  FUZZ_CHECK(length <= Content::kMost && first + length <= written_);
  FUZZ_CHECK(std::memcmp(&t[h.header_bytes], kOurs.from(first), length) == 0);
}

void Scene::drain() {
  stack_.ip.flush(stack_.now);
  while (stack_.port.sent_count()) {
    const std::vector<uint8_t> packet = stack_.port.take();
    look_at(packet);
  }
}

void Scene::accept() {
  if (owned_ || !listener_) return;
  owned_ = stack_.tcp->accept(*listener_, 9);
  if (owned_) core_ = &owned_->core, read_ = 0;
}

void Scene::handshake() {
  auto l = stack_.tcp->listen({kHere4, kPort}, false, 8, {}, 7);
  FUZZ_CHECK(l.ok());
  listener_ = *l;
  simple(wire::kTcpSyn);
}

// Drives the connection into a state of RFC 9293 3.3.2 by honest means.
void Scene::open(uint8_t state) {
  tcp::Tcp& tcp = *stack_.tcp;
  if (state == 1 || state == 2) {
    auto c = tcp.connect(stack_.now, {kHere4, kPort}, {kThere4, kPeerPort}, {}, 9);
    FUZZ_CHECK(c.ok());
    owned_ = *c, core_ = &owned_->core;
    drain();
    if (state == 2) simple(wire::kTcpSyn);  // both at once
    return;
  }
  handshake();
  if (state == 0) return;  // SYN-RECEIVED of a listener
  stack_.advance(Duration::millis(20));
  simple(wire::kTcpAck);
  accept();
  if (!owned_ || state == 3) return;
  const bool theirs_first = state >= 7;  // CLOSE-WAIT, LAST-ACK
  if (theirs_first) simple(wire::kTcpFin | wire::kTcpAck);
  if (state != 7) tcp.shutdown_write(stack_.now, *owned_);
  drain();
  if (state == 5 || state == 6) simple(wire::kTcpAck);    // FIN-WAIT-2
  if (state == 6) simple(wire::kTcpFin | wire::kTcpAck);  // TIME-WAIT
  if (state == 9 || state == 10) return;                  // LAST-ACK
  if (state == 4 && (setup_ & 16)) {                      // CLOSING
    peer_.host_next = peer_.host_next - 1;
    simple(wire::kTcpFin | wire::kTcpAck);
  }
}

Connection* Scene::found() const {
  if (owned_) return owned_;
  if (!core_) return nullptr;
  const wire::FlowKey key{{kHere4, kPort}, {kThere4, kPeerPort}};
  tcp::FlowNode* node = core_->find(key, core_->flow_hash(key));
  return node && !node->half_open ? static_cast<Connection*>(node) : nullptr;
}

wire::TcpOptions Scene::options_of(const Record& r, const Connection* c) const {
  wire::TcpOptions o;
  o.has_timestamps = peer_.timestamps != ((r.options & 7) == 7);
  o.ts_value = peer_.ts + (r.options & 8 ? uint32_t(int32_t(r.extra) - 128) : 0);
  o.ts_echo = peer_.ts_echo - (r.options & 16 ? r.extra : 0);
  o.sack_count = uint8_t(r.options >> 6);
  if (!c) return o;
  // Blocks on and beside the frames in flight.
  Seq at = c->snd.una + (r.extra % 8) * c->snd.mss_bytes;
  for (uint8_t i = 0; i < o.sack_count; ++i) {
    const uint32_t length = r.options & 32 ? r.b % 4000 : c->snd.mss_bytes;
    o.sack[i] = {at, at + length};
    at = r.flags & 1 ? at + length + c->snd.mss_bytes : at - length - c->snd.mss_bytes;
  }
  return o;
}

void Scene::segment(const Record& r) {
  const Connection* c = found();
  const Seq next = c ? c->rcv.nxt : peer_.next;
  const Seq edge = c ? c->rcv.edge : peer_.next + 30'000;
  const Seq una = c ? c->snd.una : peer_.host_next;
  const Seq sent = c ? c->snd.nxt : peer_.host_next;
  const uint32_t flight = uint32_t(sent - una);
  Seq seq = next, ack = una + (flight ? r.b % (flight + 1) : 0);
  switch (r.seq_kind % 8) {
    case 0:
      seq = next + r.a % 3000;
      break;
    case 1:
      seq = next - r.a % 3000;
      break;
    case 2:
      seq = edge - r.a % 1500;
      break;
    case 3:
      seq = next + r.a % 12 * 100;
      break;
    case 4:
      seq = r.extra & 1 ? peer_.isn : Seq(uint32_t(r.a) << 16 | r.b);
      break;
    default:
      break;
  }
  switch (r.ack_kind % 8) {
    case 0:
      ack = sent;
      break;
    case 1:
      ack = una;
      break;
    case 2:
      ack = sent + r.b % 8;
      break;
    case 3:
      ack = una - r.b % 70'000;
      break;
    default:
      break;
  }
  uint8_t flags = wire::kTcpAck | (r.flags & wire::kTcpPsh);
  if (r.flags >= 224)
    flags = uint8_t(r.flags << 3 | r.extra);  // anything
  else if (r.flags >= 208)
    flags |= wire::kTcpFin;
  const uint32_t length = r.op & 1 ? r.b % 1400 : 0;
  peer_.ts = 1000 + uint32_t(stack_.now.ns / 1'000'000);
  if ((r.options & 0x1f) == 0x1f) {
    const uint8_t raw[8] = {r.extra,           r.seq_kind,   r.ack_kind, uint8_t(r.a),
                            uint8_t(r.a >> 8), uint8_t(r.b), r.flags,    r.op};
    send(seq, ack, flags, r.window, length, {}, raw);
  } else {
    send(seq, ack, flags, r.window, length, options_of(r, c));
  }
}

void Scene::write(uint32_t bytes) {
  if (!owned_ || owned_->snd.queue.bytes > 60'000 || owned_->snd.fin_queued) return;
  if (owned_->state == tcp::State::kClosed) return;
  for (uint32_t done = 0; done < bytes;) {
    Frame* f = stack_.pool().available() > 1'000 ? stack_.pool().alloc() : nullptr;
    if (!f) break;
    f->length = std::min(bytes - done, stack_.tcp->payload_mss_bytes(*owned_));
    std::memcpy(f->data(), kOurs.from(written_), f->length);
    written_ += f->length, done += f->length;
    stack_.tcp->write(*owned_, f);
  }
  stack_.tcp->push(stack_.now, *owned_);
}

void Scene::read(uint32_t bytes) {
  if (!owned_) return;
  uint8_t buffer[4096];
  const uint32_t want = std::min<uint32_t>(bytes, sizeof buffer);
  const uint32_t got = stack_.tcp->read(stack_.now, *owned_, {buffer, want});
  const uint32_t base = uint32_t(owned_->irs - peer_.isn);  // another SYN may have opened it
  FUZZ_CHECK(base != 0 || std::memcmp(buffer, kTheirs.from(read_), got) == 0);
  read_ += got;
}

void Scene::set_option(const Record& r) {
  if (!owned_ || owned_->state == tcp::State::kClosed) return;
  constexpr uint8_t kOptions = uint8_t(tcp::Option::kWriterWaits) + 1;
  const auto option = tcp::Option(r.flags % kOptions);
  // As large as a system call lets them become.
  uint32_t value = r.a;
  if (option == tcp::Option::kSynRetries) value = 1 + r.a % 127u;
  if (option == tcp::Option::kLinger2) value = r.a % 122u < 121 ? r.a % 122u : UINT32_MAX;
  stack_.tcp->set_option(stack_.now, *owned_, option, value);
  if (r.extra >= 64) return;
  constexpr std::string_view kNames[] = {"reno", "cubic", "bbr"};
  (void)stack_.tcp->set_congestion_control(stack_.now, *owned_, kNames[r.extra % 3]);
}

void Scene::icmp(const Record& r) {
  const Connection* c = found();
  uint8_t quoted[8];
  wire::store16(quoted, kPort);
  wire::store16(quoted + 2, kPeerPort);
  wire::store32(quoted + 4, (c ? c->snd.una : peer_.host_next).value() + r.a % 1500);
  constexpr int kErrors[] = {EMSGSIZE, EHOSTUNREACH, ECONNREFUSED, ENETUNREACH};
  stack_.tcp->icmp_error(stack_.now, {.local = kHere4,
                                      .remote = kThere4,
                                      .quoted_transport = quoted,
                                      .error = Error{kErrors[r.flags % 4]},
                                      .mtu_bytes = r.b % 1600u});
}

void Scene::end(const Record& r) {
  if (!owned_) return accept();
  switch (r.flags % 8) {
    case 0:
      stack_.tcp->close(stack_.now, owned_);
      owned_ = nullptr;
      return;
    case 1:
      stack_.tcp->abort(stack_.now, owned_);
      owned_ = nullptr;
      return;
    default:
      stack_.tcp->shutdown_write(stack_.now, *owned_);
  }
}

void Scene::check() {
  if (!core_) return;
  for (tcp::FlowNode* n = core_->all.front(); n; n = core_->all.next(n)) {
    if (n->half_open) continue;
    const Connection& c = *static_cast<Connection*>(n);
    const char* broken = test::broken_rule(c);
    if (!broken) broken = test::broken_deadline_rule(c, stack_.now);
    if (broken) wrong(broken, "connection_rules.h", int(c.state));
  }
}

void Scene::play(const Record& r) {
  switch (r.op % 16) {
    case 8:
      write(r.a % 9000u);
      break;
    case 9:
      read(r.a % 5000u);
      break;
    case 10:
      stack_.advance(Duration::micros(r.a));
      break;
    case 11:
      stack_.advance(Duration::millis(r.extra > 250 ? r.a : r.a % 2000));
      break;
    case 12:
      if (r.extra < 64) end(r);
      break;
    case 13:
      set_option(r);
      break;
    case 14:
      if (r.extra < 64) icmp(r);
      break;
    case 15:
      stack_.port.ring_frames = r.extra < 32 ? r.extra : UINT32_MAX;
      break;
    default:
      segment(r);
  }
  if (stack_.port.ring_frames == UINT32_MAX || r.extra & 1) drain();
  if (listener_ && !owned_ && (r.extra & 3) == 0) accept();
  check();
}

void Scene::finish() {
  stack_.port.ring_frames = UINT32_MAX;
  drain();
  if (owned_) read(4096);
  if (owned_) stack_.tcp->close(stack_.now, owned_);
  owned_ = nullptr;
  for (int i = 0; i < 12; ++i) {
    stack_.advance(Duration::seconds(400));
    drain();
  }
  if (listener_) stack_.tcp->close(stack_.now, listener_);
  drain();
  FUZZ_CHECK(stack_.tcp->connection_count() == 0);
  stack_.finish();
}

Record record_of(Reader& in) {
  Record r;
  r.op = in.byte(), r.flags = in.byte(), r.seq_kind = in.byte(), r.ack_kind = in.byte();
  r.a = in.word(), r.b = in.word(), r.window = in.word();
  r.options = in.byte(), r.extra = in.byte();
  return r;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Reader in(data, size);
  const uint8_t setup = in.byte(), state = in.byte() % 11;
  static Memory memory;
  tcp::StackOptions options = Stack::options();
  options.hold_acks = setup & 32;
  if (setup & 64) options.receive_buffer_bytes = options.receive_buffer_max_bytes = 3000;
  Scene scene(memory, setup, options);
  scene.open(state);
  for (size_t n = 0; n < kRecordsMax && !in.empty(); ++n) scene.play(record_of(in));
  scene.finish();
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// Works on whole records: a byte inserted in one would change the meaning of all behind it.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  Random random = Random::from_seed(seed);
  const size_t most = std::min(kRecordsMax, (max_size - 2) / kRecord);
  size_t count = size > 2 ? (size - 2) / kRecord : 0;
  if (size < 2) data[0] = 15, data[1] = 3;
  auto at = [&](size_t n) { return data + 2 + n * kRecord; };
  const size_t n = count ? random.below(uint32_t(count)) : 0;
  switch (random.below(count == 0 ? 1 : 8)) {
    case 0:
    case 1:  // one more, anywhere
      if (count == most) break;
      std::memmove(at(n + 1), at(n), (count - n) * kRecord);
      for (size_t i = 0; i < kRecord; ++i) at(n)[i] = uint8_t(random.next_u32());
      ++count;
      break;
    case 2:
      std::memmove(at(n), at(n + 1), (count - n - 1) * kRecord);
      --count;
      break;
    case 3: {  // again, as networks do
      if (count == most) break;
      uint8_t copy[kRecord];
      std::memcpy(copy, at(n), kRecord);
      const size_t to = random.below(uint32_t(count + 1));
      std::memmove(at(to + 1), at(to), (count - to) * kRecord);
      std::memcpy(at(to), copy, kRecord);
      ++count;
      break;
    }
    case 4:
      std::swap_ranges(at(n), at(n) + kRecord, at(random.below(uint32_t(count))));
      break;
    case 5:
      data[random.below(2)] = uint8_t(random.next_u32());
      break;
    case 6:
      at(n)[random.below(kRecord)] = uint8_t(random.next_u32());
      break;
    default:
      LLVMFuzzerMutate(at(n), kRecord, kRecord);
  }
  return 2 + count * kRecord;
}
