// SPDX-License-Identifier: MIT
// The course of a script: statements in order, time, flows, the stack's start and end.
#include "scripts/runner/machine.h"

#include <algorithm>
#include <cstdio>
#include <sstream>

namespace millrace::scripts {

namespace {
constexpr int64_t kToleranceNs = 1'000'000;
// The kernel counts in jiffies, and the machine has other things to do.
constexpr int64_t kKernelToleranceNs = 12'000'000;
constexpr int64_t kKernelAtOnceNs = 4'000'000;
}  // namespace

uint8_t host_byte(uint64_t p) {
  return uint8_t(p * 11 + p / 253 + 101);
}
uint8_t peer_byte(uint64_t p) {
  return uint8_t(p * 7 + p / 251 + 1);
}

Machine::Machine(const Script& script, bool verbose, bool kernel)
    : script_(script), verbose_(verbose), kernel_(kernel) {
  mrt_options_init(&options_);
  options_.fixed_isn = 1;
  options_.wait = wait;
  options_.wait_context = this;
}

Machine::~Machine() {
  if (stack_) (void)mrt_destroy(stack_);
}

bool Machine::fail(const std::string& problem) {
  if (problem_.empty()) {
    const std::string where = current_ ? ":" + std::to_string(current_->line->number) : "";
    problem_ = script_.path + where + ": " + problem;
    if (current_) problem_ += "\n    statement: " + current_->line->text;
    problem_ += "\n    at " + format_seconds(now()) + " s";
  }
  return false;
}

void Machine::note(const std::string& what) {
  trace_.push_back(format_seconds(now()) + "  " + what);
  if (verbose_) std::printf("    %s\n", trace_.back().c_str());
}

// Repetitions are written out, so that a blocking call can go on at the next step, wherever it is.
bool Machine::expand() {
  const std::vector<Line>& lines = script_.lines;
  for (size_t at = 0; at < lines.size(); ++at) {
    if (lines[at].words[0] != "repeat") {
      steps_.push_back({&lines[at], 0});
      continue;
    }
    const auto times =
        lines[at].words.size() == 2 ? parse_number(lines[at].words[1], 0) : std::nullopt;
    size_t end = at + 1;
    while (end < lines.size() && lines[end].words[0] != "end") ++end;
    if (!times || end == lines.size()) return fail("repeat N ... end");
    for (int64_t i = 0; i < *times; ++i) {
      for (size_t in = at + 1; in < end; ++in) steps_.push_back({&lines[in], i});
    }
    at = end;
  }
  return true;
}

bool Machine::run(std::string& report) {
  bool good = expand();
  while (good && next_ < steps_.size()) good = step();
  if (good) good = start() && quiet();
  if (stack_) {
    const unsigned leaked = mrt_destroy(stack_);
    stack_ = nullptr;
    if (leaked && good) good = fail(std::to_string(leaked) + " packet buffers leaked");
  }
  if (good) return true;
  std::ostringstream text;
  text << problem_ << "\n    before that:\n";
  const size_t shown = std::min<size_t>(trace_.size(), 30);
  for (size_t i = trace_.size() - shown; i < trace_.size(); ++i)
    text << "      " << trace_[i] << "\n";
  report = text.str();
  return false;
}

std::string Machine::beyond_kernel(int64_t& takes_ns) {
  // Its initial numbers are its own, and learnt.
  static constexpr const char* kSettings[] = {"v6",  "mtu",         "isn",
                                              "ecn", "mtu-probing", "random-isn"};
  takes_ns = 0;
  std::string why;
  if (!expand()) return why;
  for (const Step& s : steps_) {
    const Words& words = s.line->words;
    if (s.line->when.kind == When::kAt) {
      takes_ns = std::max(takes_ns, s.line->when.to_ns);
    } else {
      takes_ns += s.line->when.to_ns;
    }
    if (words[0] == "wait" && words.size() > 1) takes_ns += parse_duration(words[1]).value_or(0);
    if (words[0] == "block") why = "blocking calls";
    if (words[0] != "stack" || words.size() < 2) continue;
    const bool known =
        std::find(std::begin(kSettings), std::end(kSettings), words[1]) != std::end(kSettings);
    if (!known) why = "stack " + words[1];
  }
  steps_.clear();
  return why;
}

bool Machine::step() {
  current_ = &steps_[next_++];
  if (!execute(current_->line->when, current_->line->words)) return false;
  return problem_.empty();
}

// A blocking call waits: the script goes on.
int Machine::wait(void* context, mrt_stack*, int64_t deadline_ns) {
  Machine& m = *static_cast<Machine*>(context);
  if (!m.problem_.empty()) return -1;
  if (m.next_ >= m.steps_.size()) {
    if (deadline_ns == MRT_NEVER) {
      m.fail("the script ended while a blocking call still waits");
      return -1;
    }
    return mrt_advance(m.stack_, deadline_ns);
  }
  ++m.depth_;
  const Step* outer = m.current_;
  const bool good = m.step();
  m.current_ = outer;
  --m.depth_;
  return good ? 0 : -1;
}

bool Machine::execute(const std::string& statement) {
  std::istringstream stream(statement);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return execute({}, words);
}

bool Machine::execute(const When& when, const Words& words) {
  const std::string& verb = words[0];
  if (verb == "stack" || verb == "peer") return configure(words);
  if (!start()) return false;
  if (verb == "flow") return define_flow(words);
  if (verb == "out") return leave(when, words);
  if (!pass_time(when) || !quiet()) return false;
  // Against the kernel by the plan, or what each statement is late would add up.
  last_ns_ = kernel_ && when.kind == When::kAfter ? last_ns_ + when.from_ns : now();
  if (verb == "in") return arrive(words);
  if (verb == "wait") {
    const auto duration = words.size() == 2 ? parse_duration(words[1]) : std::nullopt;
    if (!duration) return fail("wait DURATION");
    return pass_time({When::kAfter, *duration, *duration}) && quiet() && (last_ns_ = now(), true);
  }
  if (verb == "established") return established(words);
  return call(words);
}

bool Machine::configure(const Words& words) {
  if (stack_) return fail("settings come before everything else");
  int64_t value = 0;
  const std::string& key = words.size() > 1 ? words[1] : words[0];
  if (words[0] == "stack" && key == "v6" && words.size() == 2) return v6_ = true;
  if (words[0] == "stack" && key == "rfc" && words.size() == 2) {
    options_.defaults = MRT_DEFAULTS_RFC;
    return true;
  }
  if (words[0] == "stack" && key == "ecn" && words.size() == 3) {
    const std::string& mode = words[2];
    if (mode != "on" && mode != "off" && mode != "passive") return fail("stack ecn on|off|passive");
    options_.ecn = mode == "on" ? MRT_ECN_ON : mode == "off" ? MRT_ECN_OFF : MRT_ECN_PASSIVE;
    return true;
  }
  if (words[0] == "stack" && key == "ethernet" && words.size() == 2) {
    options_.ethernet = 1;
    return true;
  }
  if (words.size() != 3 || !number(words[2], value)) return fail("a setting without a number");
  if (words[0] == "peer" && key == "isn") {
    flow_of("main")->peer_isn = uint32_t(value);
  } else if (words[0] == "stack" && key == "isn") {
    options_.isn = uint32_t(value);
  } else if (words[0] == "stack" && key == "mtu") {
    options_.mtu_bytes = uint32_t(value);
  } else if (words[0] == "stack" && key == "seed") {
    options_.seed = uint64_t(value);
  } else if (words[0] == "stack" && key == "time-wait-ms") {
    options_.time_wait_ms = uint32_t(value);
  } else if (words[0] == "stack" && key == "mtu-probing") {
    options_.mtu_probing = int(value);
  } else if (words[0] == "stack" && key == "connections") {
    options_.connections_max = uint32_t(value);
  } else if (words[0] == "stack" && key == "random-isn") {
    options_.fixed_isn = value == 0;
  } else {
    return fail("no such setting: " + key);
  }
  return true;
}

bool Machine::start() {
  if (stack_) return true;
  stack_ = mrt_create(&options_);
  if (!stack_) return fail("mrt_create() refused the settings");
  start_ns_ = mrt_now(stack_);
  const char* address = v6_ ? "2001:db8::1/64" : "192.0.2.1/24";
  const char* all = v6_ ? "::/0" : "0.0.0.0/0";
  if (mrt_address_add(stack_, address) != 0 || mrt_route_add(stack_, all, nullptr, 0) != 0)
    return fail("no address or no route");
  Flow& main = *flow_of("main");
  main.host_isn = options_.isn;
  main.host = *parse_address(v6_ ? "2001:db8::1" : "192.0.2.1");
  main.peer = *parse_address(v6_ ? "2001:db8::2" : "192.0.2.2");
  return true;
}

Flow* Machine::flow_of(const std::string& name) {
  if (name == "main") {
    Flow& flow = flows_["main"];
    flow.name = "main";
    return &flow;
  }
  const auto found = flows_.find(name);
  return found == flows_.end() ? nullptr : &found->second;
}

// flow NAME [host PORT] [peer PORT] [from ADDRESS] [to ADDRESS]: the rest as in "main".
bool Machine::define_flow(const Words& words) {
  if (words.size() < 2 || words.size() % 2 != 0) return fail("flow NAME KEY VALUE ...");
  Flow flow = *flow_of("main");
  flow.name = words[1];
  flow.host_next = flow.peer_next = 0;
  flow.host_isn = options_.isn;
  flow.timestamps = false;
  for (size_t at = 2; at < words.size(); at += 2) {
    int64_t value = 0;
    const auto address = parse_address(words[at + 1]);
    if (words[at] == "from" && address) {
      flow.peer = *address;
    } else if (words[at] == "to" && address) {
      flow.host = *address;
    } else if (words[at] == "host" && number(words[at + 1], value)) {
      flow.host_port = uint16_t(value);
    } else if (words[at] == "peer" && number(words[at + 1], value)) {
      flow.peer_port = uint16_t(value);
    } else {
      return fail("a flow has host, peer, from and to");
    }
  }
  flows_[flow.name] = flow;
  return true;
}

bool Machine::number(const std::string& word, int64_t& value) {
  const auto parsed = parse_number(word, current_ ? current_->i : 0);
  if (!parsed) return fail("not a number: " + word);
  value = *parsed;
  return true;
}

bool Machine::pass_time(const When& when) {
  if (when.kind == When::kNow) return kernel_ || collect(false, now());  // quiet() will
  const int64_t base = when.kind == When::kAfter ? last_ns_ : 0;
  if (base + when.from_ns < now() && !kernel_) return fail("that time is over");
  return collect(false, base + when.from_ns);
}

// Lets time pass and takes over what the stack sends meanwhile.
bool Machine::collect(bool only_until_packet, int64_t until_ns) {
  if (kernel_ && only_until_packet && !arrived_.empty()) return true;  // real time costs
  while (true) {
    (void)mrt_advance_until_event(stack_, start_ns_ + std::max(until_ns, now()));
    while (mrt_packets_waiting(stack_) > 0) {
      Arrived a;
      a.bytes.resize(65536);
      a.bytes.resize(mrt_packet_out(stack_, a.bytes.data(), a.bytes.size(), &a.at_ns));
      a.at_ns -= start_ns_;
      std::string wrong;
      if (!take_apart(a.bytes, a.view, wrong)) return fail("the stack sent " + wrong);
      note("out " + describe(a.view));
      arrived_.push_back(std::move(a));
    }
    if (only_until_packet && !arrived_.empty()) return true;
    if (now() >= until_ns) return true;
  }
}

bool Machine::quiet() {
  if (!collect(false, now())) return false;
  if (arrived_.empty()) return true;
  const Arrived& a = arrived_.front();
  return fail("nobody expected this packet, sent at " + format_seconds(a.at_ns) + ":\n      out " +
              describe(a.view));
}

bool Machine::await_packet(const When& when) {
  const int64_t base = when.kind == When::kAfter ? last_ns_ : 0;
  const int64_t tolerance = kernel_ ? kKernelToleranceNs + when.to_ns / 5 : kToleranceNs;
  const int64_t from = when.kind == When::kNow ? now() : base + when.from_ns;
  int64_t to = base + when.to_ns + tolerance;
  if (when.kind == When::kNow) to = now() + (kernel_ ? kKernelAtOnceNs : 0);
  if (!collect(true, to)) return false;
  if (arrived_.empty()) {
    return fail("no packet left by " + format_seconds(to) + " s");
  }
  if (when.kind != When::kNow && arrived_.front().at_ns < from - tolerance) {
    return fail("the packet left too early, expected at " + format_seconds(from) + ":\n      " +
                format_seconds(arrived_.front().at_ns) + " out " + describe(arrived_.front().view));
  }
  last_ns_ = arrived_.front().at_ns;
  return true;
}

// established NAME [active] [flow F] [rtt D] [win N] [mss N] [ws N] [sackok] [ts]: a connection
// with a peer that offers what is named, opened in one round trip. The options of the stack's own
// SYN are not looked at.
bool Machine::established(const Words& words) {
  if (words.size() < 2) return fail("established NAME ...");
  std::string flow = "main", rtt = "20ms", window = "65535", options, scale;
  std::string mss = v6_ ? "1440" : "1460";
  bool active = false, timestamps = false, ecn = false;
  for (size_t at = 2; at < words.size(); ++at) {
    const std::string& word = words[at];
    const bool valued = at + 1 < words.size();
    if (word == "active")
      active = true;
    else if (word == "ts")
      timestamps = true;
    else if (word == "sackok")
      options += " sackok";
    else if (word == "ecn")
      ecn = true;
    else if (!valued)
      return fail("established: " + word + "?");
    else if (word == "flow")
      flow = words[++at];
    else if (word == "rtt")
      rtt = words[++at];
    else if (word == "win")
      window = words[++at];
    else if (word == "mss")
      mss = words[++at];
    else if (word == "ws")
      scale = words[++at];
    else
      return fail("established: " + word + "?");
  }
  Flow* f = flow_of(flow);
  if (!f) return fail("no such flow: " + flow);
  if (!scale.empty()) options += " ws " + scale;
  const std::string ts = timestamps ? " ts " + std::to_string(1000 + now() / 1'000'000) : "";
  options = " win " + window + " opt mss " + mss + options;
  const std::string in = "in " + flow + ": ", out = "out " + flow + ": ";
  bool good = true;
  if (active) {
    if (!socks_.count(words[1])) good = execute("socket " + words[1] + " tcp flow " + flow);
    good = good && execute("connect " + words[1]) &&
           execute(out + (ecn ? "SYN ECE CWR seq 0" : "SYN seq 0")) && execute("wait " + rtt) &&
           execute(in + (ecn ? "SYN ACK ECE" : "SYN ACK") + " seq 0 ack 1" + options +
                   (timestamps ? ts + " last" : ""));
    f->timestamps = timestamps;
    good = good && execute(out + "ACK seq 1 ack 1");
  } else {
    const std::string listener = "L" + std::to_string(f->host_port);
    if (!socks_.count(listener)) good = execute("listen " + listener + " flow " + flow);
    good = good &&
           execute(in + (ecn ? "SYN ECE CWR" : "SYN") + " seq 0" + options +
                   (timestamps ? ts + " 0" : "")) &&
           execute(out + (ecn ? "SYN ACK ECE" : "SYN ACK") + " seq 0 ack 1") &&
           execute("wait " + rtt);
    f->timestamps = timestamps;
    good = good && execute(in + "ACK seq 1 ack 1 win " + window) &&
           execute("accept " + listener + " as " + words[1]);
  }
  int64_t value = 65535;
  good = good && number(window, value);
  f->window = uint16_t(value);
  return good;
}

}  // namespace millrace::scripts
