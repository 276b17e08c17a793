// SPDX-License-Identifier: MIT
// The whole way in: frames of any bytes, on Ethernet or a bare IP link, to an Internet layer with
// TCP and UDP on it. Checksums are made right, or nothing would come past them. Nothing may leak.
#include "fuzz/stack.h"

using namespace millrace;
using namespace millrace::fuzz;

namespace {

struct NoUdp final : udp::Handler {
  void on_readable(udp::Socket&) override {}
  void on_error(udp::Socket&, Error) override {}
};

// IPv4's header, where there seems to be one; transports are vouched for by the port.
void mend_ip(std::span<uint8_t> p) {
  if (p.size() < 20 || p[0] >> 4 != 4) return;
  const size_t header = size_t(p[0] & 15) * 4;
  if (header < 20 || header > p.size()) return;
  std::memset(p.data() + 10, 0, 2);
  const uint16_t sum = wire::checksum_finish(wire::checksum_partial(p.first(header)));
  std::memcpy(p.data() + 10, &sum, 2);
}

void mend_icmp(std::span<uint8_t> p) {
  if (p.size() < 28 || p[0] != 0x45 || p[9] != 1) return;
  const size_t total = std::min<size_t>(wire::load16(p.data() + 2), p.size());
  if (total < 28) return;
  std::memset(p.data() + 22, 0, 2);
  const uint16_t sum = wire::checksum_finish(wire::checksum_partial(p.first(total).subspan(20)));
  std::memcpy(p.data() + 22, &sum, 2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Reader in(data, size);
  const uint8_t mode = in.byte();
  static Memory memory;
  Stack stack(memory, mode & 1 ? LinkType::kEthernet : LinkType::kIp);
  NoUdp handler;
  udp::Udp udp(stack.pool(), stack.ip, handler, {.sockets_max = 4});
  stack.ip.set_handler(17, &udp);
  (void)udp.bind({kHere4, 53}, false, 1);
  (void)udp.bind({wire::IpAddress(), 54}, true, 2);
  (void)stack.tcp->listen({wire::IpAddress(), 80}, true, 4, {}, 3);
  (void)stack.tcp->connect(stack.now, {kHere4, 4000}, {kThere4, 5000}, {}, 4);
  while (!in.empty()) {
    const uint16_t length = in.word() & 0x7ff;
    const auto bytes = in.take(std::min<size_t>(length, 1600));
    Frame* f = stack.pool().alloc(64);
    if (!f) break;
    std::memcpy(f->data(), bytes.data(), bytes.size());
    f->length = uint32_t(bytes.size());
    if (mode & 2) {
      const size_t link = mode & 1 ? 14 : 0;
      if (f->length > link) {
        mend_ip(f->bytes().subspan(link));
        mend_icmp(f->bytes().subspan(link));
      }
      f->flags = Frame::kChecksumVerified;
    }
    stack.ip.input(stack.now, 0, f);
    stack.advance(Duration::millis(bytes.size() % 7));
    stack.port.clear();
  }
  udp.close_all();
  stack.ip.set_handler(17, nullptr);
  stack.finish();
  return 0;
}
