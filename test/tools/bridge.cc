// SPDX-License-Identifier: MIT
// A bad wire: forwards Ethernet frames between two interfaces in user space and, by seed and per
// direction, loses, duplicates, reorders and corrupts some of them. One thread, PACKET_MMAP rings
// in, sendmmsg out.
//
//   bridge <interface-a> <interface-b> [--seed N] [--loss P] [--dup P] [--reorder P] [--corrupt P]
//          [--delay MS] [--rate MBIT] [--queue KB]
//
// P is in per cent; delay is one way, in milliseconds; rate in Mbit/s, with a queue of so many kB
// in front of it, of which the tail is dropped. All count for both directions; --loss-ab, --loss-ba
// and so on set one of them. Only IPv4 and IPv6 packets suffer, and of those not neighbour
// discovery (nor ARP): a lost neighbour request would stall a run for a second, whichever stack is
// measured. Corruption flips adjacent bits of one byte behind the IP header, which the Internet
// checksum always catches; the IP header itself stays intact. Answers the line "counters" on stdin
// with one line of JSON, ends when stdin does. It must not know anything of the stack under test.
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "random.h"

namespace {

constexpr uint32_t kFrameBytes =
    2048;  // one ring slot: header, padding and a frame of up to 1514 bytes
constexpr uint32_t kFrames = 8192;  // per direction; the queue of this "router"
constexpr uint32_t kBlockBytes = 1 << 16;
constexpr uint32_t kBatch = 128;
constexpr uint32_t kHeldMax = 64;
constexpr uint64_t kHeldMaxUs = 1000;  // a reordered frame waits no longer than this
constexpr uint32_t kOvertakenMax = 8;  // and is overtaken by at most this many frames

struct Impairment {
  double loss = 0;
  double dup = 0;
  double reorder = 0;
  double corrupt = 0;
  double delay = 0;   // ms
  double rate = 0;    // Mbit/s; 0: as fast as it goes
  double queue = 64;  // kB waiting for the line
  bool slow() const { return delay > 0 || rate > 0; }
};

struct Counters {
  uint64_t received = 0;
  uint64_t sent = 0;
  uint64_t lost = 0;
  uint64_t duplicated = 0;
  uint64_t reordered = 0;
  uint64_t corrupted = 0;
  uint64_t send_errors = 0;
  uint64_t overflowed = 0;  // frames the kernel could not put into our ring
  uint64_t queue_full = 0;  // frames that found the line's queue full
};

struct Delayed {
  uint64_t due_ns;
  std::vector<uint8_t> bytes;
};

struct Held {
  std::vector<uint8_t> bytes;
  uint32_t overtakers_left;
  uint64_t until_us;
};

uint64_t now_ns() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1000000000u + static_cast<uint64_t>(ts.tv_nsec);
}

uint64_t now_us() {
  return now_ns() / 1000u;
}

[[noreturn]] void fail(const char* what, const char* about) {
  fprintf(stderr, "bridge: %s (%s): %s\n", what, about, strerror(errno));
  exit(1);
}

/** One interface: a packet socket with a receive ring. */
struct End {
  int descriptor = -1;
  uint8_t* ring = nullptr;
  uint32_t next = 0;

  uint8_t* slot(uint32_t index) const { return ring + static_cast<size_t>(index) * kFrameBytes; }
};

End open_end(const char* interface) {
  End end;
  const unsigned index = if_nametoindex(interface);
  if (index == 0) fail("no such interface", interface);
  // Protocol 0 until everything is set: nothing is received before bind().
  end.descriptor = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (end.descriptor < 0) fail("socket", interface);
  const int version = TPACKET_V2;
  const int yes = 1;
  const int send_bytes = 8 << 20;
  tpacket_req request{};
  request.tp_frame_size = kFrameBytes;
  request.tp_frame_nr = kFrames;
  request.tp_block_size = kBlockBytes;
  request.tp_block_nr = kFrames / (kBlockBytes / kFrameBytes);
  const int fd = end.descriptor;
  if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) != 0)
    fail("PACKET_VERSION", interface);
  if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0)
    fail("PACKET_RX_RING", interface);
  if (setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &yes, sizeof yes) != 0)
    fail("PACKET_IGNORE_OUTGOING", interface);
  if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &yes, sizeof yes) != 0)
    fail("PACKET_QDISC_BYPASS", interface);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &send_bytes, sizeof send_bytes);
  packet_mreq promiscuous{};
  promiscuous.mr_ifindex = static_cast<int>(index);
  promiscuous.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &promiscuous, sizeof promiscuous) != 0)
    fail("promiscuous", interface);
  void* memory = mmap(nullptr, static_cast<size_t>(kFrames) * kFrameBytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) fail("mmap", interface);
  end.ring = static_cast<uint8_t*>(memory);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = static_cast<int>(index);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail("bind", interface);
  return end;
}

/** What may be done to a frame: the bytes behind the IP header, or nothing for frames that pass
 * untouched. */
struct Payload {
  uint8_t* begin = nullptr;
  uint32_t length = 0;
};

Payload payload_of(uint8_t* frame, uint32_t length) {
  constexpr uint32_t kEthernet = 14;
  if (length < kEthernet + 20) return {};
  const uint32_t type = static_cast<uint32_t>(frame[12]) << 8 | frame[13];
  uint8_t* ip = frame + kEthernet;
  const uint32_t available = length - kEthernet;
  uint32_t header = 0;
  uint32_t total = 0;
  if (type == ETH_P_IP) {
    header = (ip[0] & 15u) * 4u;
    total = static_cast<uint32_t>(ip[2]) << 8 | ip[3];
  } else if (type == ETH_P_IPV6 && available >= 41) {
    header = 40;
    total = 40u + (static_cast<uint32_t>(ip[4]) << 8 | ip[5]);
    const bool discovery = ip[6] == 58 && ip[40] >= 133 && ip[40] <= 137;
    if (discovery) return {};
  }
  if (total > available || header < 20 || total <= header) return {};
  return {ip + header, total - header};
}

/** One direction: from a receive ring to a socket. */
class Direction {
 public:
  Direction(End& from, const End& to, Impairment impairment, uint64_t seed)
      : from_(from), to_(to), impairment_(impairment), random_(seed) {}

  /** Forwards what has arrived, at most a batch. True when there was something. */
  bool turn() {
    const uint64_t now = held_.empty() ? 0 : now_us();
    const uint32_t first = from_.next;
    uint32_t taken = 0;
    count_ = 0;
    while (taken < kBatch) {
      auto* header = reinterpret_cast<tpacket2_hdr*>(from_.slot(from_.next));
      if ((__atomic_load_n(&header->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0) break;
      from_.next = (from_.next + 1) % kFrames;
      ++taken;
      ++counters.received;
      pass(from_.slot((first + taken - 1) % kFrames) + header->tp_mac, header->tp_snaplen);
    }
    release_late(now);
    const bool moved = release_due();
    send();
    for (uint32_t i = 0; i < taken; ++i) {
      auto* header = reinterpret_cast<tpacket2_hdr*>(from_.slot((first + i) % kFrames));
      __atomic_store_n(&header->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
    return taken > 0 || moved;
  }

  /** When the next frame is due to leave; never: UINT64_MAX. */
  uint64_t next_due_ns() const { return line_.empty() ? UINT64_MAX : line_.front().due_ns; }

  bool holds() const { return !held_.empty(); }

  void update_overflow() {
    tpacket_stats stats{};
    socklen_t size = sizeof stats;
    if (getsockopt(from_.descriptor, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0)
      counters.overflowed += stats.tp_drops;
  }

  Counters counters;

 private:
  void pass(uint8_t* frame, uint32_t length) {
    const Payload payload = payload_of(frame, length);
    if (payload.length == 0) {
      emit(frame, length);
      return;
    }
    // Every decision is drawn for every packet, so that one rate does not shift what another does.
    const bool lose = random_.percent(impairment_.loss);
    const bool duplicate = random_.percent(impairment_.dup);
    const bool reorder = random_.percent(impairment_.reorder);
    const bool corrupt = random_.percent(impairment_.corrupt);
    const uint32_t where = random_.below(payload.length);
    const uint32_t burst = random_.below(8);
    const uint32_t overtakers = 1 + random_.below(kOvertakenMax);
    if (lose) {
      ++counters.lost;
      return;
    }
    if (corrupt) {
      ++counters.corrupted;
      payload.begin[where] = static_cast<uint8_t>(payload.begin[where] ^ ((2u << burst) - 1u));
    }
    if (reorder && held_.size() < kHeldMax) {
      ++counters.reordered;
      held_.push_back({{frame, frame + length}, overtakers, now_us() + kHeldMaxUs});
      return;
    }
    emit(frame, length);
    if (duplicate) {
      ++counters.duplicated;
      emit(frame, length);
    }
    overtake();
  }

  /** A frame has gone by the held ones; those that were overtaken often enough follow it. */
  void overtake() {
    for (size_t i = 0; i < held_.size();) {
      if (--held_[i].overtakers_left == 0) {
        release(i);
      } else {
        ++i;
      }
    }
  }

  void release_late(uint64_t now) {
    for (size_t i = 0; i < held_.size();) {
      if (held_[i].until_us <= now) {
        release(i);
      } else {
        ++i;
      }
    }
  }

  void release(size_t index) {
    if (count_ == kOut) send();  // before the frame is among released_, which send() clears
    released_.push_back(std::move(held_[index].bytes));
    held_.erase(held_.begin() + static_cast<ptrdiff_t>(index));
    emit(released_.back().data(), static_cast<uint32_t>(released_.back().size()));
  }

  /** Onto the line: it takes its time to leave, and its time to arrive. */
  void emit(uint8_t* frame, uint32_t length) {
    if (!impairment_.slow()) return put_out(frame, length);
    const uint64_t now = now_ns();
    uint64_t leaves = now;
    if (impairment_.rate > 0) {
      const double ns_per_byte = 8000.0 / impairment_.rate;
      const uint64_t start = busy_until_ns_ > now ? busy_until_ns_ : now;
      if (static_cast<double>(start - now) / ns_per_byte > impairment_.queue * 1000.0) {
        ++counters.queue_full;
        return;
      }
      leaves = start + static_cast<uint64_t>(ns_per_byte * length);
      busy_until_ns_ = leaves;
    }
    const uint64_t due = leaves + static_cast<uint64_t>(impairment_.delay * 1e6);
    line_.push_back({due, {frame, frame + length}});
  }

  bool release_due() {
    const uint64_t now = line_.empty() ? 0 : now_ns();
    bool any = false;
    while (!line_.empty() && line_.front().due_ns <= now) {
      if (count_ == kOut) send();
      released_.push_back(std::move(line_.front().bytes));
      line_.pop_front();
      put_out(released_.back().data(), static_cast<uint32_t>(released_.back().size()));
      any = true;
    }
    return any;
  }

  void put_out(uint8_t* frame, uint32_t length) {
    if (count_ == kOut) send();
    parts_[count_] = {frame, length};
    messages_[count_] = {};
    messages_[count_].msg_hdr.msg_iov = &parts_[count_];
    messages_[count_].msg_hdr.msg_iovlen = 1;
    ++count_;
  }

  void send() {
    uint32_t done = 0;
    while (done < count_) {
      const int sent = sendmmsg(to_.descriptor, messages_ + done, count_ - done, 0);
      if (sent > 0) {
        done += static_cast<uint32_t>(sent);
        counters.sent += static_cast<uint32_t>(sent);
      } else if (errno != EINTR) {
        ++counters.send_errors;  // this one is gone, as on a full queue
        ++done;
      }
    }
    count_ = 0;
    released_.clear();
  }

  static constexpr uint32_t kOut = 2 * kBatch;

  End& from_;
  const End& to_;
  const Impairment impairment_;
  tools::Random random_;
  std::vector<Held> held_;
  std::deque<Delayed> line_;  // on their way, in order
  uint64_t busy_until_ns_ = 0;
  std::vector<std::vector<uint8_t>> released_;  // bytes of frames that wait in messages_
  uint32_t count_ = 0;
  iovec parts_[kOut];
  mmsghdr messages_[kOut];
};

void print_counters(const char* name, Direction& direction, const char* end) {
  direction.update_overflow();
  const Counters& c = direction.counters;
  printf(
      "\"%s\":{\"received\":%lu,\"sent\":%lu,\"lost\":%lu,\"duplicated\":%lu,\"reordered\":%lu,"
      "\"corrupted\":%lu,"
      "\"send_errors\":%lu,\"overflowed\":%lu,\"queue_full\":%lu}%s",
      name, c.received, c.sent, c.lost, c.duplicated, c.reordered, c.corrupted, c.send_errors,
      c.overflowed, c.queue_full, end);
}

bool set_rate(Impairment& impairment, const std::string& name, double value) {
  if (name == "loss")
    impairment.loss = value;
  else if (name == "dup")
    impairment.dup = value;
  else if (name == "reorder")
    impairment.reorder = value;
  else if (name == "corrupt")
    impairment.corrupt = value;
  else if (name == "delay")
    impairment.delay = value;
  else if (name == "rate")
    impairment.rate = value;
  else if (name == "queue")
    impairment.queue = value;
  else
    return false;
  return true;
}

[[noreturn]] void usage(const char* about) {
  fprintf(stderr,
          "bridge: %s\nusage: bridge A B [--seed N] [--loss|--dup|--reorder|--corrupt[-ab|-ba] "
          "PERCENT] [--delay[-ab|-ba] MS] [--rate[-ab|-ba] MBIT] [--queue[-ab|-ba] KB]\n",
          about);
  exit(2);
}

struct Settings {
  uint64_t seed = 1;
  Impairment ab;
  Impairment ba;
};

Settings parse(int argc, char** argv) {
  Settings settings;
  for (int i = 3; i < argc; i += 2) {
    if (i + 1 >= argc || strncmp(argv[i], "--", 2) != 0) usage(argv[i]);
    std::string name = argv[i] + 2;
    const double value = strtod(argv[i + 1], nullptr);
    if (name == "seed") {
      settings.seed = strtoull(argv[i + 1], nullptr, 10);
      continue;
    }
    bool ab = true;
    bool ba = true;
    if (name.size() > 3 && name[name.size() - 3] == '-') {
      ab = name.substr(name.size() - 2) == "ab";
      ba = name.substr(name.size() - 2) == "ba";
      name.resize(name.size() - 3);
    }
    const bool percent = name == "loss" || name == "dup" || name == "reorder" || name == "corrupt";
    if ((!ab && !ba) || value < 0 || (percent && value > 100)) usage(argv[i]);
    if ((ab && !set_rate(settings.ab, name, value)) || (ba && !set_rate(settings.ba, name, value)))
      usage(argv[i]);
  }
  return settings;
}

/** False when stdin has ended. */
bool serve_stdin(Direction& ab, Direction& ba) {
  char line[64];
  const ssize_t length = read(0, line, sizeof line);
  if (length <= 0) return false;
  if (strncmp(line, "counters", 8) == 0) {
    printf("{");
    print_counters("ab", ab, ",");
    print_counters("ba", ba, "}\n");
    fflush(stdout);
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) usage("two interfaces are needed");
  const Settings settings = parse(argc, argv);
  End a = open_end(argv[1]);
  End b = open_end(argv[2]);
  static Direction ab(a, b, settings.ab, settings.seed);
  static Direction ba(b, a, settings.ba, settings.seed ^ 0x5bf03635u);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    const bool busy_ab = ab.turn();
    const bool busy_ba = ba.turn();
    const bool busy = busy_ab || busy_ba;
    pollfd waits[3] = {{a.descriptor, POLLIN, 0}, {b.descriptor, POLLIN, 0}, {0, POLLIN, 0}};
    if (busy) {
      static uint32_t rounds = 0;
      if ((++rounds & 255) != 0) continue;  // stdin has to wait a little while the wire is busy
    }
    const uint64_t longest = (ab.holds() || ba.holds()) ? 1000000u : 1000000000u;
    uint64_t patience_ns = busy ? 0 : longest;
    const uint64_t due = std::min(ab.next_due_ns(), ba.next_due_ns());
    const uint64_t now = due == UINT64_MAX ? 0 : now_ns();
    if (due != UINT64_MAX) patience_ns = std::min(patience_ns, due > now ? due - now : 0);
    const timespec patience{static_cast<time_t>(patience_ns / 1000000000u),
                            static_cast<long>(patience_ns % 1000000000u)};
    ppoll(waits, 3, &patience, nullptr);
    if ((waits[2].revents & (POLLIN | POLLHUP)) != 0 && !serve_stdin(ab, ba)) return 0;
  }
}
