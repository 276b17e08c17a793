// SPDX-License-Identifier: MIT
#include "steer/bpf.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace millrace::steer::bpf {
namespace {

// Commands and attribute layouts of bpf(2), from the stable ABI.
enum Command : int {
  kMapCreate = 0,
  kMapLookup = 1,
  kMapUpdate = 2,
  kMapDelete = 3,
  kMapNextKey = 4,
  kProgLoad = 5,
  kLinkCreate = 28,
};

struct MapCreateAttr {
  uint32_t type, key_bytes, value_bytes, entries, flags, inner_map, numa_node;
  char name[16];
};

struct alignas(8) MapElementAttr {
  uint32_t map, padding;
  uint64_t key, value, flags;
};

struct alignas(8) ProgLoadAttr {
  uint32_t type, instruction_count;
  uint64_t instructions, license;
  uint32_t log_level, log_bytes;
  uint64_t log;
  uint32_t kernel_version, flags;
  char name[16];
  uint32_t ifindex, expected_attach_type;
};

struct LinkCreateAttr {
  uint32_t program, target_ifindex, attach_type, flags;
};

constexpr uint32_t kProgTypeXdp = 6;
constexpr uint32_t kAttachXdp = 37;
constexpr int kLoadTries = 5;

template <typename Attr>
int call(Command command, Attr& attr) {
  const long result = syscall(SYS_bpf, command, &attr, sizeof(attr));
  return result < 0 ? -errno : int(result);
}

uint64_t pointer(const void* p) {
  return uint64_t(reinterpret_cast<uintptr_t>(p));
}

int element(Command command, int map, const void* key, const void* value) {
  MapElementAttr attr{uint32_t(map), 0, pointer(key), pointer(value), 0};
  return call(command, attr);
}

// The verifier gives up with EAGAIN when a signal is pending (a profiler sends one every
// millisecond): none reaches this thread meanwhile, and what was pending before is worth another
// try.
int load(ProgLoadAttr& attr) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int fd = call(kProgLoad, attr);
  for (int tries = 1; fd == -EAGAIN && tries < kLoadTries; ++tries) fd = call(kProgLoad, attr);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return fd;
}

}  // namespace

int create_map(MapType type, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries,
               uint32_t flags, const char* name) {
  MapCreateAttr attr{uint32_t(type), key_bytes, value_bytes, entries, flags, 0, 0, {}};
  std::strncpy(attr.name, name, sizeof(attr.name) - 1);
  return call(kMapCreate, attr);
}

int update(int map, const void* key, const void* value) {
  return element(kMapUpdate, map, key, value);
}
int remove(int map, const void* key) {
  return element(kMapDelete, map, key, nullptr);
}
int lookup(int map, const void* key, void* value) {
  return element(kMapLookup, map, key, value);
}

int next_key(int map, const void* key, void* next) {
  return element(kMapNextKey, map, key, next);
}

int load_xdp_program(std::span<const uint64_t> instructions, const char* name,
                     std::span<char> log) {
  ProgLoadAttr attr{};
  attr.type = kProgTypeXdp;
  attr.instruction_count = uint32_t(instructions.size());
  attr.instructions = pointer(instructions.data());
  attr.license = pointer("MIT");  // no helper that is reserved to the GPL is called
  std::strncpy(attr.name, name, sizeof(attr.name) - 1);
  attr.expected_attach_type = kAttachXdp;
  const int fd = load(attr);
  if (fd >= 0 || log.empty()) return fd;
  attr.log_level = 1;
  attr.log = pointer(log.data());
  attr.log_bytes = uint32_t(log.size());
  log[0] = '\0';
  return load(attr);
}

int link_xdp(int program, uint32_t ifindex, uint32_t mode) {
  LinkCreateAttr attr{uint32_t(program), ifindex, kAttachXdp, mode};
  return call(kLinkCreate, attr);
}

}  // namespace millrace::steer::bpf
