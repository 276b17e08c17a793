/* SPDX-License-Identifier: MIT
 * What the XDP program and the process share: map keys and values, and the decisions that are
 * counted. Included by C for the BPF target and by C++; no other header is needed by either.
 */
#pragma once

struct mr_address { /* 16 bytes as on the wire; IPv4 as IPv4-mapped IPv6 */
  unsigned int word[4];
};

struct mr_flow_key { /* ports in network byte order */
  struct mr_address local;
  struct mr_address remote;
  unsigned short local_port;
  unsigned short remote_port;
  unsigned int protocol;
};

/* Several stacks may share an interface, each with queues of its own. A member is numbered from 1;
 * 0 is nobody. A local rule is its member's, and holds on that member's queues only. */
struct mr_local_key {
  struct mr_address local;
  unsigned short port;
  unsigned char protocol;
  unsigned char member;
};

/* What a receive queue is told: whose it is, and the longest frame that its socket can take. One
 * that is nobody's may be in the keeping of a member, which has a socket on it. */
struct mr_queue {
  unsigned int member;
  unsigned int frame_max;
  unsigned int keeper;
};

/* The value of a flow: the member whose it is, or the kernel. */
#define MR_MEMBERS_MAX 64
#define MR_OWNER_KERNEL 255

/* Port blocks: the member that has the block of 64 ports, or 0; 1,024 of TCP before those of UDP.
 */
#define MR_BLOCKS 1024

enum mr_decision { /* in the order of the steering counters */
                   MR_OURS_FLOW,
                   MR_OURS_LOCAL,
                   MR_OURS_BLOCK,
                   MR_OURS_ICMP,
                   MR_UNDELIVERABLE,
                   MR_KERNEL_FLOW,
                   MR_KERNEL_FRAGMENT,
                   MR_KERNEL_MALFORMED,
                   MR_KERNEL_OTHER,
                   MR_DECISIONS
};
