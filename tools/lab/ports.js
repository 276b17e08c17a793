// SPDX-License-Identifier: MIT
// Over which port the programs of a lab run, by LAB_PORT: how the port is named to them, and what of it a test may count
// on. af_xdp (unless told otherwise): the interfaces of a veth pair. dpdk: the same by DPDK's driver for AF_XDP. memif: no
// interfaces but taps, and shared memory between two programs that both run millrace (DPDK's net_memif).
'use strict';

const path = require('node:path');

/**
 * `xdp`: a program on a kernel's interface sorts packets, and what is not ours never comes here; otherwise all come, are
 * sorted in software, and the kernel gets its share by a tap while somebody runs. `longPackets`: a veth pair that may have
 * offload on gets long packets, for the kernel to cut. `oneAtATime`: there is one program at each end of the wire.
 * `memoryMb`: of its own, seen in a process once it has been used. `queues`: that one program may have of the wire. `shares`: several programs are on one interface, on a queue each. `clusters`, `threads`, `opens`: workers of a cluster,
 * worker threads, connections that either opens, are on the fast path.
 */
const kPorts = {
  af_xdp: {
    memoryMb: 0,
    queues: 16,
    xdp: true,
    longPackets: true,
    oneAtATime: false,
    shares: true,
    clusters: true,
    threads: true,
    opens: true,
  },
  dpdk: {
    memoryMb: 64, // packets' memory, which AF_XDP has in use from the start
    queues: 1,
    xdp: true,
    longPackets: false,
    oneAtATime: false,
    shares: false,
    clusters: false,
    threads: true,
    opens: false,
  },
  memif: {
    memoryMb: 80, // that, and two rings of 4,096 packets
    queues: 16,
    xdp: false,
    longPackets: false,
    oneAtATime: true,
    shares: false,
    clusters: false,
    threads: false,
    opens: false,
  },
};

const name = process.env['LAB_PORT'] ?? 'af_xdp';
if (!Object.hasOwn(kPorts, name)) throw new Error(`LAB_PORT is one of ${Object.keys(kPorts).join(', ')}, not ${name}`);

const port = { name, ...kPorts[name] };

/**
 * Options for a program on this side of the lab. Of a veth pair DPDK's driver sees one queue: a device for each is for
 * threads, which take one each (`several`).
 */
function portOptions(side, { peer, wire, folder, options }, several = false) {
  const queues = options.queues ?? 1;
  if (name === 'af_xdp') return { MILLRACE_PORT: 'af_xdp', MILLRACE_INTERFACE: side.interface };
  if (name === 'memif') {
    // One queue is what a device is opened with unless it is told.
    return { ...memifOptions(side, side === peer || side === wire, folder), MILLRACE_QUEUES: String(queues) };
  }
  const device = (queue) => `--vdev net_af_xdp${queue},iface=${side.interface},start_queue=${queue},busy_budget=0`;
  return {
    MILLRACE_PORT: 'dpdk',
    MILLRACE_INTERFACE: side.interface,
    MILLRACE_DPDK_ARGS: Array.from({ length: several ? queues : 1 }, (_, queue) => device(queue)).join(' '),
  };
}

/** Of the ends of a memif, and of their taps. */
const macs = { near: '02:00:00:00:00:01', far: '02:00:00:00:00:02' };

/**
 * The rings are as long as a wire for tests should be that send in bursts and never again: of what finds one full the rest
 * is lost. The taps are there, with their addresses, before the programs and after them.
 */
function memifOptions(side, far, folder) {
  const [role, mac] = far ? ['server', macs.far] : ['client', macs.near];
  const device = `net_memif0,role=${role},socket=${path.join(folder, 'memif')},socket-abstract=no,rsize=12,mac=${mac}`;
  return {
    MILLRACE_PORT: 'dpdk',
    MILLRACE_INTERFACE: '',
    MILLRACE_DPDK_ARGS: `--vdev ${device}`,
    MILLRACE_DPDK_TAP: side.interface,
  };
}

module.exports = { port, portOptions, macs };
