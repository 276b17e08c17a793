// SPDX-License-Identifier: MIT
// "in": packets from the network to the stack.
#include <algorithm>

#include "scripts/runner/machine.h"

namespace millrace::scripts {

namespace {

Bytes peer_bytes(uint64_t position, int64_t length) {
  Bytes bytes;
  bytes.reserve(size_t(length));
  for (int64_t i = 0; i < length; ++i) bytes.push_back(peer_byte(position + uint64_t(i)));
  return bytes;
}

}  // namespace

void Machine::deliver(const Fields& fields) {
  last_in_ = build(fields);
  if (mrt_packet_in(stack_, last_in_.data(), last_in_.size()) != 0) {
    fail("mrt_packet_in() has no room for the packet");
  }
}

// in [FLOW:] FLAGS... | UDP ... | ICMP TYPE CODE ... | IP PROTOCOL ...
bool Machine::arrive(const Words& all) {
  Words words(all.begin() + 1, all.end());
  Flow* flow = flow_of("main");
  if (!words.empty() && words[0].back() == ':') {
    flow = flow_of(words[0].substr(0, words[0].size() - 1));
    words.erase(words.begin());
  }
  if (!flow) return fail("no such flow");
  if (words.empty()) return fail("in what?");
  std::string text;
  for (const std::string& word : words) text += " " + word;
  note("in" + (flow->name == "main" ? "" : " " + flow->name + ":") + text);
  if (words[0] == "UDP") return arrive_udp(*flow, words);
  if (words[0] == "ICMP") return arrive_icmp(*flow, words);
  if (words[0] != "IP") return arrive_tcp(*flow, words);
  Fields f;
  f.source = flow->peer;
  f.destination = flow->host;
  int64_t protocol = 0;
  if (words.size() < 2 || !number(words[1], protocol)) return fail("in IP PROTOCOL ...");
  f.protocol = uint8_t(protocol);
  for (size_t at = 2; at < words.size(); ++at) {
    bool known = false;
    int64_t length = 0;
    if (words[at] == "len" && at + 1 < words.size() && number(words[at + 1], length)) {
      f.payload = peer_bytes(0, length);
      ++at;
    } else if (!ip_word(words, at, f, known) || !known) {
      return fail("what is " + words[at] + "?");
    }
  }
  deliver(f);
  return true;
}

// Words that any packet may have. Leaves `at` on the last word taken.
bool Machine::ip_word(const Words& words, size_t& at, Fields& f, bool& known) {
  const std::string& word = words[at];
  known = true;
  if (word == "badsum") return f.bad_checksum = true;
  if (word == "nosum") return f.no_checksum = true;
  if (word == "badipsum") return f.bad_ip_checksum = true;
  static constexpr const char* kWithValue[] = {"src", "dst",   "ttl",  "tos",   "total", "pad",
                                               "cut", "ipopt", "next", "patch", "frag"};
  known = std::find(std::begin(kWithValue), std::end(kWithValue), word) != std::end(kWithValue);
  if (!known) return true;
  if (at + 1 >= words.size()) return fail(word + " what?");
  const std::string& value = words[++at];
  if (word == "src" || word == "dst") {
    const auto address = parse_address(value);
    if (!address) return fail("not an address: " + value);
    (word == "src" ? f.source : f.destination) = *address;
    return true;
  }
  if (word == "ipopt") {
    const auto bytes = parse_hex(value);
    if (!bytes) return fail("not hexadecimal: " + value);
    f.ip_options = *bytes;
    return true;
  }
  int64_t n = 0;
  if (!number(value, n)) return false;
  if (word == "patch") {
    const auto bytes = at + 1 < words.size() ? parse_hex(words[++at]) : std::nullopt;
    if (!bytes) return fail("patch OFFSET HEX");
    f.patches.push_back({size_t(n), *bytes});
  }
  if (word == "ttl") f.ttl = uint8_t(n);
  if (word == "tos") f.tos = uint8_t(n);
  if (word == "total") f.total_bytes = n;
  if (word == "pad") f.pad_bytes = size_t(n);
  if (word == "cut") f.cut_bytes = size_t(n);
  if (word == "next") f.ip_next = int(n);
  if (word == "frag") f.fragment = uint16_t(n);
  return true;
}

bool Machine::tcp_word(Flow& flow, const Words& words, size_t& at, Fields& f, int64_t& length,
                       bool& seq_given) {
  const std::string word = words[at];
  if (const auto flag = parse_flag(word)) {
    f.flags |= *flag;
    return true;
  }
  bool known = false;
  if (!ip_word(words, at, f, known) || known) return known;
  int64_t value = 0;
  if (at + 1 >= words.size() || !number(words[++at], value)) return fail("what is " + word + "?");
  if (word == "seq") {
    f.seq = uint32_t(value) + flow.peer_isn;
    seq_given = true;
  } else if (word == "ack") {
    f.ack = uint32_t(value) + flow.host_isn;
  } else if (word == "win") {
    f.window = uint16_t(value);
  } else if (word == "len") {
    length = value;
  } else if (word == "urg") {
    f.urgent = uint16_t(value);
  } else if (word == "doff") {
    f.data_offset = int(value);
  } else {
    return fail("what is " + word + "?");
  }
  return true;
}

bool Machine::arrive_tcp(Flow& flow, const Words& words) {
  Fields f;
  f.source = flow.peer;
  f.destination = flow.host;
  f.from_port = flow.peer_port;
  f.to_port = flow.host_port;
  f.seq = flow.peer_next + flow.peer_isn;
  f.window = flow.window;
  const bool has_ack = std::find(words.begin(), words.end(), "ACK") != words.end();
  f.ack = has_ack ? flow.host_next + flow.host_isn : 0;
  int64_t length = 0;
  bool seq_given = false, options_given = false;
  const OptionContext context{flow.host_isn, flow.ts_last, current_ ? current_->i : 0};
  for (size_t at = 0; at < words.size(); ++at) {
    if (words[at] == "opt") {
      std::string wrong;
      if (!build_options(words, at + 1, context, f.options, wrong)) return fail(wrong);
      options_given = true;
      break;
    }
    if (!tcp_word(flow, words, at, f, length, seq_given)) return false;
  }
  if (flow.timestamps && !options_given && !(f.flags & kRst)) {
    const Words automatic = {"nop", "nop", "ts", std::to_string(1000 + now() / 1'000'000), "last"};
    std::string wrong;
    (void)build_options(automatic, 0, context, f.options, wrong);
  }
  const uint32_t relative = f.seq - flow.peer_isn;
  f.payload = peer_bytes(uint32_t(relative - 1 + (f.flags & kSyn ? 1 : 0)), length);
  if (!(f.flags & kRst)) {
    const uint32_t end =
        relative + uint32_t(length) + (f.flags & kSyn ? 1 : 0) + (f.flags & kFin ? 1 : 0);
    if (int32_t(end - flow.peer_next) > 0) flow.peer_next = end;
  }
  deliver(f);
  return true;
}

bool Machine::arrive_udp(Flow& flow, const Words& words) {
  Fields f;
  f.protocol = kUdp;
  f.source = flow.peer;
  f.destination = flow.host;
  f.from_port = flow.peer_port;
  f.to_port = flow.host_port;
  for (size_t at = 1; at < words.size(); ++at) {
    bool known = false;
    if (!ip_word(words, at, f, known)) return false;
    if (known) continue;
    int64_t value = 0;
    const std::string& word = words[at];
    if (at + 1 >= words.size() || !number(words[at + 1], value)) return fail(word + "?");
    ++at;
    if (word == "len") {
      f.payload = peer_bytes(0, value);
    } else if (word == "ulen") {
      f.udp_length = int(value);
    } else {
      return fail("what is " + word + "?");
    }
  }
  deliver(f);
  return true;
}

// quote SEQ | quote udp: the packet of the stack that the error is about.
bool Machine::quote_word(Flow& flow, const Words& words, size_t& at, Fields& f) {
  if (at + 1 >= words.size()) return fail("quote what?");
  const std::string& what = words[++at];
  Fields quoted;
  quoted.source = flow.host;
  quoted.destination = flow.peer;
  quoted.from_port = flow.host_port;
  quoted.to_port = flow.peer_port;
  quoted.fragment = 0x4000;
  if (what == "udp") {
    quoted.protocol = kUdp;
    quoted.payload = Bytes(100, 0);
  } else {
    int64_t seq = 0;
    if (!number(what, seq)) return false;
    quoted.seq = uint32_t(seq) + flow.host_isn;
    quoted.flags = kAck;
    quoted.payload = Bytes(1000, 0);
  }
  f.payload = build(quoted);
  const size_t most = flow.host.size() == 4 ? 28 : 1200;
  f.payload.resize(std::min(f.payload.size(), most));
  return true;
}

// in ICMP TYPE CODE [quote SEQ|udp] [mtu N] [pointer N] [id N] [num N] [len N] [short N]
bool Machine::arrive_icmp(Flow& flow, const Words& words) {
  Fields f;
  f.protocol = flow.host.size() == 4 ? kIcmp4 : kIcmp6;
  f.source = flow.peer;
  f.destination = flow.host;
  int64_t type = 0, code = 0;
  if (words.size() < 3 || !number(words[1], type) || !number(words[2], code))
    return fail("in ICMP TYPE CODE ...");
  f.type = uint8_t(type);
  f.code = uint8_t(code);
  for (size_t at = 3; at < words.size(); ++at) {
    bool known = false;
    const std::string& word = words[at];
    if (word == "quote") {
      if (!quote_word(flow, words, at, f)) return false;
      continue;
    }
    if (!ip_word(words, at, f, known)) return false;
    if (known) continue;
    int64_t value = 0;
    if (at + 1 >= words.size() || !number(words[++at], value)) return fail(word + "?");
    if (word == "mtu") {
      f.rest = uint32_t(value);
    } else if (word == "id") {
      f.rest = (f.rest & 0xffff) | uint32_t(value) << 16;
    } else if (word == "num") {
      f.rest = (f.rest & 0xffff0000) | uint32_t(value);
    } else if (word == "len") {
      f.payload = peer_bytes(0, value);
    } else if (word == "short") {  // cut the quotation off
      f.payload.resize(size_t(value));
    } else {
      return fail("what is " + word + "?");
    }
  }
  deliver(f);
  return true;
}

}  // namespace millrace::scripts
