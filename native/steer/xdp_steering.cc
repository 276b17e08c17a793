// SPDX-License-Identifier: MIT
#include "steer/xdp_steering.h"

#include <net/if.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <new>
#include <vector>

#include "base/capability.h"
#include "steer/bpf.h"
#include "steer/xdp_abi.h"

namespace millrace::steer {
namespace {

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

bool valid(const wire::FlowKey& flow) {
  return flow.local.address.is_v4() == flow.remote.address.is_v4() && flow.local.port != 0 &&
         flow.remote.port != 0 && !flow.local.address.is_unspecified() &&
         !flow.remote.address.is_unspecified();
}

// bpf(2) says E2BIG for a full hash map.
Error to_error(int result) {
  if (result >= 0) return kOk;
  return {-result == E2BIG ? ENOBUFS : -result};
}

void close_fd(int& fd) {
  if (fd >= 0) ::close(fd);
  fd = -1;
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
  if (!steering->create_maps(options, error) || !steering->load(error) ||
      !steering->attach(interface, ifindex, options.mode, error)) {
    return nullptr;
  }
  return steering;
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
      {XdpMap::kBlocks, MapType::kArray, 4, 8, 2 * MR_BLOCK_WORDS, 0, "mr_blocks"},
      {XdpMap::kCounters, MapType::kPerCpuArray, 4, 8, MR_DECISIONS, 0, "mr_counters"},
      {XdpMap::kConfig, MapType::kArray, 4, 4, 1, 0, "mr_config"},
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
  const uint32_t key = 0;
  return to_error(bpf::update(map(XdpMap::kConfig), &key, &bytes));
}

Error XdpSteering::set_queue(uint32_t queue, int socket_fd) {
  return to_error(bpf::update(map(XdpMap::kSockets), &queue, &socket_fd));
}

Error XdpSteering::set_flow(Protocol protocol, const wire::FlowKey& flow, Owner owner) {
  if (!valid(flow)) return {EINVAL};
  const mr_flow_key key = to_abi(protocol, flow);
  const uint8_t value = uint8_t(owner);
  return to_error(bpf::update(map(XdpMap::kFlows), &key, &value));
}

Error XdpSteering::remove_flow(Protocol protocol, const wire::FlowKey& flow) {
  const mr_flow_key key = to_abi(protocol, flow);
  return to_error(bpf::remove(map(XdpMap::kFlows), &key));
}

Error XdpSteering::change_port_block(Protocol protocol, uint16_t first_port, bool present) {
  if (first_port == 0 || first_port % kPortBlockSize != 0) return {EINVAL};
  const uint32_t block = first_port / kPortBlockSize;
  const uint32_t word = (protocol == Protocol::kUdp ? MR_BLOCK_WORDS : 0) + block / 64;
  const uint64_t bit = 1ull << (block % 64);
  uint64_t bits = 0;
  int result = bpf::lookup(map(XdpMap::kBlocks), &word, &bits);
  if (result < 0) return to_error(result);
  if (!present && !(bits & bit)) return {ENOENT};
  bits = present ? bits | bit : bits & ~bit;
  return to_error(bpf::update(map(XdpMap::kBlocks), &word, &bits));
}

Error XdpSteering::add_port_block(Protocol protocol, uint16_t first_port) {
  return change_port_block(protocol, first_port, true);
}

Error XdpSteering::remove_port_block(Protocol protocol, uint16_t first_port) {
  return change_port_block(protocol, first_port, false);
}

Error XdpSteering::add_local(Protocol protocol, const wire::Endpoint& local) {
  if (local.port == 0) return {EINVAL};
  const mr_local_key key{to_abi(local.address), network_order(local.port), uint16_t(protocol)};
  const uint8_t value = 1;
  return to_error(bpf::update(map(XdpMap::kLocals), &key, &value));
}

Error XdpSteering::remove_local(Protocol protocol, const wire::Endpoint& local) {
  const mr_local_key key{to_abi(local.address), network_order(local.port), uint16_t(protocol)};
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

void XdpSteering::close() {
  close_fd(link_);
  close_fd(program_);
  for (int& fd : maps_) close_fd(fd);
}

}  // namespace millrace::steer
