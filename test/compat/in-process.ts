/**
 * By which port the two ends of these tests, in one process, reach each other: the stack's own, or with LAB_PORT=ring port
 * dpdk over a ring of DPDK's, which gives back what it is sent.
 */
export const inProcess: Readonly<Record<string, string>> =
  process.env['LAB_PORT'] === 'ring'
    ? { MILLRACE_PORT: 'dpdk', MILLRACE_DPDK_ARGS: '--vdev=net_ring0' }
    : { MILLRACE_PORT: 'loopback' };
