// SPDX-License-Identifier: MIT
// ICMP and ICMPv6 (RFC 792, 1122 3.2.2, 4443): errors about our flows in, echo answered where the
// kernel does not see it, errors out. Neighbour discovery, redirects and the rest are the kernel's.
#include <algorithm>
#include <cstring>

#include "net/ip_layer.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace millrace::net {

namespace {

constexpr uint32_t kErrorMaxBytes4 = 576;  // RFC 1812 4.3.2.3
constexpr uint8_t kHopLimit = 64;

void finish_checksum(Frame* frame, uint64_t pseudo) {
  std::memset(frame->data() + 2, 0, 2);
  const uint16_t sum = wire::checksum_finish(wire::checksum_partial(frame->bytes(), pseudo));
  std::memcpy(frame->data() + 2, &sum, 2);
}

}  // namespace

void IpLayer::receive_icmp4(Instant now, Frame* frame, const IpMeta& meta) {
  ++counters_.icmp_received;
  if (frame->length < wire::kIcmpHeaderBytes ||
      wire::checksum_fold(wire::checksum_partial(frame->bytes())) != 0xffff) {
    ++counters_.icmp_bad;
    return;
  }
  const uint8_t* p = frame->data();
  if (p[0] == wire::icmp4::kEchoRequest && p[1] == 0) return answer_echo(now, *frame, meta);
  const wire::IcmpMeaning meaning = wire::meaning_of_icmp4(p[0], p[1]);
  if (meaning.errno_code == 0) {
    ++counters_.icmp_ignored;
    return;
  }
  wire::IcmpQuote quote;
  if (!wire::parse_quote4(frame->bytes().subspan(wire::kIcmpHeaderBytes), quote)) {
    ++counters_.icmp_bad_quote;
    return;
  }
  uint32_t mtu = 0;
  bool may_be_cut = false;
  if (meaning.too_big) {
    mtu = wire::load16(p + 6);
    // 0: a router older than RFC 1191. As Linux: no less than the least, and what is too long for
    // that link may be cut up on its way, or nothing would ever come through.
    may_be_cut = mtu < path_mtu_min_bytes_;
    mtu = std::max(mtu, path_mtu_min_bytes_);
  }
  receive_error(now, meaning, mtu, may_be_cut, quote, meta);
}

void IpLayer::receive_icmp6(Instant now, Frame* frame, const IpMeta& meta) {
  ++counters_.icmp_received;
  const uint64_t pseudo =
      wire::checksum_pseudo(meta.source, meta.destination, wire::kProtocolIcmpv6, frame->length);
  if (frame->length < wire::kIcmpHeaderBytes ||
      wire::checksum_fold(wire::checksum_partial(frame->bytes(), pseudo)) != 0xffff) {
    ++counters_.icmp_bad;
    return;
  }
  const uint8_t* p = frame->data();
  if (p[0] == wire::icmp6::kEchoRequest && p[1] == 0) return answer_echo(now, *frame, meta);
  const wire::IcmpMeaning meaning = wire::meaning_of_icmp6(p[0], p[1]);
  const uint32_t mtu = meaning.too_big ? wire::load32(p + 4) : 0;
  // RFC 8201 4: a link narrower than 1,280 bytes does not exist.
  if (meaning.errno_code == 0 || (meaning.too_big && mtu < wire::kIpv6MtuMinBytes)) {
    ++counters_.icmp_ignored;
    return;
  }
  wire::IcmpQuote quote;
  if (!wire::parse_quote6(frame->bytes().subspan(wire::kIcmpHeaderBytes), quote)) {
    ++counters_.icmp_bad_quote;
    return;
  }
  receive_error(now, meaning, mtu, false, quote, meta);
}

// RFC 5927: the quoted packet must have come from the address that the error came to. The transport
// protocol looks for the flow.
void IpLayer::receive_error(Instant now, const wire::IcmpMeaning& meaning, uint32_t mtu_bytes,
                            bool may_be_cut, const wire::IcmpQuote& quote, const IpMeta& meta) {
  TransportHandler* handler = handlers_[quote.protocol];
  if (!handler || quote.source != meta.destination) {
    ++counters_.icmp_bad_quote;
    return;
  }
  ++counters_.icmp_errors_delivered;
  handler->icmp_error(now, {.local = quote.source,
                            .remote = quote.destination,
                            .quoted_transport = quote.transport,
                            .error = Error{meaning.errno_code},
                            .hard = meaning.hard,
                            .mtu_bytes = mtu_bytes,
                            .may_be_cut = may_be_cut});
}

// Echo requests are not steered away from the kernel; only on links that it does not know do they
// come here.
void IpLayer::answer_echo(Instant now, const Frame& request, const IpMeta& meta) {
  if (!icmp_limiter_.allow_echo(now)) {
    ++counters_.icmp_rate_limited;
    return;
  }
  Frame* reply = pool_.alloc();
  if (!reply || reply->tailroom() < request.length) {
    if (reply) pool_.release(reply);
    ++counters_.icmp_rate_limited;
    return;
  }
  reply->length = request.length;
  std::memcpy(reply->data(), request.data(), request.length);
  reply->data()[0] = meta.source.is_v4() ? wire::icmp4::kEchoReply : wire::icmp6::kEchoReply;
  send_icmp(now, reply, meta, counters_.icmp_echo_replies);
}

void IpLayer::send_port_unreachable(Instant now, Frame* original_transport, const IpMeta& meta) {
  const uint32_t ip_offset = original_transport->scratch_as<ReceivedNote>().ip_offset;
  const uint32_t end = original_transport->offset + original_transport->length;
  MR_ASSERT(ip_offset < original_transport->offset);
  const std::span<const uint8_t> original{original_transport->chunk + ip_offset, end - ip_offset};
  if (meta.source.is_v4()) {
    send_error(now, original, meta, wire::icmp4::kUnreachable, wire::icmp4::kCodePort, 0);
  } else {
    send_error(now, original, meta, wire::icmp6::kUnreachable, wire::icmp6::kCodePort, 0);
  }
}

void IpLayer::send_error(Instant now, std::span<const uint8_t> original, const IpMeta& meta,
                         uint8_t type, uint8_t code, uint32_t argument) {
  if (meta.destination.is_multicast()) return;  // RFC 1122 3.2.2, RFC 4443 2.4 e.3
  const bool v4 = meta.source.is_v4();
  const uint32_t headers =
      (v4 ? wire::kIpv4HeaderBytes : wire::kIpv6HeaderBytes) + wire::kIcmpHeaderBytes;
  const uint32_t quote_max = (v4 ? kErrorMaxBytes4 : wire::kIpv6MtuMinBytes) - headers;
  Frame* frame = icmp_limiter_.allow_error(now, meta.source) ? pool_.alloc() : nullptr;
  if (!frame) {
    ++counters_.icmp_rate_limited;
    return;
  }
  const uint32_t quoted = std::min(uint32_t(original.size()), quote_max);
  uint8_t* p = frame->data();
  p[0] = type;
  p[1] = code;
  wire::store32(p + 4, argument);
  std::memcpy(p + wire::kIcmpHeaderBytes, original.data(), quoted);
  frame->length = wire::kIcmpHeaderBytes + quoted;
  send_icmp(now, frame, meta, counters_.icmp_errors_sent);
}

// Sends to whoever sent what `answered` describes, from the address it was sent to. Takes over the
// reference.
void IpLayer::send_icmp(Instant now, Frame* frame, const IpMeta& answered, uint64_t& counter) {
  const bool v4 = answered.source.is_v4();
  const uint8_t protocol = v4 ? wire::kProtocolIcmp : wire::kProtocolIcmpv6;
  finish_checksum(frame, v4 ? 0
                            : wire::checksum_pseudo(answered.destination, answered.source, protocol,
                                                    frame->length));
  Path path;
  path.local = answered.destination;
  path.remote = answered.source;
  const SendOptions options{.protocol = protocol, .ttl = kHopLimit, .dont_fragment = false};
  if (!send(now, path, frame, options)) ++counter;
  pool_.release(frame);
}

}  // namespace millrace::net
