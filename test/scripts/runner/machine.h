// SPDX-License-Identifier: MIT
// Runs one script against one stack, through native/testing/millrace_testing.h and nothing else.
// Strict: every packet that the stack sends must be expected, in order and in time.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "scripts/runner/packet.h"
#include "scripts/runner/tcp_options.h"
#include "scripts/runner/words.h"
#include "testing/millrace_testing.h"

namespace millrace::scripts {

// Addresses, ports and the numbers on both sides. Sequence numbers of scripts are relative.
struct Flow {
  std::string name;
  Address host, peer;
  uint16_t host_port = 80, peer_port = 40000;
  uint32_t peer_isn = 0;
  uint32_t host_isn = 0;
  uint32_t host_next = 0;   // behind the last byte that the stack has sent
  uint32_t peer_next = 0;   // behind the last that the peer has sent
  bool timestamps = false;  // agreed: the peer's segments carry them unless told otherwise
  uint16_t window = 65535;
  uint32_t ts_last = 0;  // the stack's latest
};

struct Sock {
  int fd = -1;
  bool datagram = false;
  Flow* flow = nullptr;
  uint64_t read_at = 0, written_at = 0;  // positions in the streams
};

class Machine {
 public:
  // `kernel`: behind the interface is the kernel, in real time, whose initial numbers are learnt.
  Machine(const Script& script, bool verbose, bool kernel);
  ~Machine();
  // True when all went as written; otherwise `report` says what did not, with what came before.
  bool run(std::string& report);
  // What keeps a script from running against the kernel; empty when nothing does. `takes_ns`: how
  // much time it lets pass.
  std::string beyond_kernel(int64_t& takes_ns);

 private:
  using Words = std::vector<std::string>;
  struct Step {
    const Line* line;
    int64_t i;
  };
  struct Arrived {
    Bytes bytes;
    int64_t at_ns = 0;
    View view;
  };

  // machine.cc
  bool expand();
  bool step();
  bool execute(const When& when, const Words& words);
  bool execute(const std::string& statement);
  bool configure(const Words& words);
  bool define_flow(const Words& words);
  bool start();
  bool pass_time(const When& when);
  bool collect(bool only_until_packet, int64_t until_ns);
  bool quiet();
  bool fail(const std::string& problem);
  void note(const std::string& what);
  int64_t now() const { return stack_ ? mrt_now(stack_) - start_ns_ : 0; }
  bool number(const std::string& word, int64_t& value);
  Flow* flow_of(const std::string& name);
  bool established(const Words& words);
  static int wait(void* context, mrt_stack* stack, int64_t deadline_ns);

  // arriving.cc
  bool arrive(const Words& words);
  bool arrive_tcp(Flow& flow, const Words& words);
  bool arrive_udp(Flow& flow, const Words& words);
  bool arrive_icmp(Flow& flow, const Words& words);
  bool ip_word(const Words& words, size_t& at, Fields& fields, bool& known);
  bool tcp_word(Flow& flow, const Words& words, size_t& at, Fields& fields, int64_t& length,
                bool& seq_given);
  bool quote_word(Flow& flow, const Words& words, size_t& at, Fields& fields);
  void deliver(const Fields& fields);

  // leaving.cc
  bool leave(const When& when, const Words& words);
  bool await_packet(const When& when);
  bool compare_tcp(Flow& flow, const Words& words, const View& view, std::string& difference);
  bool compare_udp(Flow& flow, const Words& words, const View& view, std::string& difference);
  bool compare_icmp(const Words& words, const View& view, std::string& difference);
  bool compare_common(const Words& words, size_t& at, const View& view, bool& known,
                      std::string& difference);
  bool compare_options(Flow& flow, const Words& words, size_t at, const View& view,
                       std::string& difference);
  bool match_number(const std::string& name, const std::string& word, int64_t got,
                    std::string& difference);
  bool check_payload(const Bytes& payload, uint64_t position, std::string& difference);
  Flow* owner_of(const View& view);
  std::string describe(const View& view);

  // calls.cc
  bool call(const Words& words);
  bool dispatch(const std::string& verb, const Words& words);
  Sock* sock(const std::string& name);
  bool open(const std::string& name, bool datagram, const std::string& flow);
  bool bind_to(Sock& socket, uint16_t port);
  bool judge(ssize_t result, const Words& words, ssize_t usual);
  bool call_listen(const Words& words);
  bool call_accept(const Words& words);
  bool call_connect(const Words& words);
  bool call_sysctl(const Words& words);
  bool call_ioctl(const Words& words, unsigned long request);
  bool call_write(const Words& words);
  bool call_read(const Words& words, int flags);
  bool call_send(const Words& words);
  bool call_receive(const Words& words);
  bool call_poll(const Words& words);
  bool call_blocking(const Words& words);
  bool call_link(const Words& words);

  // options.cc
  bool call_set(const Words& words);
  bool call_get(const Words& words);
  bool call_info(const Words& words);

  const Script& script_;
  bool verbose_;
  bool kernel_;
  std::vector<Step> steps_;
  size_t next_ = 0;
  const Step* current_ = nullptr;
  int depth_ = 0;  // blocking calls that wait
  std::string problem_;
  std::vector<std::string> trace_;
  mrt_options options_;
  mrt_stack* stack_ = nullptr;
  bool v6_ = false;
  int64_t start_ns_ = 0;
  int64_t last_ns_ = 0;           // when the previous statement happened
  std::vector<Arrived> arrived_;  // sent by the stack, not yet expected
  Bytes last_in_;                 // the latest packet to the stack, for quotations
  std::map<std::string, Flow> flows_;
  std::map<std::string, Sock> socks_;
};

// The streams' contents: which byte stands at a position.
uint8_t host_byte(uint64_t position);
uint8_t peer_byte(uint64_t position);

}  // namespace millrace::scripts
