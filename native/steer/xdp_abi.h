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

struct mr_local_key {
  struct mr_address local;
  unsigned short port;
  unsigned short protocol;
};

enum mr_owner { MR_OWNER_OURS = 1, MR_OWNER_KERNEL = 2 };

/* Port blocks: one bit per block of 64 ports, 1,024 blocks, 16 words; TCP's words before UDP's. */
#define MR_BLOCK_WORDS 16

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
