// SPDX-License-Identifier: MIT
#include "stack/stack.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <tuple>

#include "port/loopback/loopback_port.h"
#include "stack/script_side.h"

using namespace millrace;

namespace {

// Counts what is allocated while it lives.
struct Allocations {
  static inline std::atomic<uint64_t> count{0};
  static inline std::atomic<bool> counting{false};
  Allocations() { counting = true; }
  ~Allocations() { counting = false; }
};

void* allocate(size_t bytes) {
  if (Allocations::counting) ++Allocations::count;
  if (void* memory = std::malloc(bytes ? bytes : 1)) return memory;
  std::abort();
}

}  // namespace

void* operator new(size_t bytes) {
  return allocate(bytes);
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return allocate(bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

namespace {

const wire::IpAddress kLocal = wire::IpAddress::v4(0x7f000001);
constexpr uint32_t kBudget = 256;

struct Bed {
  explicit Bed(uint32_t frames = 2048) : Bed(config(frames)) {}
  explicit Bed(const StackConfig& settings) : stack(settings, Random::from_seed(1), Instant{}) {
    const uint32_t mtu = 16384 - FramePool::kTxHeadroom;
    net::LinkConfig link;
    link.mtu_bytes = mtu;
    stack.add_port(std::make_unique<LoopbackPort>(stack.pool(), mtu, 1024), link, true);
  }
  static StackConfig config(uint32_t frames) {
    StackConfig c;
    c.frames = frames;
    c.frame_bytes = 16384;
    c.shared.sockets = 1024;
    c.shared.events = 256;
    c.tcp.connections_max = 512;
    return c;
  }
  bool turn(Duration step = Duration::micros(100)) {
    now = now + step;
    return stack.turn(now, kBudget);
  }
  // A connection: {client slot, server slot}.
  std::pair<uint32_t, uint32_t> connect(uint16_t port = 80) {
    const wire::Endpoint to{kLocal, port};
    if (!stack.tcp_reaches(to)) REQUIRE(stack.listen(now, to, false, 128).ok());
    auto client = stack.connect(now, {wire::IpAddress::v4(0), 0}, to);
    REQUIRE(client.ok());
    uint32_t server = UINT32_MAX;
    bool connected = false;
    turn();
    for (const ScriptEvent& event : script.events()) {
      if (event.type == Event::kAccept) server = event.args[0];
      if (event.type == Event::kConnect) connected = event.args[0] == 0;
    }
    REQUIRE(connected);
    REQUIRE(server != UINT32_MAX);
    return {client->slot, server};
  }

  Stack stack;
  ScriptSide script{stack};
  Instant now{};
};

// With ACKs that wait for an answer, and a connection whose handshake is over.
struct HoldingBed : Bed {
  HoldingBed() : Bed(holding()) {
    std::tie(client, server) = connect();
    settle();
  }
  static StackConfig holding() {
    StackConfig c = config(2048);
    c.tcp.hold_acks = true;
    return c;
  }
  int settle() {
    int turns = 1;
    while (turn()) ++turns;
    return turns;
  }
  uint64_t frames_sent() { return stack.ports()[0]->stats().tx_frames; }

  uint32_t client, server;
};

}  // namespace

TEST_CASE("a connection inside one stack: bytes, end and close") {
  Bed bed;
  auto [client, server] = bed.connect();
  bed.script.read_on(client);
  bed.script.read_on(server);
  bed.script.write(client, "hello");
  bed.turn();
  auto events = bed.script.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].type == Event::kData);
  CHECK(events[0].slot == server);
  CHECK(events[0].bytes == "hello");
  bed.script.command(Command::kShutdown, client);
  bed.turn();
  events = bed.script.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].type == Event::kEnd);
  bed.script.write(server, "bye");
  bed.script.command(Command::kClose, server);
  bed.turn();
  events = bed.script.events();
  REQUIRE(events.size() == 2);
  CHECK(events[0].bytes == "bye");
  CHECK(events[1].type == Event::kEnd);
  bed.script.command(Command::kClose, client);
  bed.turn(Duration::millis(1));
  bed.turn(Duration::millis(500));
  CHECK_FALSE(bed.stack.has_unsettled());
  CHECK(bed.stack.sockets_live() == 1);  // the listener
}

TEST_CASE("bytes wait in the stack while nobody reads, and none is lost") {
  Bed bed;
  auto [client, server] = bed.connect();
  std::string sent, got;
  // More than the receive buffer: the window closes.
  for (int round = 0; round < 400; ++round) {
    std::string piece(3000, char('a' + round % 26));
    sent += piece.substr(0, bed.script.write(client, piece));
    bed.turn();
  }
  CHECK(bed.script.events().empty());
  bed.script.read_on(server);
  for (int i = 0; i < 20000 && got.size() < sent.size(); ++i) {
    bed.turn();
    for (const ScriptEvent& event : bed.script.events()) {
      if (event.type == Event::kData) got += event.bytes;
    }
    if (bed.script.needs_slabs()) bed.script.supply(8);
  }
  CHECK(got.size() == sent.size());
  CHECK(got == sent);
}

TEST_CASE("many bytes for a reader with memory of its own stay in the stack until it takes them") {
  Bed bed;
  auto [client, server] = bed.connect();
  bed.script.read_on(server, Reading::kOwn);
  bed.turn();
  const std::string few(100, 'a'), many(150'000, 'b'), more(5'000, 'c');
  bed.script.write(client, few);
  bed.turn();
  auto events = bed.script.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].bytes == few);
  CHECK(bed.script.write_bulk(bed.now, client, many) == many.size());
  bed.turn();
  bed.script.write(client, more);
  bed.script.command(Command::kShutdown, client);
  bed.turn();
  // An event for each 64 KiB, the last with the little that came later, and the end behind them.
  events = bed.script.events();
  REQUIRE(events.size() == 4);
  std::string got;
  for (int i = 0; i < 3; ++i) {
    CHECK(events[i].type == Event::kBulk);
    const std::string bytes = bed.script.take(bed.now, events[i]);
    CHECK(bytes.size() == (i < 2 ? 65536 : 155'000 - 2 * 65536));
    got += bytes;
  }
  CHECK(got == many + more);
  CHECK(events[3].type == Event::kEnd);
  CHECK_FALSE(bed.turn());
  CHECK(bed.script.events().empty());
}

TEST_CASE(
    "a bulk event whose bytes have gone with an earlier one brings none; one of a closed socket "
    "neither") {
  Bed bed;
  auto [client, server] = bed.connect();
  bed.script.read_on(server, Reading::kOwn);
  bed.turn();
  bed.script.write_bulk(bed.now, client, std::string(60'000, 'x'));
  bed.turn();
  bed.script.write_bulk(bed.now, client, std::string(10'000, 'y'));
  bed.turn();
  auto events = bed.script.events();
  REQUIRE(events.size() == 2);
  CHECK(bed.script.take(bed.now, events[0]).size() == 65536);
  // Bytes that come while an event is under way go with it.
  bed.script.write_bulk(bed.now, client, std::string(7'000, 'z'));
  for (int i = 0; i < 3; ++i) bed.turn(Duration::millis(50));  // Nagle
  CHECK(bed.script.events().empty());
  CHECK(bed.script.take(bed.now, events[1]).size() == 77'000 - 65536);
  bed.script.write_bulk(bed.now, client, std::string(9'000, 'z'));
  bed.turn();
  events = bed.script.events();
  REQUIRE(events.size() == 1);
  bed.script.command(Command::kClose, server);
  bed.turn();
  CHECK(bed.script.take(bed.now, events[0]).empty());
  bed.turn();
  // Unread bytes: the peer gets a reset.
  bed.script.read_on(client);
  bed.turn();
  events = bed.script.events();
  REQUIRE(!events.empty());
  CHECK(events.back().type == Event::kError);
}

TEST_CASE("bytes written by call right after the link became narrower fit into it") {
  Bed bed;
  auto [client, server] = bed.connect();
  bed.script.read_on(server, Reading::kOwn);
  bed.turn();
  net::LinkConfig narrow;
  narrow.mtu_bytes = 4000;
  bed.stack.ip().link_changed(narrow);
  CHECK(bed.script.write_bulk(bed.now, client, std::string(30'000, 'x')) == 30'000);
  bed.turn();
  const auto events = bed.script.events();
  REQUIRE(events.size() == 1);
  CHECK(bed.script.take(bed.now, events[0]).size() == 30'000);
}

TEST_CASE("little packet memory: writers' stock leaves frames for the port and for handshakes") {
  for (const uint32_t frames : {1024u, 1100u, 1536u}) {
    Bed bed(frames);
    CHECK(bed.stack.pool().available() >= frames / 4 * 3);
  }
}

TEST_CASE("bytes written by call and by command, taken in all ways, arrive in order") {
  for (const uint32_t seed : {1u, 2u, 3u}) {
    Bed bed;
    Random random = Random::from_seed(seed);
    auto [client, server] = bed.connect();
    bed.script.read_on(server, Reading::kOwn);
    std::string sent, got;
    std::vector<ScriptEvent> waiting;
    bool ended = false;
    for (int round = 0; round < 20'000 && !ended; ++round) {
      std::string text(random.below(3) ? random.below(300) + 1 : random.below(90'000) + 1, '\0');
      for (char& c : text) c = char(random.next_u32());
      if (round < 600 && sent.size() - got.size() < 200'000) {
        const bool call = random.below(2) == 0;
        sent += text.substr(0, call ? bed.script.write_bulk(bed.now, client, text)
                                    : bed.script.write(client, text));
      }
      if (round == 600) bed.script.command(Command::kShutdown, client);
      if (random.below(20) == 0) {
        bed.script.read_on(server, random.below(2) ? Reading::kOwn : Reading::kOn);
      }
      bed.turn();
      for (ScriptEvent& event : bed.script.events()) waiting.push_back(std::move(event));
      if (bed.script.needs_slabs()) bed.script.supply(8);
      if (random.below(3)) continue;
      for (const ScriptEvent& event : waiting) {
        REQUIRE_FALSE(ended);
        if (event.type == Event::kData) got += event.bytes;
        if (event.type == Event::kBulk) got += bed.script.take(bed.now, event);
        ended = event.type == Event::kEnd;
      }
      waiting.clear();
    }
    CHECK(ended);
    CHECK(sent.size() > 1'000'000);
    CHECK(got == sent);
  }
}

TEST_CASE("an answer carries the acknowledgement; without an answer it goes with the next turn") {
  HoldingBed bed;
  bed.script.read_on(bed.client);
  bed.script.read_on(bed.server);
  bed.settle();
  const uint64_t before = bed.frames_sent();
  bed.script.write(bed.client, "question");
  bed.turn();
  CHECK(bed.frames_sent() - before == 1);
  bed.script.write(bed.server, "answer");
  CHECK(bed.turn());  // more to do: an ACK is held
  CHECK(bed.frames_sent() - before == 2);
  CHECK_FALSE(bed.turn());  // the client did not answer: it goes on its own
  CHECK(bed.frames_sent() - before == 3);
  CHECK_FALSE(bed.turn());
  CHECK(bed.frames_sent() - before == 3);
}

TEST_CASE("the answer of who begins to read late carries the acknowledgement, too") {
  // As that of a server: the first bytes often come in the turn in which it hears of a connection.
  for (const bool answers : {true, false}) {
    CAPTURE(answers);
    HoldingBed bed;
    const uint64_t before = bed.frames_sent();
    bed.script.write(bed.client, "question");
    CHECK(bed.turn());
    bed.script.read_on(bed.server);
    CHECK(bed.turn());
    CHECK(bed.frames_sent() - before == 1);
    if (answers) bed.script.write(bed.server, "answer");
    bed.turn();
    CHECK(bed.frames_sent() - before == 2);
    bed.settle();
    CHECK(bed.frames_sent() - before == (answers ? 3 : 2));  // the client's own ACK
  }
}

TEST_CASE("who does not read has its bytes acknowledged all the same") {
  HoldingBed bed;
  const uint64_t before = bed.frames_sent();
  bed.script.write(bed.client, "question");
  CHECK(bed.settle() <= 3);
  CHECK(bed.frames_sent() - before == 2);
}

TEST_CASE("what arrives later in a turn gets its own time") {
  // Or the answer to a segment of this very turn would seem to take no time, and loss recovery
  // (RACK) would wait a quarter of nothing for what is only late.
  struct Recorder final : LoopbackPort {
    using LoopbackPort::LoopbackPort;
    uint32_t receive(Instant now, std::span<Frame*> out) override {
      const uint32_t n = LoopbackPort::receive(now, out);
      if (n > 0) times.push_back(now);
      return n;
    }
    std::vector<Instant> times;
  };
  static Instant clock_now;
  clock_now = Instant{} + Duration::seconds(1);
  StackConfig config = Bed::config(2048);
  config.clock = [] { return clock_now = clock_now + Duration::micros(7); };
  Stack stack(config, Random::from_seed(1), Instant{});
  auto recorder = std::make_unique<Recorder>(stack.pool(), 8192, 1024);
  const std::vector<Instant>& times = recorder->times;
  stack.add_port(std::move(recorder), {.mtu_bytes = 8192}, true);
  const wire::Endpoint to{kLocal, 80};
  REQUIRE(stack.listen(clock_now, to, false, 8).ok());
  REQUIRE(stack.connect(clock_now, {wire::IpAddress::v4(0), 0}, to).ok());
  stack.turn(clock_now, kBudget);
  REQUIRE(times.size() == 3);  // SYN, SYN-ACK, ACK
  CHECK(times[1] - times[0] == Duration::micros(7));
  CHECK(times[2] - times[1] == Duration::micros(7));
}

TEST_CASE("small writes of one turn arrive as one chunk") {
  Bed bed;
  auto [client, server] = bed.connect();
  bed.script.read_on(server);
  for (int i = 0; i < 100; ++i) bed.script.write(client, "0123456789");
  bed.turn();
  const auto events = bed.script.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].bytes.size() == 1000);
}

TEST_CASE("a burst of segments is one event and has one acknowledgement") {
  StackConfig config = Bed::config(2048);
  config.tcp.hold_acks = true;
  config.tcp.defaults.nodelay = true;
  Bed bed(config);
  auto [client, server] = bed.connect();
  bed.script.read_on(server);
  while (bed.turn()) {
  }
  const auto frames = [&] { return bed.stack.ports()[0]->stats().tx_frames; };
  const uint64_t before = frames();
  for (int i = 0; i < 4; ++i) bed.script.write(client, std::string(15'000, char('a' + i)));
  bed.turn();
  CHECK(frames() - before == 4);  // what the writes filled, cut into segments
  const auto events = bed.script.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].bytes.size() == 60'000);
  CHECK(events[0].bytes.substr(14'999, 2) == "ab");
  while (bed.turn()) {
  }
  CHECK(frames() - before == 5);
}

TEST_CASE("a reset is told behind the bytes that came before it") {
  Bed bed;
  auto [client, server] = bed.connect();
  bed.script.write(client, "last words");
  bed.turn();
  bed.script.command(Command::kAbort, client);
  bed.turn();
  CHECK(bed.script.events().empty());  // nobody reads
  bed.script.read_on(server);
  bed.turn();
  const auto events = bed.script.events();
  REQUIRE(events.size() == 2);
  CHECK(events[0].bytes == "last words");
  CHECK(events[1].type == Event::kError);
  CHECK(events[1].args[0] == ECONNRESET);
}

TEST_CASE("who waits for room hears of a reset though it does not read") {
  for (const bool waits_before : {true, false}) {
    CAPTURE(waits_before);
    Bed bed;
    auto [client, server] = bed.connect();
    const auto wait = [&, server = server] {  // clang 14 takes no part of a binding by itself
      bed.stack.shared().socket(server)[socket_word::kWantWritable] = 1;
      bed.script.command(Command::kResume, server);
    };
    // The peer does not read: the window closes, and no room is made.
    const std::string piece(16'000, 'x');
    while (bed.script.write(server, piece) == piece.size()) bed.turn();
    if (waits_before) wait();
    bed.turn();
    CHECK(bed.script.events().empty());
    bed.script.command(Command::kAbort, client);
    bed.turn();
    if (!waits_before) {
      CHECK(bed.script.events().empty());
      wait();
      bed.turn();
    }
    const auto events = bed.script.events();
    REQUIRE(events.size() == 1);
    CHECK(events[0].slot == server);
    CHECK(events[0].type == Event::kError);
    CHECK(events[0].args[0] == ECONNRESET);
  }
}

TEST_CASE("a late command for a closed socket only gives its frame back") {
  Bed bed;
  auto [client, server] = bed.connect();
  const uint32_t generation = bed.stack.shared().socket(client)[socket_word::kGeneration];
  bed.script.command(Command::kClose, client);
  bed.turn();
  const uint32_t before = bed.stack.pool().available();
  const uint32_t frame = bed.script.take_frame();
  uint32_t* args = bed.script.begin(Command::kWrite, client);
  args[-1] = generation;
  args[0] = frame;
  args[1] = 10;
  bed.script.publish();
  bed.turn();
  CHECK(bed.stack.pool().available() == before);
}

TEST_CASE("a 4-tuple in TIME-WAIT may be used again by its holder after a second") {
  StackConfig config = Bed::config(2048);
  config.tcp.reuse_time_wait = true;
  Bed bed(config);
  REQUIRE(bed.stack.listen(bed.now, {kLocal, 80}, false, 8).ok());
  const auto connect = [&] { return bed.stack.connect(bed.now, {kLocal, 40000}, {kLocal, 80}); };
  auto first = connect();
  REQUIRE(first.ok());
  bed.turn();
  uint32_t server = UINT32_MAX;
  for (const ScriptEvent& event : bed.script.events()) {
    if (event.type == Event::kAccept) server = event.args[0];
  }
  REQUIRE(server != UINT32_MAX);
  bed.script.command(Command::kClose, first->slot);
  bed.turn();
  bed.script.command(Command::kClose, server);
  bed.turn();
  bed.turn(Duration::millis(500));
  CHECK(connect().error() == Error{EADDRNOTAVAIL});
  bed.turn(Duration::millis(600));
  auto second = connect();
  REQUIRE(second.ok());
  bed.turn();
  bool connected = false;
  for (const ScriptEvent& event : bed.script.events()) {
    connected |= event.type == Event::kConnect && event.args[0] == 0;
  }
  CHECK(connected);
}

TEST_CASE("a connection never gets a local port on which somebody listens") {
  Bed bed;
  std::vector<bool> listening(65536);
  for (uint32_t port = 32768; port < 33500; ++port) {
    REQUIRE(bed.stack.listen(bed.now, {kLocal, uint16_t(port)}, false, 8).ok());
    listening[port] = true;
  }
  for (int i = 0; i < 200; ++i) {
    auto client = bed.stack.connect(bed.now, {wire::IpAddress::v4(0), 0}, {kLocal, 32768});
    REQUIRE(client.ok());
    CHECK_FALSE(listening[client->flow.local.port]);
    bed.stack.close_now(bed.now, client->slot);
  }
}

TEST_CASE("the last free port of the range is found, and that there is none is said") {
  StackConfig config = Bed::config(2048);
  config.shared.sockets = 30'000;
  config.tcp.listeners_max = 30'000;
  Bed bed(config);
  for (uint32_t port = 32768; port < 61000; ++port) {
    if (port != 47'000) REQUIRE(bed.stack.listen(bed.now, {kLocal, uint16_t(port)}, false, 8).ok());
  }
  const auto connect = [&] {
    return bed.stack.connect(bed.now, {wire::IpAddress::v4(0), 0}, {kLocal, 40'000});
  };
  auto client = connect();
  REQUIRE(client.ok());
  CHECK(client->flow.local.port == 47'000);
  CHECK(connect().error() == Error{EADDRNOTAVAIL});
}

TEST_CASE("a full event ring only delays: every connection is told in the end") {
  Bed bed;
  std::vector<uint32_t> servers;
  for (int i = 0; i < 120; ++i) servers.push_back(bed.connect().second);
  size_t told = 0;
  for (int round = 0; round < 3; ++round) {
    for (uint32_t server : servers) {
      bed.script.write(server, "x");
      bed.script.write(server, "y");
    }
    bed.turn();
  }
  for (uint32_t server : servers) bed.script.command(Command::kClose, server);
  for (int i = 0; i < 10; ++i) {
    bed.turn();
    told += bed.script.events().size();
  }
  CHECK(told == 0);  // clients do not read
}

TEST_CASE("datagrams: boundaries, empty ones and the sender's address") {
  Bed bed;
  auto a = bed.stack.bind(bed.now, {kLocal, 5000}, false);
  auto b = bed.stack.bind(bed.now, {kLocal, 5001}, false);
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  bed.script.read_on(*b);
  CHECK(bed.stack.udp_limit_bytes(*a, {kLocal, 5001}) > 1400);
  CHECK(bed.stack.udp_limit_bytes(*a, {kLocal, 5002}) == 0);  // nobody of ours: the kernel's
  bed.script.send(*a, "one", {kLocal, 5001});
  bed.script.send(*a, "", {kLocal, 5001});
  bed.script.send(*a, "three", {kLocal, 5001});
  bed.turn();
  const auto events = bed.script.events();
  REQUIRE(events.size() == 3);
  CHECK(events[0].bytes == "one");
  CHECK(events[1].bytes.empty());
  CHECK(events[2].bytes == "three");
  CHECK(events[2].args[3] == 5000);
  CHECK(get_address(events[2].args + 4) == kLocal);
}

TEST_CASE("a datagram survives the closing of its socket") {
  Bed bed;
  auto a = bed.stack.bind(bed.now, {kLocal, 5000}, false);
  auto b = bed.stack.bind(bed.now, {kLocal, 5001}, false);
  REQUIRE(a.ok());
  REQUIRE(b.ok());
  bed.script.read_on(*b);
  bed.script.send(*a, "last words", {kLocal, 5001});
  bed.stack.close_now(bed.now, *a);
  bed.turn();
  const auto events = bed.script.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].bytes == "last words");
}

TEST_CASE("memory is fixed at the start: whatever the sockets do, nothing is allocated") {
  Bed bed;
  const auto round = [&] {
    std::vector<std::pair<uint32_t, uint32_t>> pairs;
    for (int i = 0; i < 40; ++i) pairs.push_back(bed.connect());
    Result<uint32_t> udp = Error{1}, other = Error{1};
    {
      const Allocations watch;
      udp = bed.stack.bind(bed.now, {kLocal, 5000}, false);
      other = bed.stack.bind(bed.now, {kLocal, 5001}, false);
    }
    bed.script.read_on(*udp);
    for (int n = 0; n < 6; ++n) {
      for (auto [client, server] : pairs) {
        bed.script.read_on(n % 2 ? client : server);
        bed.script.write(client, std::string(3000, 'c'));
        bed.script.write(server, std::string(1000, 's'));
      }
      bed.script.send(*other, "datagram", {kLocal, 5000});
      {
        const Allocations watch;
        bed.turn(Duration::millis(5));
        bed.turn(Duration::millis(50));
      }
      (void)bed.script.events();
      if (bed.script.needs_slabs()) bed.script.supply(8);
    }
    bool abort = false;
    for (auto [client, server] : pairs) {
      bed.script.command((abort = !abort) ? Command::kAbort : Command::kClose, client);
      bed.script.command(Command::kClose, server);
    }
    const Allocations watch;
    bed.stack.close_now(bed.now, *udp);
    bed.stack.close_now(bed.now, *other);
    for (int i = 0; i < 5; ++i) bed.turn(Duration::seconds(30));
  };
  Allocations::count = 0;
  round();
  round();
  CHECK(Allocations::count == 0);
  {  // and that would have been noticed
    const Allocations watch;
    delete new std::string(100, 'x');
  }
  CHECK(Allocations::count > 0);
}

TEST_CASE("past connections_max connect() is ENOBUFS and SYNs are dropped, until one has gone") {
  StackConfig config = Bed::config(2048);
  config.tcp.connections_max = 5;  // two connections with both ends, and one end
  Bed bed(config);
  const auto connect = [&] {
    return bed.stack.connect(bed.now, {wire::IpAddress::v4(0), 0}, {kLocal, 80});
  };
  const auto counter = [&](std::string_view wanted) {
    uint64_t found = 0;
    bed.stack.each_counter([&](const char*, const char* name, const char*, uint64_t value) {
      if (wanted == name) found = value;
    });
    return found;
  };
  const auto first = bed.connect();
  const auto second = bed.connect();
  auto third = connect();
  REQUIRE(third.ok());
  for (int i = 0; i < 20; ++i) bed.turn(Duration::millis(10));
  CHECK(bed.script.events().empty());  // its SYN has no answer, which is not a connection
  CHECK(counter("tcp_connections_full") == 1);
  CHECK(connect().error() == Error{ENOBUFS});
  CHECK(counter("connections") == 5);
  // Those that are there go on.
  bed.script.read_on(first.second);
  bed.script.write(first.first, "still here");
  bed.turn();
  auto events = bed.script.events();
  REQUIRE(events.size() == 1);
  CHECK(events[0].bytes == "still here");
  // One goes: the SYN that is sent again after a second finds room.
  bed.script.command(Command::kAbort, second.first);
  bed.script.command(Command::kClose, second.second);
  for (int i = 0; i < 120; ++i) bed.turn(Duration::millis(10));
  bool connected = false, accepted = false;
  for (const ScriptEvent& event : bed.script.events()) {
    connected |= event.type == Event::kConnect && event.slot == third->slot && event.args[0] == 0;
    accepted |= event.type == Event::kAccept;
  }
  CHECK(connected);
  CHECK(accepted);
}

TEST_CASE("past the number of sockets nothing opens, and what is accepted waits for one") {
  StackConfig config = Bed::config(2048);
  config.shared.sockets = 4;  // the listener, two ends, and a client without its other end
  Bed bed(config);
  const auto [client, server] = bed.connect();
  auto late = bed.stack.connect(bed.now, {wire::IpAddress::v4(0), 0}, {kLocal, 80});
  REQUIRE(late.ok());
  bed.turn();
  for (const ScriptEvent& event : bed.script.events()) CHECK(event.type != Event::kAccept);
  CHECK(bed.stack.connect(bed.now, {wire::IpAddress::v4(0), 0}, {kLocal, 80}).error() ==
        Error{ENOBUFS});
  CHECK(bed.stack.listen(bed.now, {kLocal, 81}, false, 8).error() == Error{ENOBUFS});
  CHECK(bed.stack.bind(bed.now, {kLocal, 5000}, false).error() == Error{ENOBUFS});
  bed.script.command(Command::kClose, client);
  bed.turn();
  bed.turn();
  bool accepted = false;
  for (const ScriptEvent& event : bed.script.events()) accepted |= event.type == Event::kAccept;
  CHECK(accepted);
  (void)server;
}

TEST_CASE("with every frame taken by JavaScript the stack goes on, and offers frames again") {
  Bed bed(1024);
  auto [client, server] = bed.connect();
  bed.script.read_on(server);
  std::vector<uint32_t> hoard;
  for (uint32_t f = bed.script.take_frame(); f != UINT32_MAX; f = bed.script.take_frame()) {
    hoard.push_back(f);
    bed.turn();
  }
  CHECK(hoard.size() >= 512);
  CHECK(bed.stack.pool().available() >= 200);  // kept back for receiving
  bed.stack.shared().words()[header::kFrameWaiters] = 1;
  for (uint32_t frame : hoard) {
    bed.script.begin(Command::kReturnFrame, 0)[0] = frame;
    bed.script.publish();
  }
  bed.turn();
  const auto events = bed.script.events();
  REQUIRE_FALSE(events.empty());
  CHECK(events.back().type == Event::kFrames);
}
