// SPDX-License-Identifier: MIT
#include "steer/xdp_steering.h"

#include <net/if.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <vector>

#include "base/capability.h"
#include "base/clock_os.h"
#include "base/close_fd.h"
#include "steer/bpf.h"
#include "steer/xdp_abi.h"

namespace millrace::steer {
namespace {

constexpr Duration kPatience = Duration::millis(2000);
constexpr uint32_t kSweepMax = 200'000;
// So many rounds, of a second each, a queue may have no owner until what comes by it counts as
// lost.
constexpr uint32_t kRoundsUncovered = 3;

mr_address to_abi(const wire::IpAddress& address) {
  mr_address a;
  std::memcpy(&a, address.data(), sizeof(a));
  return a;
}

uint16_t network_order(uint16_t port) {
  uint16_t out;
  wire::store16(reinterpret_cast<uint8_t*>(&out), port);
  return out;
}

mr_flow_key to_abi(Protocol protocol, const wire::FlowKey& flow) {
  return {to_abi(flow.local.address), to_abi(flow.remote.address), network_order(flow.local.port),
          network_order(flow.remote.port), uint32_t(protocol)};
}

// bpf(2) says E2BIG for a full hash map.
Error to_error(int result) {
  if (result >= 0) return kOk;
  return {-result == E2BIG ? ENOBUFS : -result};
}

// What a refused bpf(2) call lacks, for the error text.
const char* missing_privilege() {
  if (!has_capability(Capability::kNetAdmin)) return "CAP_NET_ADMIN";
  if (!has_capability(Capability::kBpf) && !has_capability(Capability::kSysAdmin)) {
    return "CAP_BPF (CAP_SYS_ADMIN before Linux 5.8)";
  }
  return "a privilege (is bpf(2) forbidden by seccomp, a user namespace or lockdown?)";
}

}  // namespace

XdpSteering::XdpSteering() {
  maps_.fill(-1);
}

XdpSteering::~XdpSteering() {
  close();
}

std::unique_ptr<XdpSteering> XdpSteering::open(const char* interface,
                                               const XdpSteeringOptions& options,
                                               SetupError& error) {
  if (std::endian::native != std::endian::little) {
    error.set(EOPNOTSUPP, "XDP steering is built for little-endian machines only");
    return nullptr;
  }
  const uint32_t ifindex = if_nametoindex(interface);
  if (ifindex == 0) {
    error.set(ENODEV, "there is no network interface \"%s\"", interface);
    return nullptr;
  }
  std::unique_ptr<XdpSteering> steering(new (std::nothrow) XdpSteering());
  if (!steering) {
    error.set(ENOMEM, "out of memory");
    return nullptr;
  }
  steering->sharing_ = Sharing::claim(ifindex, options.queues_wanted, error);
  if (!steering->sharing_) return nullptr;
  // Whoever held the program a moment ago may be on its way out, or have the news of it on the way.
  const Instant give_up = monotonic_now() + kPatience;
  bool attached = false;
  for (;;) {
    Sharing::Handout handout;
    const Sharing::Found found = steering->sharing_->find(handout, kPatience, error);
    if (found == Sharing::Found::kFailed) return nullptr;
    if (found == Sharing::Found::kOthers) {
      std::copy_n(handout.descriptors.begin(), kXdpMaps, steering->maps_.begin());
      steering->link_ = handout.link();
      steering->native_ = handout.native;
      attached = steering->join(options, error);
      break;
    }
    attached = steering->attach_first(interface, ifindex, options, error);
    if (attached || error.code != EBUSY || monotonic_now() >= give_up) break;
    steering->close_descriptors();
    const timespec pause{0, 10'000'000};
    nanosleep(&pause, nullptr);
  }
  if (!attached) return nullptr;
  Sharing::Handout handout;
  std::copy(steering->maps_.begin(), steering->maps_.end(), handout.descriptors.begin());
  handout.descriptors[kXdpMaps] = steering->link_;
  handout.native = steering->native_;
  steering->sharing_->serve(handout, *steering);
  return steering;
}

bool XdpSteering::attach_first(const char* interface, uint32_t ifindex,
                               const XdpSteeringOptions& options, SetupError& error) {
  return create_maps(options, error) && load(error) &&
         attach(interface, ifindex, options.mode, error);
}

bool XdpSteering::join(const XdpSteeringOptions& options, SetupError& error) {
  joined_ = true;
  const bool agrees =
      options.mode == XdpMode::kAuto || (options.mode == XdpMode::kNative) == native_;
  if (!agrees) {
    error.set(EBUSY, "others share the interface already, in %s mode",
              native_ ? "native" : "generic");
    return false;
  }
  sweep(sharing_->member());
  return true;
}

bool XdpSteering::create_maps(const XdpSteeringOptions& options, SetupError& error) {
  using bpf::MapType;
  const struct {
    XdpMap which;
    MapType type;
    size_t key_bytes, value_bytes;
    uint32_t entries, flags;
    const char* name;
  } specs[] = {
      // Not preallocated: the limits are generous and the tables mostly empty.
      {XdpMap::kFlows, MapType::kHash, sizeof(mr_flow_key), 1, options.flows_max, bpf::kNoPrealloc,
       "mr_flows"},
      {XdpMap::kLocals, MapType::kHash, sizeof(mr_local_key), 1, options.locals_max,
       bpf::kNoPrealloc, "mr_locals"},
      {XdpMap::kAddresses, MapType::kHash, sizeof(mr_address), 1, options.addresses_max,
       bpf::kNoPrealloc, "mr_addresses"},
      {XdpMap::kBlocks, MapType::kArray, 4, 4, 2 * MR_BLOCKS, 0, "mr_blocks"},
      {XdpMap::kCounters, MapType::kPerCpuArray, 4, 8, MR_DECISIONS, 0, "mr_counters"},
      {XdpMap::kQueues, MapType::kArray, 4, sizeof(mr_queue), options.queues_max, 0, "mr_queues"},
      {XdpMap::kSockets, MapType::kXskMap, 4, 4, options.queues_max, 0, "mr_sockets"},
  };
  static_assert(std::size(specs) == kXdpMaps);
  for (const auto& spec : specs) {
    const int fd = bpf::create_map(spec.type, uint32_t(spec.key_bytes), uint32_t(spec.value_bytes),
                                   spec.entries, spec.flags, spec.name);
    if (fd >= 0) {
      maps_[size_t(spec.which)] = fd;
      continue;
    }
    if (fd == -EPERM || fd == -EACCES) {
      error.set(-fd, "cannot create the steering tables: missing %s", missing_privilege());
    } else {
      error.set(-fd, "cannot create the steering table %s with %u entries: %s", spec.name,
                spec.entries, std::strerror(-fd));
    }
    return false;
  }
  return true;
}

bool XdpSteering::load(SetupError& error) {
  constexpr uint64_t kLoadMapFd = 1;  // BPF_PSEUDO_MAP_FD, in the source register field of ld_imm64
  std::vector<uint64_t> code(std::begin(kXdpInstructions), std::end(kXdpInstructions));
  for (const XdpRelocation& r : kXdpRelocations) {
    code[r.instruction] |= kLoadMapFd << 12 | uint64_t(uint32_t(map(r.map))) << 32;
  }
  std::vector<char> log(16384);
  const int fd = bpf::load_xdp_program(code, "millrace", log);
  if (fd >= 0) {
    program_ = fd;
    return true;
  }
  if (fd == -EPERM) {
    error.set(EPERM, "cannot load the XDP program: missing %s", missing_privilege());
    return false;
  }
  // Reading behind IPv4 options takes pointer arithmetic that the verifier allows to some only.
  if (fd == -EACCES && !has_capability(Capability::kPerfmon) &&
      !has_capability(Capability::kSysAdmin)) {
    error.set(EACCES,
              "cannot load the XDP program: missing CAP_PERFMON (CAP_SYS_ADMIN before 5.8)");
    return false;
  }
  // The verifier's last line of substance says what it did not like.
  std::string_view words(log.data());
  const size_t tail = words.find_last_not_of("\n");
  words = words.substr(0, tail == words.npos ? 0 : tail + 1);
  if (words.size() > 160) words = words.substr(words.size() - 160);
  error.set(-fd, "the kernel refuses the XDP program (%s): %.*s", std::strerror(-fd),
            int(words.size()), words.data());
  return false;
}

bool XdpSteering::attach(const char* interface, uint32_t ifindex, XdpMode mode, SetupError& error) {
  int result = -EOPNOTSUPP;
  if (mode != XdpMode::kGeneric) {
    result = bpf::link_xdp(program_, ifindex, bpf::kXdpNative);
    native_ = result >= 0;
  }
  // EBUSY, EEXIST: a program is there in one mode or the other; another mode would not help.
  const bool busy = result == -EBUSY || result == -EEXIST;
  if (result < 0 && !busy && result != -EPERM && mode != XdpMode::kNative) {
    result = bpf::link_xdp(program_, ifindex, bpf::kXdpGeneric);
  }
  if (result >= 0) {
    link_ = result;
    return true;
  }
  if (result == -EBUSY || result == -EEXIST) {
    error.set(EBUSY,
              "another XDP program is attached to \"%s\" already (see: ip link show dev %s); an "
              "interface takes one",
              interface, interface);
  } else if (result == -EPERM) {
    error.set(EPERM, "cannot attach an XDP program to \"%s\": missing %s", interface,
              missing_privilege());
  } else {
    error.set(-result, "cannot attach an XDP program to \"%s\" in %s mode: %s", interface,
              mode == XdpMode::kNative ? "native" : "generic",
              result == -EINVAL ? "not supported (needs Linux 5.9)" : std::strerror(-result));
  }
  return false;
}

Error XdpSteering::set_frame_limit(uint32_t bytes) {
  frame_limit_bytes_ = bytes;
  for (uint32_t queue = 0;; ++queue) {
    mr_queue record;
    if (bpf::lookup(map(XdpMap::kQueues), &queue, &record) < 0) return kOk;
    if (record.member != sharing_->member()) continue;
    record.frame_max = bytes;
    const int result = bpf::update(map(XdpMap::kQueues), &queue, &record);
    if (result < 0) return to_error(result);
  }
}

// The record first: a rule that its last owner left must not lead to this one's socket.
Error XdpSteering::set_queue(uint32_t queue, int socket_fd) {
  const mr_queue record{sharing_->member(), frame_limit_bytes_, 0};
  const int result = bpf::update(map(XdpMap::kQueues), &queue, &record);
  if (result < 0) return to_error(result);
  return to_error(bpf::update(map(XdpMap::kSockets), &queue, &socket_fd));
}

Error XdpSteering::set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) {
  if (!is_exact(flow)) return {EINVAL};
  const mr_flow_key key = to_abi(protocol, flow);
  const uint8_t value = owner == Owner::kKernel ? MR_OWNER_KERNEL : sharing_->member();
  const int result = bpf::update(map(XdpMap::kFlows), &key, &value);
  return noted(result, {.by = "xdp",
                        .kind = owner == Owner::kKernel ? RuleReport::Kind::kKernelFlow
                                                        : RuleReport::Kind::kOurFlow,
                        .protocol = uint8_t(protocol),
                        .local = flow.local,
                        .remote = flow.remote});
}

Error XdpSteering::remove_flow(Protocol protocol, const wire::FlowKey& flow) {
  const mr_flow_key key = to_abi(protocol, flow);
  return to_error(bpf::remove(map(XdpMap::kFlows), &key));
}

namespace {
uint32_t block_index(Protocol protocol, uint16_t first_port) {
  return (protocol == Protocol::kUdp ? MR_BLOCKS : 0) + first_port / kPortBlockSize;
}
bool is_block(uint16_t first_port) {
  return first_port != 0 && first_port % kPortBlockSize == 0;
}
}  // namespace

Error XdpSteering::set_block(uint32_t block, uint32_t owner) {
  return to_error(bpf::update(map(XdpMap::kBlocks), &block, &owner));
}

Error XdpSteering::add_port_block(Protocol protocol, uint16_t first_port) {
  if (!is_block(first_port)) return {EINVAL};
  const Error error = set_block(block_index(protocol, first_port), sharing_->member());
  return noted(-error.code, {.by = "xdp",
                             .kind = RuleReport::Kind::kBlock,
                             .protocol = uint8_t(protocol),
                             .local = {{}, first_port},
                             .port_mask = uint16_t(~(kPortBlockSize - 1))});
}

Error XdpSteering::remove_port_block(Protocol protocol, uint16_t first_port) {
  if (!is_block(first_port)) return {EINVAL};
  const uint32_t block = block_index(protocol, first_port);
  uint32_t owner = 0;
  const int result = bpf::lookup(map(XdpMap::kBlocks), &block, &owner);
  if (result < 0) return to_error(result);
  if (owner != sharing_->member()) return {ENOENT};
  return set_block(block, 0);
}

Error XdpSteering::add_local(Protocol protocol, const wire::Endpoint& local) {
  if (local.port == 0) return {EINVAL};
  const mr_local_key key{to_abi(local.address), network_order(local.port), uint8_t(protocol),
                         sharing_->member()};
  const uint8_t value = 1;
  const int result = bpf::update(map(XdpMap::kLocals), &key, &value);
  return noted(result, {.by = "xdp", .protocol = uint8_t(protocol), .local = local});
}

Error XdpSteering::remove_local(Protocol protocol, const wire::Endpoint& local) {
  const mr_local_key key{to_abi(local.address), network_order(local.port), uint8_t(protocol),
                         sharing_->member()};
  return to_error(bpf::remove(map(XdpMap::kLocals), &key));
}

Error XdpSteering::add_address(const wire::IpAddress& address) {
  if (address.is_unspecified() || address.is_multicast()) return {EINVAL};
  const mr_address key = to_abi(address);
  const uint8_t value = 1;
  return to_error(bpf::update(map(XdpMap::kAddresses), &key, &value));
}

Error XdpSteering::remove_address(const wire::IpAddress& address) {
  const mr_address key = to_abi(address);
  return to_error(bpf::remove(map(XdpMap::kAddresses), &key));
}

SteeringCounters XdpSteering::counters() const {
  // The kernel writes one value per possible processor; it knows at most this many
  // (CONFIG_NR_CPUS).
  constexpr size_t kProcessorsMax = 8192;
  uint64_t totals[MR_DECISIONS] = {};
  std::vector<uint64_t> per_cpu(kProcessorsMax);
  for (uint32_t decision = 0; decision < MR_DECISIONS; ++decision) {
    std::fill(per_cpu.begin(), per_cpu.end(), 0);
    if (bpf::lookup(map(XdpMap::kCounters), &decision, per_cpu.data()) < 0) continue;
    for (uint64_t value : per_cpu) totals[decision] += value;
  }
  SteeringCounters out;
  static_assert(sizeof(out) == sizeof(totals));
  std::memcpy(&out, totals, sizeof(out));
  return out;
}

// --- other stacks on the interface

uint8_t XdpSteering::block_owner(Protocol protocol, uint16_t port) const {
  const uint32_t block = block_index(protocol, port);
  uint32_t owner = 0;
  return bpf::lookup(map(XdpMap::kBlocks), &block, &owner) < 0 ? uint8_t(0) : uint8_t(owner);
}

// An exact flow tells, and where there is none, the block that the local port is in.
Whose XdpSteering::pass_on(Protocol protocol, const wire::FlowKey& flow, std::span<uint8_t> frame) {
  const mr_flow_key key = to_abi(protocol, flow);
  uint8_t owner = 0;
  const bool by_flow = bpf::lookup(map(XdpMap::kFlows), &key, &owner) == 0;
  if (!by_flow) owner = block_owner(protocol, flow.local.port);
  if (owner == MR_OWNER_KERNEL) return Whose::kKernels;
  if (owner == 0 || owner == sharing_->member()) return Whose::kNobodys;
  if (!note_hop(frame, sharing_->member())) return Whose::kNobodys;
  const Error error = sharing_->send(owner, frame);
  if (!error) return Whose::kPassedOn;
  if (error.code != ECONNREFUSED) return Whose::kLost;
  // Its owner is dead; look_round() takes away what else it has left.
  if (by_flow) static_cast<void>(bpf::remove(map(XdpMap::kFlows), &key));
  return Whose::kNobodys;
}

// Round the members from the one that got it: it has been everywhere when that is the next.
bool XdpSteering::pass_along(std::span<uint8_t> frame) {
  const uint8_t us = sharing_->member();
  if (!note_hop(frame, us)) return false;
  for (unsigned i = 0; i < MR_MEMBERS_MAX; ++i) {
    const auto next = uint8_t((us + i) % MR_MEMBERS_MAX + 1);
    if (next == hop_origin(frame) || next == us) return false;
    const Error error = sharing_->send(next, frame);
    if (error.code != ECONNREFUSED) return true;  // or lost
  }
  return false;
}

void XdpSteering::pass_on_to_all(std::span<uint8_t> frame) {
  if (!note_hop(frame, sharing_->member())) return;
  for (unsigned member = 1; member <= MR_MEMBERS_MAX; ++member) {
    if (member == sharing_->member()) continue;
    static_cast<void>(sharing_->send(uint8_t(member), frame));
  }
}

template <typename Key, typename Value, typename Ours>
void XdpSteering::sweep_hash(XdpMap which, Ours&& ours) {
  std::vector<Key> doomed;
  Key key, next;
  const void* at = nullptr;
  // A table that changes meanwhile may start from the beginning again.
  for (uint32_t n = 0; n < kSweepMax && bpf::next_key(map(which), at, &next) == 0; ++n) {
    key = next;
    at = &key;
    Value value;
    if (bpf::lookup(map(which), &key, &value) == 0 && ours(key, value)) doomed.push_back(key);
  }
  for (const Key& k : doomed) static_cast<void>(bpf::remove(map(which), &k));
}

// The queues first: without them no rule by local port holds.
void XdpSteering::sweep(uint8_t us) {
  for (uint32_t queue = 0;; ++queue) {
    mr_queue record;
    if (bpf::lookup(map(XdpMap::kQueues), &queue, &record) < 0) break;
    const mr_queue nobody{};
    if (record.member == us || record.keeper == us) {
      static_cast<void>(bpf::update(map(XdpMap::kQueues), &queue, &nobody));
    }
  }
  sweep_hash<mr_local_key, uint8_t>(
      XdpMap::kLocals, [us](const mr_local_key& key, uint8_t) { return key.member == us; });
  sweep_hash<mr_flow_key, uint8_t>(XdpMap::kFlows,
                                   [us](const mr_flow_key&, uint8_t owner) { return owner == us; });
  for (uint32_t block = 0; block < 2 * MR_BLOCKS; ++block) {
    uint32_t owner = 0;
    if (bpf::lookup(map(XdpMap::kBlocks), &block, &owner) == 0 && owner == us) {
      static_cast<void>(set_block(block, 0));
    }
  }
}

// --- queues without an owner

void XdpSteering::set_keeper(QueueKeeper* keeper, uint32_t device_queues) {
  {
    const std::lock_guard lock(keeper_mutex_);
    keeper_ = keeper;
    device_queues_ = device_queues;
    covered_ = false;
    // With others there, a queue without an owner may be one that is just changing hands.
    rounds_uncovered_ = sharing_->anyone_else() ? 0 : kRoundsUncovered;
  }
  if (!keeper) return;
  look_round();
  sharing_->look_round_soon();
}

void XdpSteering::newcomer(uint32_t wanted) {
  const std::lock_guard lock(keeper_mutex_);
  if (keeper_) keeper_->give_back(wanted);
}

// What the dead have left goes. A queue that changes its owner has none for a moment; for how long
// is told by the rounds.
void XdpSteering::look_round() {
  const std::lock_guard lock(keeper_mutex_);
  bury_dead();
  if (!keeper_) return;
  const std::vector<uint32_t> loose = loose_queues();
  if (!loose.empty() && sharing_->is_first()) keeper_->take(loose);
  rounds_uncovered_ = loose_queues().empty() ? 0 : rounds_uncovered_ + 1;
  covered_ = rounds_uncovered_ < kRoundsUncovered;
}

void XdpSteering::bury_dead() {
  for (uint32_t queue = 0;; ++queue) {
    mr_queue record;
    if (bpf::lookup(map(XdpMap::kQueues), &queue, &record) < 0) return;
    const auto owner = uint8_t(record.member ? record.member : record.keeper);
    if (owner == 0 || owner == sharing_->member() || sharing_->is_alive(owner)) continue;
    sharing_->bury(owner, [&] { sweep(owner); });
  }
}

std::vector<uint32_t> XdpSteering::loose_queues() const {
  std::vector<uint32_t> loose;
  for (uint32_t queue = 0; queue < device_queues_; ++queue) {
    mr_queue record;
    if (bpf::lookup(map(XdpMap::kQueues), &queue, &record) < 0) break;
    if (record.member == 0 && record.keeper == 0) loose.push_back(queue);
  }
  return loose;
}

// A socket without a record gets nothing, and there is no moment at which the record is somebody
// else's: nobody has the queue.
Error XdpSteering::set_spare_queue(uint32_t queue, int socket_fd, uint32_t frame_max_bytes) {
  const Error error = to_error(bpf::update(map(XdpMap::kSockets), &queue, &socket_fd));
  if (error) return error;
  const mr_queue record{0, frame_max_bytes, sharing_->member()};
  return to_error(bpf::update(map(XdpMap::kQueues), &queue, &record));
}

void XdpSteering::clear_spare_queue(uint32_t queue) {
  const mr_queue nobody{};
  static_cast<void>(bpf::update(map(XdpMap::kQueues), &queue, &nobody));
}

void XdpSteering::close_descriptors() {
  close_fd(link_);
  close_fd(program_);
  for (int& fd : maps_) close_fd(fd);
}

// While the number is ours nobody else sweeps with it.
void XdpSteering::close() {
  if (sharing_) {
    if (link_ >= 0 && sharing_->anyone_else()) sweep(sharing_->member());
    sharing_->close();
  }
  close_descriptors();
}

}  // namespace millrace::steer
