// SPDX-License-Identifier: MIT
// "out": packets that the stack must send.
#include <algorithm>

#include "scripts/runner/machine.h"

namespace millrace::scripts {

Flow* Machine::owner_of(const View& v) {
  for (auto& [name, flow] : flows_) {
    if (flow.peer == v.destination && flow.host == v.source && flow.peer_port == v.to_port &&
        flow.host_port == v.from_port) {
      return &flow;
    }
  }
  return nullptr;
}

// As the language writes it.
std::string Machine::describe(const View& v) {
  std::string text;
  if (v.protocol == kIcmp4 || v.protocol == kIcmp6) {
    text = "ICMP " + std::to_string(v.type) + " " + std::to_string(v.code) + " rest " +
           std::to_string(v.rest) + " len " + std::to_string(v.payload.size());
  } else if (v.protocol == kUdp) {
    text = "UDP len " + std::to_string(v.payload.size());
  } else if (v.protocol == kTcp) {
    const Flow* flow = owner_of(v);
    const uint32_t isn = flow ? flow->peer_isn : 0;
    text = flow && flow->name != "main" ? flow->name + ": " : flow ? "" : "(no flow) ";
    text += format_flags(v.flags) + " seq " + std::to_string(v.seq - (flow ? flow->host_isn : 0));
    if (v.flags & kAck) text += " ack " + std::to_string(v.ack - isn);
    if (!v.payload.empty()) text += " len " + std::to_string(v.payload.size());
    text += " win " + std::to_string(v.window);
    const auto options = describe_options(v.options, {isn, 0, 0});
    if (!options.empty()) text += " opt";
    for (const std::string& word : options) text += " " + word;
  } else {
    text = "IP " + std::to_string(v.protocol);
  }
  return text;
}

bool Machine::match_number(const std::string& name, const std::string& word, int64_t got,
                           std::string& difference) {
  if (word == "*") return true;
  bool same = false;
  const size_t dots = word.find("..");
  int64_t from = 0, to = 0;
  if (dots != std::string::npos) {
    if (!number(word.substr(0, dots), from) || !number(word.substr(dots + 2), to)) return false;
    same = got >= from && got <= to;
  } else {
    if (!number(word, from)) return false;
    same = got == from;
  }
  if (!same && difference.empty()) {
    difference = name + " is " + std::to_string(got) + ", not " + word;
  }
  return true;
}

// out none, or out [FLOW:] FLAGS seq N ack N len N win N opt ..., UDP ..., ICMP TYPE CODE ...
bool Machine::leave(const When& when, const Words& all) {
  Words words(all.begin() + 1, all.end());
  if (words.empty()) return fail("out what?");
  if (words[0] == "none") return pass_time(when) && quiet();
  Flow* flow = flow_of("main");
  if (words[0].back() == ':') {
    flow = flow_of(words[0].substr(0, words[0].size() - 1));
    words.erase(words.begin());
  }
  if (!flow || words.empty()) return fail("no such flow");
  if (!await_packet(when)) return false;
  const Arrived arrived = arrived_.front();
  arrived_.erase(arrived_.begin());
  std::string difference;
  bool readable = false;
  if (words[0] == "UDP") {
    readable = compare_udp(*flow, words, arrived.view, difference);
  } else if (words[0] == "ICMP") {
    readable = compare_icmp(words, arrived.view, difference);
  } else {
    readable = compare_tcp(*flow, words, arrived.view, difference);
  }
  if (!readable) return false;
  if (difference.empty()) return true;
  return fail(difference + "\n    expected: " + current_->line->text + "\n    got:      " +
              format_seconds(arrived.at_ns) + " out " + describe(arrived.view));
}

bool Machine::compare_common(const Words& words, size_t& at, const View& v, bool& known,
                             std::string& difference) {
  const std::string& word = words[at];
  known = true;
  if (word == "df" || word == "nodf") {
    if (v.dont_fragment != (word == "df")) difference = "DF is not as expected";
    return true;
  }
  int64_t got = 0;
  if (word == "ttl") {
    got = v.ttl;
  } else if (word == "tos") {
    got = v.tos;
  } else if (word == "src" || word == "dst") {
    if (at + 1 >= words.size()) return fail(word + " what?");
    const auto address = parse_address(words[++at]);
    if (!address || *address != (word == "src" ? v.source : v.destination))
      difference = word + " is not " + words[at];
    return true;
  } else {
    known = false;
    return true;
  }
  if (at + 1 >= words.size()) return fail(word + " what?");
  return match_number(word, words[++at], got, difference);
}

bool Machine::check_payload(const Bytes& payload, uint64_t position, std::string& difference) {
  for (size_t i = 0; i < payload.size(); ++i) {
    if (payload[i] != host_byte(position + i)) {
      if (difference.empty())
        difference = "byte " + std::to_string(i) + " of the payload is not what was written";
      return true;
    }
  }
  return true;
}

bool Machine::compare_options(Flow& flow, const Words& words, size_t at, const View& v,
                              std::string& difference) {
  const Words got = describe_options(v.options, {flow.peer_isn, 0, 0});
  Words wanted(words.begin() + long(at), words.end());
  if (wanted.size() == 1 && wanted[0] == "none") wanted.clear();
  bool same = got.size() == wanted.size();
  for (size_t i = 0; same && i < wanted.size(); ++i) {
    if (wanted[i] == "*" || wanted[i] == got[i]) continue;
    const auto number = parse_number(wanted[i], current_ ? current_->i : 0);
    same = number && std::to_string(*number) == got[i];
  }
  if (!same && difference.empty()) difference = "the options differ";
  return true;
}

bool Machine::compare_tcp(Flow& flow, const Words& words, const View& v, std::string& difference) {
  uint8_t flags = 0;
  std::string length = "0";
  if (v.protocol != kTcp) difference = "not TCP";
  if ((kernel_ || !options_.fixed_isn) && (v.flags & kSyn) && owner_of(v) == &flow) {
    // A SYN numbered otherwise is another connection's, counted from the first one's.
    const auto seq = std::find(words.begin(), words.end(), "seq");
    const std::string number = words.end() - seq > 1 ? seq[1] : "0";
    if (number == "0" || number == "*") flow.host_isn = v.seq;
  }
  bool unpushed = false;
  for (size_t at = 0; at < words.size() && difference.empty(); ++at) {
    const std::string& word = words[at];
    if (const auto flag = parse_flag(word)) {
      flags |= *flag;
      continue;
    }
    if (word == "NOPSH") {
      unpushed = true;
      continue;
    }
    if (word == "opt") {
      if (!compare_options(flow, words, at + 1, v, difference)) return false;
      break;
    }
    bool known = false;
    if (!compare_common(words, at, v, known, difference)) return false;
    if (known) continue;
    if (at + 1 >= words.size()) return fail("what is " + word + "?");
    const std::string& value = words[++at];
    if (word == "len") {
      length = value;
    } else if (word == "seq") {
      // A reset that answers no ACK is numbered 0 absolutely (RFC 9293 3.10.7.1).
      const bool absolute = kernel_ && (v.flags & kRst) && v.seq == 0;
      if (!match_number(word, value, absolute ? 0 : v.seq - flow.host_isn, difference)) {
        return false;
      }
    } else if (word == "ack") {
      if (!match_number(word, value, v.ack - flow.peer_isn, difference)) return false;
    } else if (word == "win") {
      if (!match_number(word, value, v.window, difference)) return false;
    } else {
      return fail("what is " + word + "?");
    }
  }
  // PSH may stand on any segment with data; where the kernel puts it depends on real time.
  const bool either = kernel_ || (!unpushed && !(flags & kPsh) && !v.payload.empty());
  const uint8_t looked_at = either ? uint8_t(~kPsh) : 0xff;
  if (difference.empty() && (v.flags & looked_at) != (flags & looked_at)) {
    difference = "the flags differ";
  }
  if (!match_number("len", length, int64_t(v.payload.size()), difference)) return false;
  if (difference.empty() && flow.host_port != v.from_port) {
    // A port that the stack chose is learnt from its SYN.
    if (flow.host_port == 0 && flags == kSyn) flow.host_port = v.from_port;
  }
  if (difference.empty() && owner_of(v) != &flow) difference = "addresses or ports differ";
  const uint32_t relative = v.seq - flow.host_isn;
  if (!(v.flags & (kSyn | kRst))) (void)check_payload(v.payload, relative - 1u, difference);
  const uint32_t end =
      relative + uint32_t(v.payload.size()) + (v.flags & kSyn ? 1 : 0) + (v.flags & kFin ? 1 : 0);
  if (!(v.flags & kRst) && int32_t(end - flow.host_next) > 0) flow.host_next = end;
  (void)find_timestamp(v.options, flow.ts_last);
  return true;
}

bool Machine::compare_udp(Flow& flow, const Words& words, const View& v, std::string& difference) {
  if (v.protocol != kUdp) {
    difference = "not UDP";
    return true;
  }
  std::string length = "0";
  for (size_t at = 1; at < words.size(); ++at) {
    bool known = false;
    if (!compare_common(words, at, v, known, difference)) return false;
    if (known) continue;
    if (words[at] != "len" || at + 1 >= words.size()) return fail("what is " + words[at] + "?");
    length = words[++at];
  }
  if (!match_number("len", length, int64_t(v.payload.size()), difference)) return false;
  if (difference.empty() && owner_of(v) != &flow) difference = "addresses or ports differ";
  return check_payload(v.payload, 0, difference);
}

// "quote" says that the payload is the beginning of the latest packet that came in, "echo" that it
// is the latest one's payload.
bool Machine::compare_icmp(const Words& words, const View& v, std::string& difference) {
  if (v.protocol != kIcmp4 && v.protocol != kIcmp6) {
    difference = "not ICMP";
    return true;
  }
  if (words.size() < 3) return fail("out ICMP TYPE CODE ...");
  if (!match_number("type", words[1], v.type, difference)) return false;
  if (!match_number("code", words[2], v.code, difference)) return false;
  for (size_t at = 3; at < words.size(); ++at) {
    const std::string& word = words[at];
    bool known = false;
    if (!compare_common(words, at, v, known, difference)) return false;
    if (known) continue;
    if (word == "quote") {
      const bool inside = v.payload.size() >= 28 && v.payload.size() <= last_in_.size();
      if (!inside || !std::equal(v.payload.begin(), v.payload.end(), last_in_.begin()))
        difference = "the quotation is not the packet";
      continue;
    }
    if (word == "echo") {
      const size_t header = last_in_[0] >> 4 == 4 ? 28 : 48;
      const Bytes sent(last_in_.begin() + long(std::min(header, last_in_.size())), last_in_.end());
      if (v.payload != sent) difference = "the data is not what was sent";
      continue;
    }
    if (at + 1 >= words.size()) return fail("what is " + word + "?");
    const std::string& value = words[++at];
    const int64_t got = word == "id"        ? v.rest >> 16
                        : word == "num"     ? v.rest & 0xffff
                        : word == "len"     ? int64_t(v.payload.size())
                        : word == "pointer" ? (v.protocol == kIcmp4 ? v.rest >> 24 : v.rest)
                                            : -1;
    if (got < 0) return fail("what is " + word + "?");
    if (!match_number(word, value, got, difference)) return false;
  }
  return true;
}

}  // namespace millrace::scripts
