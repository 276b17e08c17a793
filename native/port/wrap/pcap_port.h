// SPDX-License-Identifier: MIT
// A port that writes down what passes: it wraps any other and records its frames, both directions,
// in a pcapng or pcap file with nanosecond stamps (draft-ietf-opsawg-pcapng, -pcap). Records gather
// in a bounded buffer that goes to the file with write(2) in flush(); when the buffer is full or
// the disk fails, records are dropped and counted, never frames. It knows the link type, not the
// protocols.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "port/port.h"
#include "port/wrap/complete_packets.h"

namespace millrace {

enum class PcapFormat : uint8_t { kPcapng, kPcap };

struct PcapOptions {
  std::string path;
  PcapFormat format = PcapFormat::kPcapng;
  uint32_t snap_bytes = 65536;      // of each frame
  uint32_t buffer_bytes = 1 << 20;  // waiting for the disk
  // A file is left at this size. With one file recording ends there; with more, `path.1`, `path.2`,
  // ... follow and the oldest is overwritten after `files_max`.
  uint64_t file_bytes_max = 1ull << 30;
  uint32_t files_max = 1;
  // Added to `now` to give wall-clock time: the stack's own clock need not start in 1970.
  Duration to_wall_clock{};
};

struct PcapStats {
  uint64_t recorded = 0;
  uint64_t dropped = 0;  // no room in the buffer, or past the size limit
  uint64_t write_errors = 0;
};

class PcapPort final : public Port {
 public:
  // The error of open(2) or write(2) when the file cannot be begun; `inner` is then destroyed.
  static Result<std::unique_ptr<PcapPort>> open(std::unique_ptr<Port> inner,
                                                const PcapOptions& options);
  ~PcapPort() override;

  const PcapStats& pcap_stats() const { return pcap_stats_; }

  const PortInfo& info() const override { return whole_.info(); }
  PortStats stats() const override { return inner_->stats(); }
  uint32_t receive(Instant now, std::span<Frame*> out) override;
  uint32_t transmit(Instant now, std::span<Frame* const> frames) override;
  void flush(Instant now) override;
  int poll_fd() const override { return inner_->poll_fd(); }
  Instant next_event() const override;
  bool rx_ready() const override { return inner_->rx_ready(); }
  void close() override;

 private:
  PcapPort(std::unique_ptr<Port> inner, const PcapOptions& options);
  Error begin_file();
  bool rotate();
  void put_header();
  void record(Instant now, const Frame& frame, bool inbound);
  void put(const void* data, size_t length);
  template <typename T>
  void put(T value) {
    put(&value, sizeof(value));
  }
  void write_out();

  static constexpr uint32_t kWriteAtBytes = 64 * 1024;
  static constexpr Duration kWriteAfter = Duration::millis(200);

  std::unique_ptr<Port> inner_;
  CompletePackets whole_;
  PcapOptions options_;
  PcapStats pcap_stats_;
  int fd_ = -1;
  uint32_t file_number_ = 0;
  uint64_t file_bytes_ = 0;  // written and waiting
  bool full_ = false;        // past the last file's limit, or the disk failed
  Instant oldest_ = Instant::never();
  std::vector<uint8_t> buffer_;
  size_t used_ = 0;
};

}  // namespace millrace
