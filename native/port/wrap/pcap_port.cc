// SPDX-License-Identifier: MIT
#include "port/wrap/pcap_port.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace millrace {

namespace {
// Link types: tcpdump.org/linktypes.html.
constexpr uint16_t kLinkEthernet = 1;
constexpr uint16_t kLinkRawIp = 101;
// pcapng block types and options.
constexpr uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
constexpr uint32_t kInterfaceDescription = 1;
constexpr uint32_t kEnhancedPacket = 6;
constexpr uint16_t kOptionTsResolution = 9;
constexpr uint16_t kOptionFlags = 2;
constexpr uint32_t kInbound = 1;
constexpr uint32_t kOutbound = 2;
constexpr uint32_t kPcapNanosecondMagic = 0xa1b23c4d;

constexpr size_t padded(size_t n) {
  return (n + 3) & ~size_t(3);
}
}  // namespace

PcapPort::PcapPort(std::unique_ptr<Port> inner, const PcapOptions& options)
    : inner_(std::move(inner)), whole_(inner_->info()), options_(options) {
  options_.files_max = std::max(options_.files_max, 1u);
  options_.snap_bytes = std::clamp(options_.snap_bytes, 64u, 65536u);
  buffer_.resize(std::max(options_.buffer_bytes, 2 * options_.snap_bytes + kWriteAtBytes));
}

PcapPort::~PcapPort() {
  write_out();
  if (fd_ >= 0) ::close(fd_);
}

Result<std::unique_ptr<PcapPort>> PcapPort::open(std::unique_ptr<Port> inner,
                                                 const PcapOptions& options) {
  std::unique_ptr<PcapPort> port(new PcapPort(std::move(inner), options));
  if (const Error error = port->begin_file()) {
    port->close();
    return error;
  }
  return port;
}

Error PcapPort::begin_file() {
  std::string path = options_.path;
  if (file_number_ > 0) path.append(".").append(std::to_string(file_number_));
  // Captures hold other people's bytes: for the owner only.
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return Error{errno};
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  file_bytes_ = 0;
  put_header();
  return kOk;
}

void PcapPort::put(const void* data, size_t length) {
  MR_ASSERT(used_ + length <= buffer_.size());
  if (length) std::memcpy(buffer_.data() + used_, data, length);
  used_ += length;
  file_bytes_ += length;
}

void PcapPort::put_header() {
  const bool ethernet = inner_->info().link == LinkType::kEthernet;
  const uint16_t link = ethernet ? kLinkEthernet : kLinkRawIp;
  if (options_.format == PcapFormat::kPcap) {
    put<uint32_t>(kPcapNanosecondMagic);
    put<uint16_t>(2), put<uint16_t>(4);
    put<uint32_t>(0), put<uint32_t>(0);
    put<uint32_t>(options_.snap_bytes);
    put<uint32_t>(link);
    return;
  }
  put<uint32_t>(kSectionHeader);
  put<uint32_t>(28);
  put<uint32_t>(kByteOrderMagic);
  put<uint16_t>(1), put<uint16_t>(0);
  put<uint64_t>(UINT64_MAX);  // section length not given
  put<uint32_t>(28);

  put<uint32_t>(kInterfaceDescription);
  put<uint32_t>(32);
  put<uint16_t>(link), put<uint16_t>(0);
  put<uint32_t>(options_.snap_bytes);
  put<uint16_t>(kOptionTsResolution), put<uint16_t>(1), put<uint32_t>(9);  // 10^-9 s
  put<uint32_t>(0);                                                        // end of options
  put<uint32_t>(32);
}

// Goes on in the next file; false when there is none to go on in.
bool PcapPort::rotate() {
  if (options_.files_max == 1) {
    full_ = true;
    return false;
  }
  write_out();
  if (full_) return false;
  file_number_ = (file_number_ + 1) % options_.files_max;
  if (begin_file()) {
    ++pcap_stats_.write_errors;
    full_ = true;
    return false;
  }
  return true;
}

void PcapPort::record(Instant now, const Frame& frame, bool inbound) {
  const uint32_t kept = std::min(frame.length, options_.snap_bytes);
  const size_t needs = padded(kept) + 44;
  if (!full_ && file_bytes_ + needs > options_.file_bytes_max) rotate();
  if (full_ || used_ + needs > buffer_.size()) {
    ++pcap_stats_.dropped;
    return;
  }
  const Instant when = inbound && (frame.flags & Frame::kStamped) ? frame.received : now;
  const uint64_t stamp = uint64_t((when + options_.to_wall_clock).ns);
  if (options_.format == PcapFormat::kPcap) {
    put<uint32_t>(uint32_t(stamp / 1'000'000'000));
    put<uint32_t>(uint32_t(stamp % 1'000'000'000));
    put<uint32_t>(kept);
    put<uint32_t>(frame.length);
    put(frame.data(), kept);
  } else {
    const uint32_t block = uint32_t(padded(kept) + 44);
    put<uint32_t>(kEnhancedPacket);
    put<uint32_t>(block);
    put<uint32_t>(0);  // interface
    put<uint32_t>(uint32_t(stamp >> 32)), put<uint32_t>(uint32_t(stamp));
    put<uint32_t>(kept), put<uint32_t>(frame.length);
    put(frame.data(), kept);
    static constexpr uint8_t kPadding[4] = {};
    put(kPadding, padded(kept) - kept);
    put<uint16_t>(kOptionFlags), put<uint16_t>(4), put<uint32_t>(inbound ? kInbound : kOutbound);
    put<uint32_t>(0);
    put<uint32_t>(block);
  }
  ++pcap_stats_.recorded;
  if (oldest_.is_never()) oldest_ = now;
}

uint32_t PcapPort::receive(Instant now, std::span<Frame*> out) {
  const uint32_t count = inner_->receive(now, out);
  for (uint32_t i = 0; i < count; ++i) record(now, *out[i], true);
  return count;
}

uint32_t PcapPort::transmit(Instant now, std::span<Frame* const> frames) {
  const uint32_t taken = inner_->transmit(now, frames);
  // After the device took them: the bytes may not change before it is done with them.
  for (uint32_t i = 0; i < taken; ++i) record(now, *frames[i], false);
  return taken;
}

void PcapPort::flush(Instant now) {
  inner_->flush(now);
  if (used_ >= kWriteAtBytes || (!oldest_.is_never() && now - oldest_ >= kWriteAfter)) write_out();
}

Instant PcapPort::next_event() const {
  const Instant own = oldest_.is_never() ? oldest_ : oldest_ + kWriteAfter;
  return std::min(inner_->next_event(), own);
}

void PcapPort::write_out() {
  size_t done = 0;
  while (done < used_ && fd_ >= 0) {
    const ssize_t n = ::write(fd_, buffer_.data() + done, used_ - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {  // disk full or gone: end here, the file stays readable up to this point
      ++pcap_stats_.write_errors;
      full_ = true;
      break;
    }
    done += size_t(n);
  }
  used_ = 0;
  oldest_ = Instant::never();
}

void PcapPort::close() {
  write_out();
  inner_->close();
}

}  // namespace millrace
