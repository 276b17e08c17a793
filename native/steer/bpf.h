// SPDX-License-Identifier: MIT
// The bpf(2) system call, as little of it as the XDP steering needs. No library: the structures of
// the calls are part of the kernel's ABI and are spelled out here, so that old headers do not
// matter either. Every function returns a descriptor (close-on-exec) or 0, or a negative errno.
#pragma once

#include <cstdint>
#include <span>

namespace millrace::steer::bpf {

enum class MapType : uint32_t { kHash = 1, kArray = 2, kPerCpuArray = 6, kXskMap = 17 };

inline constexpr uint32_t kNoPrealloc = 1;

int create_map(MapType type, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries,
               uint32_t flags, const char* name);
int update(int map, const void* key, const void* value);
int remove(int map, const void* key);
int lookup(int map, const void* key, void* value);
// The key behind `key` (null: the first one). -ENOENT: there is none.
int next_key(int map, const void* key, void* next);

// `log` receives the verifier's words when it refuses the program; may be empty.
int load_xdp_program(std::span<const uint64_t> instructions, const char* name, std::span<char> log);

inline constexpr uint32_t kXdpGeneric = 1u << 1;
inline constexpr uint32_t kXdpNative = 1u << 2;
// Attaches by a link: closing the descriptor detaches. EBUSY, EEXIST: another program is there.
int link_xdp(int program, uint32_t ifindex, uint32_t mode);

}  // namespace millrace::steer::bpf
