// SPDX-License-Identifier: MIT
// The XDP program, compiled for this machine, against the rules of steering.h written a second time
// in plain C++ over std containers. The input is a set of rules and frames that mostly fit them;
// for each frame both must decide the same, and the program must not touch a byte outside it.
#include <sys/mman.h>

#include <array>
#include <map>
#include <set>
#include <tuple>
#include <vector>

#include "fuzz/check.h"
#include "steer/xdp_abi.h"
#include "wire/byte_order.h"

using namespace millrace::fuzz;
using millrace::wire::load16;
using millrace::wire::store16;
using Bytes = std::span<const uint8_t>;
using Address = std::array<uint8_t, 16>;

namespace {

struct Rules {
  // protocol, local address, local port, remote address, remote port
  std::map<std::tuple<int, Address, int, Address, int>, uint8_t> flows;
  // member, protocol, address, port
  std::set<std::tuple<int, int, Address, int>> locals;
  std::set<Address> addresses;
  std::map<std::pair<int, int>, uint32_t> blocks;  // protocol, port / 64: the member that has it
  // The queue by which the frames come: its record, if there is one, and its socket.
  mr_queue queue{1, 2048};
  bool has_queue = true;
  bool has_socket = true;
  int member() const { return has_queue ? int(queue.member) : 0; }
};
Rules* rules = nullptr;

Address mapped(const uint8_t* p) {
  Address a{};
  a[10] = a[11] = 0xff;
  std::memcpy(a.data() + 12, p, 4);
  return a;
}
Address plain(const uint8_t* p) {
  Address a;
  std::memcpy(a.data(), p, 16);
  return a;
}
bool is_v4(const Address& a) {
  static constexpr uint8_t kPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::memcmp(a.data(), kPrefix, 12) == 0;
}

}  // namespace

// --- what the program sees of the kernel
extern "C" {
char mr_flows, mr_locals, mr_addresses, mr_blocks, mr_counters, mr_queues, mr_sockets;
struct xdp_context {
  uint32_t data, data_end, data_meta, ingress_ifindex, rx_queue_index;
};
int millrace_xdp(xdp_context* context);

static uint64_t counters[MR_DECISIONS];

void* mr_fuzz_map_lookup(void* map, const void* key) {
  static uint32_t block_owner;
  static uint8_t owner;
  auto port = [](uint16_t in_network_order) { return __builtin_bswap16(in_network_order); };
  if (map == &mr_counters) return &counters[*static_cast<const uint32_t*>(key)];
  if (map == &mr_queues) {
    FUZZ_CHECK(*static_cast<const uint32_t*>(key) == 5);
    return rules->has_queue ? &rules->queue : nullptr;
  }
  if (map == &mr_addresses) {
    return rules->addresses.count(plain(static_cast<const uint8_t*>(key))) ? &owner : nullptr;
  }
  if (map == &mr_locals) {
    const auto& k = *static_cast<const mr_local_key*>(key);
    const Address a = plain(reinterpret_cast<const uint8_t*>(&k.local));
    return rules->locals.count({k.member, k.protocol, a, port(k.port)}) ? &owner : nullptr;
  }
  if (map == &mr_flows) {
    const auto& k = *static_cast<const mr_flow_key*>(key);
    const auto found = rules->flows.find(
        {int(k.protocol), plain(reinterpret_cast<const uint8_t*>(&k.local)), port(k.local_port),
         plain(reinterpret_cast<const uint8_t*>(&k.remote)), port(k.remote_port)});
    if (found == rules->flows.end()) return nullptr;
    owner = found->second;
    return &owner;
  }
  FUZZ_CHECK(map == &mr_blocks);
  const uint32_t block = *static_cast<const uint32_t*>(key);
  FUZZ_CHECK(block < 2 * MR_BLOCKS);
  const auto found = rules->blocks.find({block < MR_BLOCKS ? 6 : 17, int(block % MR_BLOCKS)});
  block_owner = found == rules->blocks.end() ? 0 : found->second;
  return &block_owner;
}

long mr_fuzz_redirect(void* map, uint64_t key, uint64_t otherwise) {
  FUZZ_CHECK(map == &mr_sockets && key == 5);
  return rules->has_socket ? 4 : long(otherwise);
}
}

namespace {

// --- the rules a second time
constexpr int kDrop = 1, kPass = 2, kRedirect = 4;

struct Verdict {
  int action = kPass;
  int counted = MR_KERNEL_OTHER;
};

struct Flow {
  int protocol = 0;
  Address local{}, remote{};
  int local_port = 0, remote_port = 0;
  bool icmp = false, later_tcp = false;
};

// A datagram's addresses, protocol and payload; -1 when it is whole, else why not.
int read_ip(Bytes p, bool v4, Flow& f, Bytes& payload, bool quoted) {
  if (v4) {
    if (p.size() < 20) return MR_KERNEL_MALFORMED;
    const size_t header = size_t(p[0] & 15) * 4;
    const size_t total = quoted ? p.size() : load16(p.data() + 2);
    if (p[0] >> 4 != 4 || header < 20) return MR_KERNEL_MALFORMED;
    if (!quoted && (total < header || total > p.size())) return MR_KERNEL_MALFORMED;
    // Of a quoted datagram only what is not its first part says nothing.
    if (load16(p.data() + 6) & (quoted ? 0x1fff : 0x3fff)) return MR_KERNEL_FRAGMENT;
    f.remote = mapped(p.data() + 12), f.local = mapped(p.data() + 16), f.protocol = p[9];
    payload = header <= total ? p.first(total).subspan(header) : Bytes();
    return -1;
  }
  if (p.size() < 40) return MR_KERNEL_MALFORMED;
  const size_t length = load16(p.data() + 4);
  if (p[0] >> 4 != 6 || (!quoted && 40 + length > p.size())) return MR_KERNEL_MALFORMED;
  if (!quoted && p[6] == 44) return MR_KERNEL_FRAGMENT;
  f.remote = plain(p.data() + 8), f.local = plain(p.data() + 24), f.protocol = p[6];
  payload = quoted ? p.subspan(40) : p.subspan(40, length);
  return -1;
}

int read_icmp(Bytes icmp, bool v4, Flow& f) {
  if (icmp.size() < (v4 ? 28u : 48u)) return MR_KERNEL_OTHER;
  const uint8_t type = icmp[0];
  if (v4 ? type != 3 && type != 11 && type != 12 : type < 1 || type > 4) return MR_KERNEL_OTHER;
  const Address addressee = f.local;
  Flow quoted;
  Bytes transport;
  const int problem = read_ip(icmp.subspan(8), v4, quoted, transport, true);
  if (problem >= 0) return problem;
  if (quoted.protocol != 6 && quoted.protocol != 17) return MR_KERNEL_OTHER;
  if (quoted.remote != addressee) return MR_KERNEL_OTHER;  // we sent it: its source is ours
  if (transport.size() < 8) return MR_KERNEL_MALFORMED;
  f.protocol = quoted.protocol;
  f.local = quoted.remote, f.remote = quoted.local;
  f.local_port = load16(transport.data()), f.remote_port = load16(transport.data() + 2);
  f.icmp = true;
  return -1;
}

int read_frame(Bytes frame, Flow& f) {
  if (frame.size() < 14) return MR_KERNEL_MALFORMED;
  int type = load16(frame.data() + 12);
  size_t link = 14;
  if (type == 0x8100) {
    if (frame.size() < 18) return MR_KERNEL_MALFORMED;
    if (load16(frame.data() + 14) & 0xfff) return MR_KERNEL_OTHER;
    type = load16(frame.data() + 16);
    link = 18;
  }
  if (type != 0x0800 && type != 0x86dd) return MR_KERNEL_OTHER;
  const bool v4 = type == 0x0800;
  Bytes payload;
  const Bytes packet = frame.subspan(link);
  const int problem = read_ip(packet, v4, f, payload, false);
  if (problem >= 0) return problem;
  // An error's quotation may be cut by the datagram's length only as far as the frame goes.
  const size_t header = v4 ? size_t(packet[0] & 15) * 4 : 40;
  if (f.protocol == (v4 ? 1 : 58)) return read_icmp(packet.subspan(header), v4, f);
  if (f.protocol != 6 && f.protocol != 17) return MR_KERNEL_OTHER;
  if (payload.size() < (f.protocol == 6 ? 20u : 8u)) return MR_KERNEL_MALFORMED;
  if (f.protocol == 6) {
    const size_t bytes = size_t(payload[12] >> 4) * 4;
    if (bytes < 20 || bytes > payload.size()) return MR_KERNEL_MALFORMED;
    f.later_tcp = (payload[13] & 0x12) != 2;
  } else if (load16(payload.data() + 4) < 8 || load16(payload.data() + 4) > payload.size()) {
    return MR_KERNEL_MALFORMED;
  }
  f.remote_port = load16(payload.data()), f.local_port = load16(payload.data() + 2);
  return -1;
}

bool is_group(const Address& a) {
  return is_v4(a) ? (a[12] & 0xf0) == 0xe0 : a[0] == 0xff;
}

// What came to a group, in a frame to a group, and not from ourselves.
int match_group(const Flow& f, int& owner) {
  owner = rules->member();
  if (f.protocol != 17 || rules->addresses.count(f.remote)) return MR_KERNEL_OTHER;
  const bool joined = rules->locals.count({owner, f.protocol, f.local, f.local_port});
  return joined ? MR_OURS_LOCAL : MR_KERNEL_OTHER;
}

// `owner`: whose it is, where it is not the kernel's.
int match(const Flow& f, int& owner) {
  const auto flow = rules->flows.find({f.protocol, f.local, f.local_port, f.remote, f.remote_port});
  if (flow != rules->flows.end()) {
    owner = flow->second;
    return flow->second == MR_OWNER_KERNEL ? MR_KERNEL_FLOW : MR_OURS_FLOW;
  }
  owner = rules->member();
  if (rules->locals.count({owner, f.protocol, f.local, f.local_port})) return MR_OURS_LOCAL;
  if (!rules->addresses.count(f.local)) return MR_KERNEL_OTHER;
  Address any{};
  if (is_v4(f.local)) any[10] = any[11] = 0xff;
  if (rules->locals.count({owner, f.protocol, any, f.local_port})) return MR_OURS_LOCAL;
  const auto block = rules->blocks.find({f.protocol, f.local_port / 64});
  if (block == rules->blocks.end()) return MR_KERNEL_OTHER;
  owner = int(block->second);
  return MR_OURS_BLOCK;
}

Verdict decide(Bytes frame) {
  Flow f;
  int decision = read_frame(frame, f);
  int owner = 0;
  if (decision < 0) {
    const bool group = is_group(f.local);
    const bool agrees = group == bool(frame[0] & 1);
    decision = !agrees ? MR_KERNEL_OTHER : group ? match_group(f, owner) : match(f, owner);
  }
  if (decision >= MR_KERNEL_FLOW) return {kPass, decision};
  const uint32_t frame_max = rules->has_queue ? rules->queue.frame_max : 0;
  const bool fits = frame_max > 0x7fff || (rules->has_queue && frame.size() <= frame_max);
  if (fits && rules->has_socket) return {kRedirect, f.icmp ? int(MR_OURS_ICMP) : decision};
  // Its stack has gone with its socket: the kernel is to say so to the peer.
  const bool gone = fits && owner == rules->member();
  return {f.later_tcp && !gone ? kDrop : kPass, MR_UNDELIVERABLE};
}

// --- inputs
// Few values each, so that rules and packets meet.
Address address_of(uint8_t n) {
  Address a{};
  if (n & 1) {
    a[10] = a[11] = 0xff, a[12] = 10, a[15] = uint8_t(n >> 1 & 3);
    if ((n >> 1 & 3) == 3) a[12] = 0;  // 0.0.0.0 and its neighbours
    if (n & 8) a[12] = 239;
  } else if (n & 6) {
    a[0] = 0xfd, a[15] = uint8_t(n >> 1 & 3);
  }
  return a;
}
uint16_t port_of(uint8_t n) {
  static constexpr uint16_t kPorts[] = {80, 64, 127, 128, 40000, 65535, 0, 63};
  return kPorts[n % 8];
}
int protocol_of(uint8_t n) {
  return n & 1 ? 6 : 17;
}

void add_rule(Rules& r, Reader& in) {
  const uint8_t kind = in.byte(), a = in.byte(), b = in.byte(), c = in.byte();
  switch (kind % 5) {
    case 0:
      r.flows[{protocol_of(kind >> 4), address_of(a), port_of(b), address_of(a >> 4 | (a & 1)),
               port_of(b >> 4)}] = c & 1 ? uint8_t(1 + (c >> 1 & 1)) : MR_OWNER_KERNEL;
      break;
    case 1:
      r.locals.insert({1 + (c & 1), protocol_of(kind >> 4), address_of(a), port_of(b)});
      break;
    case 2:
      r.addresses.insert(address_of(a));
      break;
    case 3:
      r.blocks[{protocol_of(kind >> 4), port_of(b) / 64}] = 1 + (c & 1);
      break;
    default:
      r.queue.frame_max = c < 128 ? 60u + c : c == 255 ? 0x8000 : 2048;
      r.queue.member = a & 3;
      r.has_queue = a < 240;
      r.has_socket = b < 200;
  }
}

using Frame = std::vector<uint8_t>;

size_t put_ip(Frame& f, size_t at, bool v4, int protocol, const Address& from, const Address& to,
              size_t payload) {
  f.resize(at + (v4 ? 20 : 40));
  uint8_t* p = f.data() + at;
  if (v4) {
    p[0] = 0x45, p[8] = 64, p[9] = uint8_t(protocol);
    store16(p + 2, uint16_t(20 + payload));
    std::memcpy(p + 12, from.data() + 12, 4);
    std::memcpy(p + 16, to.data() + 12, 4);
  } else {
    p[0] = 0x60, p[6] = uint8_t(protocol), p[7] = 64;
    store16(p + 4, uint16_t(payload));
    std::memcpy(p + 8, from.data(), 16);
    std::memcpy(p + 24, to.data(), 16);
  }
  return f.size();
}

void put_transport(Frame& f, int protocol, uint16_t from, uint16_t to, uint8_t flags) {
  const size_t at = f.size();
  f.resize(at + (protocol == 6 ? 20 : 8));
  store16(f.data() + at, from);
  store16(f.data() + at + 2, to);
  if (protocol == 6) {
    f[at + 12] = 0x50, f[at + 13] = flags;
  } else {
    store16(f.data() + at + 4, 8);
  }
}

// A frame that fits the rules, then damaged where the input says so.
Frame make_frame(Reader& in) {
  const uint8_t kind = in.byte(), addresses = in.byte(), ports = in.byte(), flags = in.byte();
  Address to = address_of(addresses), from = address_of(uint8_t(addresses >> 4 | (addresses & 1)));
  const bool v4 = addresses & 1;
  const int protocol = protocol_of(kind);
  const bool icmp = (kind & 6) == 6;
  const size_t transport = protocol == 6 ? 20 : 8;
  Frame f(14);
  f[0] = (addresses & 9) == 9 ? 3 : 2;
  if (kind & 8) {
    f.resize(18);
    store16(f.data() + 12, 0x8100);
    store16(f.data() + 14, kind & 128 ? uint16_t(flags) << 8 : 0);
  }
  store16(f.data() + f.size() - 2, v4 ? 0x0800 : 0x86dd);
  if (icmp) {
    const size_t inner = (v4 ? 20 : 40) + transport;
    const size_t at = put_ip(f, f.size(), v4, v4 ? 1 : 58, from, to, 8 + inner);
    f.resize(at + 8);
    f[at] = v4 ? std::array<uint8_t, 4>{3, 11, 12, 8}[flags & 3] : uint8_t(flags % 6);
    put_ip(f, f.size(), v4, protocol, to, from, transport);
    put_transport(f, protocol, port_of(ports), port_of(uint8_t(ports >> 4)), 0x10);
  } else {
    put_ip(f, f.size(), v4, protocol, from, to, transport);
    put_transport(f, protocol, port_of(uint8_t(ports >> 4)), port_of(ports), flags);
  }
  for (uint8_t n = in.byte() & 7; n > 0 && n < 5; --n) {
    const uint8_t where = in.byte(), value = in.byte();
    f[where % f.size()] = value;
  }
  const uint8_t length = in.byte();
  if (length >= 192) f.resize(length - 192u);
  if (length < 32) f.resize(f.size() + length * 8u);
  return f;
}

// Ends at the end of a page below 4 GB, the next of which cannot be read: addresses are 32 bits in
// the program's context, and a byte too far is a fault.
struct Arena {
  Arena() {
    void* p = mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    FUZZ_CHECK(p != MAP_FAILED);
    base = static_cast<uint8_t*>(p);
    FUZZ_CHECK(mprotect(base + 2 * 4096, 4096, PROT_NONE) == 0);
  }
  uint8_t* base;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Arena arena;
  Reader in(data, size);
  Rules r;
  rules = &r;
  for (uint8_t n = in.byte() & 7; n > 0; --n) add_rule(r, in);
  while (!in.empty()) {
    const Frame frame = make_frame(in);
    uint8_t* end = arena.base + 2 * 4096;
    uint8_t* start = end - frame.size();
    std::memcpy(start, frame.data(), frame.size());
    std::memset(counters, 0, sizeof counters);
    xdp_context context{uint32_t(uintptr_t(start)), uint32_t(uintptr_t(end)), 0, 1, 5};
    const int action = millrace_xdp(&context);
    const Verdict expected = decide({start, frame.size()});
    if (action != expected.action || counters[expected.counted] != 1) {
      for (int i = 0; i < MR_DECISIONS; ++i) {
        if (counters[i]) std::fprintf(stderr, "program: action %d, decision %d\n", action, i);
      }
      std::fprintf(stderr, "reference: action %d, decision %d; frame", expected.action,
                   expected.counted);
      for (const uint8_t b : frame) std::fprintf(stderr, " %02x", b);
      std::fprintf(stderr, "\n");
      FUZZ_CHECK(action == expected.action && counters[expected.counted] == 1);
    }
  }
  return 0;
}
