// SPDX-License-Identifier: MIT
#include "scripts/runner/tcp_options.h"

#include "scripts/runner/words.h"

namespace millrace::scripts {

namespace {

void put(Bytes& out, uint32_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) out.push_back(uint8_t(value >> shift));
}

uint32_t get(const Bytes& in, size_t at, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) value = value << 8 | in[at + size_t(i)];
  return value;
}

bool build_sack(const std::string& word, const OptionContext& context, Bytes& out) {
  Bytes blocks;
  for (size_t at = 0; at < word.size();) {
    const size_t comma = std::min(word.find(',', at), word.size());
    const std::string block = word.substr(at, comma - at);
    const size_t colon = block.find(':');
    if (colon == std::string::npos) return false;
    const auto left = parse_number(block.substr(0, colon), context.i);
    const auto right = parse_number(block.substr(colon + 1), context.i);
    if (!left || !right) return false;
    put(blocks, uint32_t(*left) + context.sack_base, 4);
    put(blocks, uint32_t(*right) + context.sack_base, 4);
    at = comma + 1;
  }
  out.push_back(5);
  out.push_back(uint8_t(2 + blocks.size()));
  out.insert(out.end(), blocks.begin(), blocks.end());
  return true;
}

class Builder {
 public:
  Builder(const std::vector<std::string>& words, size_t at, const OptionContext& context,
          Bytes& out)
      : words_(words), at_(at), context_(context), out_(out) {}

  bool done() const { return at_ >= words_.size(); }
  bool step() {
    const std::string& word = words_[at_++];
    if (word == "nop") return out_.push_back(1), true;
    if (word == "eol") return out_.push_back(0), true;
    if (word == "none") return true;
    if (word == "sackok") return put(out_, 0x0402, 2), true;
    if (word == "mss") return number(0x0204, 2);
    if (word == "ws") return number(0x0303, 1);
    if (word == "ts") {
      put(out_, 0x080a, 2);
      return value(4) && value(4);
    }
    if (done()) return false;
    if (word == "sack") return build_sack(words_[at_++], context_, out_);
    if (word == "raw") {
      const auto bytes = parse_hex(words_[at_++]);
      if (bytes) out_.insert(out_.end(), bytes->begin(), bytes->end());
      return bytes.has_value();
    }
    return false;
  }

 private:
  bool number(uint32_t kind_and_length, int bytes) {
    put(out_, kind_and_length, 2);
    return value(bytes);
  }
  bool value(int bytes) {
    if (done()) return false;
    const std::string& word = words_[at_++];
    const bool from_last = word.rfind("last", 0) == 0;  // "last", "last-200"
    const std::string rest = from_last ? "0" + word.substr(4) : word;
    const auto number = parse_number(rest, context_.i);
    if (!number) return false;
    put(out_, uint32_t(*number) + (from_last ? context_.ts_last : 0), bytes);
    return true;
  }
  const std::vector<std::string>& words_;
  size_t at_;
  const OptionContext& context_;
  Bytes& out_;
};

std::string hex(const Bytes& bytes, size_t from, size_t to) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (size_t i = from; i < to; ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

std::string sack_blocks(const Bytes& o, size_t from, size_t to, uint32_t base) {
  std::string text;
  for (size_t at = from; at + 8 <= to; at += 8) {
    if (!text.empty()) text += ',';
    text += std::to_string(get(o, at, 4) - base) + ":" + std::to_string(get(o, at + 4, 4) - base);
  }
  return text;
}

}  // namespace

bool build_options(const std::vector<std::string>& words, size_t at, const OptionContext& context,
                   Bytes& out, std::string& problem) {
  Builder builder(words, at, context, out);
  while (!builder.done()) {
    if (builder.step()) continue;
    problem = "options that make no sense";
    return false;
  }
  return true;
}

std::vector<std::string> describe_options(const Bytes& o, const OptionContext& context) {
  std::vector<std::string> words;
  for (size_t at = 0; at < o.size() && o[at] != 0;) {
    if (o[at] == 1) {
      ++at;
      continue;
    }
    const size_t length = at + 1 < o.size() ? o[at + 1] : 0;
    if (length < 2 || at + length > o.size()) return words.push_back("bad"), words;
    const uint8_t kind = o[at];
    const size_t value = at + 2;
    if (kind == 2 && length == 4) {
      words.insert(words.end(), {"mss", std::to_string(get(o, value, 2))});
    } else if (kind == 3 && length == 3) {
      words.insert(words.end(), {"ws", std::to_string(o[value])});
    } else if (kind == 4 && length == 2) {
      words.push_back("sackok");
    } else if (kind == 8 && length == 10) {
      words.insert(words.end(),
                   {"ts", std::to_string(get(o, value, 4)), std::to_string(get(o, value + 4, 4))});
    } else if (kind == 5 && length >= 10 && length % 8 == 2) {
      words.insert(words.end(), {"sack", sack_blocks(o, value, at + length, context.sack_base)});
    } else {
      words.insert(words.end(), {"raw", hex(o, at, at + length)});
    }
    at += length;
  }
  return words;
}

bool find_timestamp(const Bytes& o, uint32_t& value) {
  for (size_t at = 0; at < o.size() && o[at] != 0;) {
    const size_t length = o[at] == 1 ? 1 : at + 1 < o.size() ? o[at + 1] : 0;
    if (length == 0 || at + length > o.size()) return false;
    if (o[at] == 8 && length == 10) {
      value = get(o, at + 2, 4);
      return true;
    }
    at += length;
  }
  return false;
}

}  // namespace millrace::scripts
