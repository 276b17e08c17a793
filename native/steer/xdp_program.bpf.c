// SPDX-License-Identifier: MIT
// The XDP program that parts our packets from the kernel's (see steering.h for the rules). Compiled
// by tools/build-xdp.mjs into xdp_program_code.h, which is what the package ships; it includes no
// header of the system so that the same compiler gives the same instructions everywhere.
//
// In doubt the kernel gets the packet: fragments, IPv6 extension headers, VLAN tags, anything
// malformed. One exception: a TCP segment of ours other than a first SYN that cannot be delivered
// (longer than a frame, or on a queue that nobody has) is dropped,
// because the kernel, knowing nothing of the connection, would reset it. Where the stack itself has
// gone, its socket with it, that reset is just what the peer should have.
#include "xdp_abi.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define INLINE static inline __attribute__((always_inline))
#define BE16(x) ((u16)((((x)&0xff) << 8) | ((x) >> 8)))
#define BE32(x) __builtin_bswap32(x)

struct xdp_context {  // struct xdp_md
  u32 data;
  u32 data_end;
  u32 data_meta;
  u32 ingress_ifindex;
  u32 rx_queue_index;
};

enum { XDP_DROP = 1, XDP_PASS = 2, XDP_REDIRECT = 4 };
enum { TCP = 6, UDP = 17, ICMP4 = 1, ICMP6 = 58, FRAGMENT6 = 44 };
enum { UNDECIDED = -1 };

static void* (*const map_lookup)(void* map, const void* key) = (void*)1;
static long (*const redirect_map)(void* map, u64 key, u64 flags) = (void*)51;

// Maps are symbols that the loader replaces by descriptors.
extern char mr_flows, mr_locals, mr_addresses, mr_blocks, mr_counters, mr_queues, mr_sockets;

struct packet {
  struct mr_flow_key key;
  u32 member;                // whose queue it came by
  u32 owner;                 // who is to have it, if anybody but the kernel
  u32 spare_the_connection;  // the kernel would answer with a reset
  u32 icmp;
  u32 to_group;  // the frame came to a link-layer group
};

INLINE void count(u32 decision) {
  u64* value = map_lookup(&mr_counters, &decision);
  if (value) *value += 1;
}

INLINE int pass(u32 decision) {
  count(decision);
  return XDP_PASS;
}

INLINE u16 word_at(const u8* p) {
  return *(const u16*)p;
}  // network order

// A number in network order. The verifiers of older kernels (6.1) know nothing of what comes out of
// a byte swap: the mask, which the compiler must not see through, says that it has 16 bits.
INLINE u32 number_at(const u8* p) {
  u32 number = BE16(word_at(p));
  __asm__ volatile("" : "+r"(number));
  return number & 0xffff;
}

INLINE void set_v4(struct mr_address* a, const u8* p) {
  a->word[0] = a->word[1] = 0;
  a->word[2] = BE32(0xffff);
  a->word[3] = (u32)word_at(p) | (u32)word_at(p + 2) << 16;
}

INLINE void set_v6(struct mr_address* a, const u8* p) {
  a->word[0] = (u32)word_at(p) | (u32)word_at(p + 2) << 16;
  a->word[1] = (u32)word_at(p + 4) | (u32)word_at(p + 6) << 16;
  a->word[2] = (u32)word_at(p + 8) | (u32)word_at(p + 10) << 16;
  a->word[3] = (u32)word_at(p + 12) | (u32)word_at(p + 14) << 16;
}

INLINE int same(const struct mr_address* a, const struct mr_address* b) {
  return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
         a->word[3] == b->word[3];
}

// `length`: bytes from the transport header to the end of the IP packet.
INLINE int read_transport(const u8* l4, const u8* end, u32 length, struct packet* packet) {
  if (packet->key.protocol == TCP) {
    if (length < 20 || l4 + 20 > end) return MR_KERNEL_MALFORMED;
    u32 header = (l4[12] >> 4) * 4;
    if (header < 20 || header > length) return MR_KERNEL_MALFORMED;
    // Not a SYN, or one that answers ours: a connection of ours is meant.
    packet->spare_the_connection = (l4[13] & 0x12) != 0x02;
  } else {
    if (length < 8 || l4 + 8 > end) return MR_KERNEL_MALFORMED;
    u32 datagram = number_at(l4 + 4);
    if (datagram < 8 || datagram > length) return MR_KERNEL_MALFORMED;
  }
  packet->key.remote_port = word_at(l4);
  packet->key.local_port = word_at(l4 + 2);
  return UNDECIDED;
}

// The first 8 bytes of the transport header of a packet that we sent: RFC 792, RFC 4443 3.
INLINE int read_quoted_ports(const u8* l4, const u8* end, struct packet* packet) {
  if (l4 + 8 > end) return MR_KERNEL_MALFORMED;
  packet->key.local_port = word_at(l4);
  packet->key.remote_port = word_at(l4 + 2);
  packet->icmp = 1;
  return UNDECIDED;
}

// RFC 792: destination unreachable, time exceeded, parameter problem. `icmp` is followed by the
// quoted packet.
INLINE int read_icmp4(const u8* icmp, const u8* end, struct packet* packet) {
  if (icmp + 8 + 20 > end) return MR_KERNEL_OTHER;
  if (icmp[0] != 3 && icmp[0] != 11 && icmp[0] != 12) return MR_KERNEL_OTHER;
  const u8* ip = icmp + 8;
  u32 header = (ip[0] & 15) * 4;
  if (ip[0] >> 4 != 4 || header < 20) return MR_KERNEL_MALFORMED;
  if (word_at(ip + 6) & BE16(0x1fff)) return MR_KERNEL_FRAGMENT;
  if (ip[9] != TCP && ip[9] != UDP) return MR_KERNEL_OTHER;
  struct mr_address addressee = packet->key.local;
  set_v4(&packet->key.local, ip + 12);
  set_v4(&packet->key.remote, ip + 16);
  if (!same(&addressee, &packet->key.local)) return MR_KERNEL_OTHER;
  packet->key.protocol = ip[9];
  return read_quoted_ports(ip + header, end, packet);
}

// RFC 4443: destination unreachable, packet too big, time exceeded, parameter problem.
INLINE int read_icmp6(const u8* icmp, const u8* end, struct packet* packet) {
  if (icmp + 8 + 40 > end) return MR_KERNEL_OTHER;
  if (icmp[0] < 1 || icmp[0] > 4) return MR_KERNEL_OTHER;
  const u8* ip = icmp + 8;
  if (ip[0] >> 4 != 6) return MR_KERNEL_MALFORMED;
  if (ip[6] != TCP && ip[6] != UDP) return MR_KERNEL_OTHER;
  struct mr_address addressee = packet->key.local;
  set_v6(&packet->key.local, ip + 8);
  set_v6(&packet->key.remote, ip + 24);
  if (!same(&addressee, &packet->key.local)) return MR_KERNEL_OTHER;
  packet->key.protocol = ip[6];
  return read_quoted_ports(ip + 40, end, packet);
}

INLINE int read_ipv4(const u8* ip, const u8* end, struct packet* packet) {
  if (ip + 20 > end) return MR_KERNEL_MALFORMED;
  u32 header = (ip[0] & 15) * 4;
  u32 total = number_at(ip + 2);
  if (ip[0] >> 4 != 4 || header < 20 || total < header || ip + total > end)
    return MR_KERNEL_MALFORMED;
  if (word_at(ip + 6) & BE16(0x3fff)) return MR_KERNEL_FRAGMENT;
  set_v4(&packet->key.remote, ip + 12);
  set_v4(&packet->key.local, ip + 16);
  packet->key.protocol = ip[9];
  if (ip[9] == ICMP4) return read_icmp4(ip + header, end, packet);
  if (ip[9] != TCP && ip[9] != UDP) return MR_KERNEL_OTHER;
  return read_transport(ip + header, end, total - header, packet);
}

INLINE int read_ipv6(const u8* ip, const u8* end, struct packet* packet) {
  if (ip + 40 > end) return MR_KERNEL_MALFORMED;
  u32 length = number_at(ip + 4);
  if (ip[0] >> 4 != 6 || ip + 40 + length > end) return MR_KERNEL_MALFORMED;
  if (ip[6] == FRAGMENT6) return MR_KERNEL_FRAGMENT;
  set_v6(&packet->key.remote, ip + 8);
  set_v6(&packet->key.local, ip + 24);
  packet->key.protocol = ip[6];
  if (ip[6] == ICMP6) return read_icmp6(ip + 40, end, packet);
  if (ip[6] != TCP && ip[6] != UDP) return MR_KERNEL_OTHER;
  return read_transport(ip + 40, end, length, packet);
}

INLINE u32 owner_of_block(const struct mr_flow_key* key) {
  u32 block = BE16(key->local_port) >> 6;
  if (key->protocol == UDP) block += MR_BLOCKS;
  u32* owner = map_lookup(&mr_blocks, &block);
  return owner ? *owner : 0;
}

INLINE int is_group(const struct mr_address* a) {
  if (a->word[0] == 0 && a->word[1] == 0 && a->word[2] == BE32(0xffff))
    return (a->word[3] & BE32(0xf0000000)) == BE32(0xe0000000);
  return (a->word[0] & BE32(0xff000000)) == BE32(0xff000000);
}

INLINE struct mr_local_key local_key(const struct packet* packet) {
  struct mr_local_key key = {.local = packet->key.local,
                             .port = packet->key.local_port,
                             .protocol = (u8)packet->key.protocol,
                             .member = (u8)packet->member};
  return key;
}

// A group's datagrams are ours where a rule names the group and the port. What we sent ourselves
// comes back by the kernel, which knows who wants to hear it.
INLINE int decide_group(struct packet* packet) {
  struct mr_local_key local = local_key(packet);
  if (packet->key.protocol != UDP || !map_lookup(&mr_locals, &local)) return MR_KERNEL_OTHER;
  packet->owner = packet->member;
  return map_lookup(&mr_addresses, &packet->key.remote) ? MR_KERNEL_OTHER : MR_OURS_LOCAL;
}

INLINE int decide(struct packet* packet) {
  const u8* flow = map_lookup(&mr_flows, &packet->key);
  if (flow) {
    packet->owner = *flow;
    return *flow == MR_OWNER_KERNEL ? MR_KERNEL_FLOW : MR_OURS_FLOW;
  }

  packet->owner = packet->member;
  struct mr_local_key local = local_key(packet);
  if (map_lookup(&mr_locals, &local)) return MR_OURS_LOCAL;
  if (!map_lookup(&mr_addresses, &packet->key.local)) return MR_KERNEL_OTHER;

  if (local.local.word[0] != 0 || local.local.word[1] != 0 || local.local.word[2] != BE32(0xffff)) {
    local.local.word[0] = local.local.word[1] = local.local.word[2] = 0;
  }
  local.local.word[3] = 0;
  if (map_lookup(&mr_locals, &local)) return MR_OURS_LOCAL;
  packet->owner = owner_of_block(&packet->key);
  return packet->owner ? MR_OURS_BLOCK : MR_KERNEL_OTHER;
}

INLINE int too_long(const u8* data, const u8* end, u32 frame_max) {
  if (frame_max > 0x7fff) return 0;
  return data + frame_max < end;
}

__attribute__((section("xdp"))) int millrace_xdp(struct xdp_context* context) {
  const u8* data = (const u8*)(long)context->data;
  const u8* end = (const u8*)(long)context->data_end;
  if (data + 14 > end) return pass(MR_KERNEL_MALFORMED);
  u16 type = word_at(data + 12);
  const u8* ip = data + 14;
  if (type == BE16(0x8100)) {
    // Tag 0 is a priority only (802.1Q 6.9); any other VLAN is another interface's.
    if (data + 18 > end) return pass(MR_KERNEL_MALFORMED);
    if (word_at(data + 14) & BE16(0x0fff)) return pass(MR_KERNEL_OTHER);
    type = word_at(data + 16);
    ip = data + 18;
  }

  u32 number = context->rx_queue_index;
  const struct mr_queue* queue = map_lookup(&mr_queues, &number);
  struct packet packet = {.member = queue ? queue->member : 0, .to_group = data[0] & 1};
  int decision;
  if (type == BE16(0x0800)) {
    decision = read_ipv4(ip, end, &packet);
  } else if (type == BE16(0x86dd)) {
    decision = read_ipv6(ip, end, &packet);
  } else {
    decision = MR_KERNEL_OTHER;
  }
  if (decision == UNDECIDED) {
    // RFC 1122 3.3.6: a packet to a group comes in a frame to a group, and no other does.
    u32 group = is_group(&packet.key.local);
    if (group != packet.to_group) {
      decision = MR_KERNEL_OTHER;
    } else {
      decision = group ? decide_group(&packet) : decide(&packet);
    }
  }
  if (decision > MR_OURS_ICMP) return pass((u32)decision);

  if (packet.icmp) decision = MR_OURS_ICMP;
  // What is another stack's goes to the one whose queue this is, which passes it on.
  int fits = queue && !too_long(data, end, queue->frame_max);
  int spare = packet.spare_the_connection && (!fits || packet.owner != packet.member);
  u32 otherwise = spare ? XDP_DROP : XDP_PASS;
  long action = otherwise;
  if (fits) action = redirect_map(&mr_sockets, number, otherwise);
  count(action == XDP_REDIRECT ? (u32)decision : MR_UNDELIVERABLE);
  return (int)action;
}
