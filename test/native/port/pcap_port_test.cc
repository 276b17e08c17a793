// SPDX-License-Identifier: MIT
#include "port/wrap/pcap_port.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "native/port/port_test_kit.h"
#include "port/loopback/loopback_port.h"

using namespace millrace;
using namespace millrace::test;

namespace {

std::string scratch_path() {
  static int count = 0;
  return "/tmp/millrace-pcap-test-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

std::vector<uint8_t> slurp(const std::string& path) {
  std::vector<uint8_t> bytes;
  if (FILE* file = std::fopen(path.c_str(), "rb")) {
    int c;
    while ((c = std::fgetc(file)) != EOF) bytes.push_back(uint8_t(c));
    std::fclose(file);
  }
  return bytes;
}

uint32_t u32(const std::vector<uint8_t>& bytes, size_t at) {
  uint32_t value = 0;
  REQUIRE(at + 4 <= bytes.size());
  std::memcpy(&value, bytes.data() + at, 4);
  return value;
}

struct Record {
  uint64_t stamp_ns;
  uint32_t length;
  uint32_t direction;  // 1 in, 2 out; 0 in classic pcap
  std::vector<uint8_t> bytes;
};

// Reads pcapng block by block, checking the lengths at both ends of each.
std::vector<Record> read_pcapng(const std::string& path, uint32_t link_type) {
  const auto bytes = slurp(path);
  std::vector<Record> records;
  size_t at = 0;
  int blocks = 0;
  while (at < bytes.size()) {
    const uint32_t type = u32(bytes, at), length = u32(bytes, at + 4);
    REQUIRE(length >= 12);
    REQUIRE(length % 4 == 0);
    REQUIRE(at + length <= bytes.size());
    CHECK(u32(bytes, at + length - 4) == length);
    if (blocks == 0) {
      CHECK(type == 0x0a0d0d0a);
      CHECK(u32(bytes, at + 8) == 0x1a2b3c4d);
    } else if (blocks == 1) {
      CHECK(type == 1);
      CHECK((u32(bytes, at + 8) & 0xffff) == link_type);
      CHECK(u32(bytes, at + 16) == (9u | 1u << 16));
      CHECK(u32(bytes, at + 20) == 9);
    } else {
      CHECK(type == 6);
      const uint32_t kept = u32(bytes, at + 20);
      Record record{
          uint64_t(u32(bytes, at + 12)) << 32 | u32(bytes, at + 16), u32(bytes, at + 24), 0, {}};
      record.bytes.assign(bytes.begin() + at + 28, bytes.begin() + at + 28 + kept);
      const size_t options = at + 28 + ((kept + 3) & ~3u);
      CHECK(u32(bytes, options) == (2u | 4u << 16));
      record.direction = u32(bytes, options + 4);
      records.push_back(record);
    }
    ++blocks;
    at += length;
  }
  return records;
}

struct Fixture {
  explicit Fixture(PcapOptions options) : pool(256, 2048) {
    auto opened = PcapPort::open(std::make_unique<LoopbackPort>(pool, 1500, 64), options);
    REQUIRE(opened.ok());
    port = std::move(*opened);
  }
  ~Fixture() {
    port.reset();
    CHECK(pool.available() == pool.capacity());
  }
  void pass(uint32_t number, uint32_t length, Instant now) {
    send_one(*port, pool, now, make_frame(pool, number, length));
    auto got = receive_all(*port, now + Duration{5});
    CHECK(got.size() == 1);
    release_all(pool, got);
  }
  FramePool pool;
  std::unique_ptr<PcapPort> port;
};

}  // namespace

TEST_CASE("pcapng holds both directions with nanosecond stamps and wall-clock offset") {
  const std::string path = scratch_path();
  {
    Fixture f({.path = path, .to_wall_clock = Duration::seconds(1'700'000'000)});
    f.pass(1, 61, Instant{123});
    f.pass(2, 1500, Instant{456});
    CHECK(slurp(path).empty());  // nothing is written before it is due
    CHECK(f.port->next_event() == Instant{123} + Duration::millis(200));
    f.port->flush(Instant{123} + Duration::millis(200));
    CHECK(f.port->next_event().is_never());
    CHECK(f.port->pcap_stats().recorded == 4);
    const auto records = read_pcapng(path, 101);
    REQUIRE(records.size() == 4);
    CHECK(records[0].stamp_ns == 1'700'000'000'000'000'123);
    CHECK(records[0].direction == 2);
    CHECK(records[1].stamp_ns == 1'700'000'000'000'000'128);
    CHECK(records[1].direction == 1);
    for (const Record& r : records) {
      const uint32_t number = r.length == 61 ? 1 : 2;
      REQUIRE(r.bytes.size() == r.length);
      for (uint32_t i = 0; i < r.length; ++i) REQUIRE(r.bytes[i] == content(number, i));
    }
    struct stat info {};
    CHECK(stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0600);
    f.port->close();
  }
  unlink(path.c_str());
}

TEST_CASE("classic pcap: nanosecond magic, raw IP, frames cut to the snap length") {
  const std::string path = scratch_path();
  {
    Fixture f({.path = path, .format = PcapFormat::kPcap, .snap_bytes = 96});
    f.pass(3, 200, Instant{2'000'000'007});
    f.port->close();
  }
  const auto bytes = slurp(path);
  REQUIRE(bytes.size() == 24 + 2 * (16 + 96));
  CHECK(u32(bytes, 0) == 0xa1b23c4d);
  CHECK(u32(bytes, 16) == 96);
  CHECK(u32(bytes, 20) == 101);
  CHECK(u32(bytes, 24) == 2);
  CHECK(u32(bytes, 28) == 7);
  CHECK(u32(bytes, 32) == 96);
  CHECK(u32(bytes, 36) == 200);
  unlink(path.c_str());
}

TEST_CASE("a single file stops at its limit; more files rotate and overwrite the oldest") {
  const std::string path = scratch_path();
  {
    Fixture f({.path = path, .file_bytes_max = 1000});
    for (uint32_t i = 0; i < 20; ++i) f.pass(i, 100, Instant{i});
    f.port->close();
    CHECK(f.port->pcap_stats().dropped > 0);
    CHECK(f.port->pcap_stats().recorded + f.port->pcap_stats().dropped == 40);
  }
  CHECK(slurp(path).size() <= 1000);
  CHECK(read_pcapng(path, 101).size() == 6);
  {
    Fixture f({.path = path, .file_bytes_max = 1000, .files_max = 3});
    for (uint32_t i = 0; i < 20; ++i) f.pass(i, 100, Instant{i});
    f.port->close();
    CHECK(f.port->pcap_stats().dropped == 0);
    CHECK(f.port->pcap_stats().recorded == 40);
  }
  size_t kept = 0;
  for (const char* suffix : {"", ".1", ".2"}) {
    const auto records = read_pcapng(path + suffix, 101);
    CHECK(slurp(path + suffix).size() <= 1000);
    kept += records.size();
    unlink((path + suffix).c_str());
  }
  CHECK(kept == 6 + 6 + 4);  // 40 records, 6 to a file: the seventh file holds 4
  CHECK(slurp(path + ".3").empty());
}

TEST_CASE("a full buffer loses records, never frames; a bad path is an error") {
  const std::string path = scratch_path();
  {
    Fixture f({.path = path, .snap_bytes = 2048, .buffer_bytes = 0});
    for (uint32_t i = 0; i < 100; ++i) f.pass(i, 1400, Instant{i});
    CHECK(f.port->pcap_stats().dropped > 0);
    f.port->flush(Instant{100});
    const uint64_t before = f.port->pcap_stats().recorded;
    f.pass(1, 1400, Instant{101});
    CHECK(f.port->pcap_stats().recorded == before + 2);
    f.port->close();
  }
  CHECK(read_pcapng(path, 101).size() > 40);
  unlink(path.c_str());
  FramePool pool(16, 2048);
  auto opened = PcapPort::open(std::make_unique<LoopbackPort>(pool, 1500, 64),
                               {.path = "/nonexistent-folder/x.pcapng"});
  CHECK(!opened.ok());
  CHECK(opened.error().code == ENOENT);
}
