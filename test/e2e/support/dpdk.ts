// SPDX-License-Identifier: MIT
// What tests of port dpdk share: whether it is built, and its options.

import { existsSync } from 'node:fs';
import path from 'node:path';
import { cannotRun, type Lab, root } from './context';

const PLUGIN = path.join(root, 'build', 'Release', 'dpdk', 'millrace_dpdk.so');

/** Why the tests cannot run here, or false. In CI that is an error. */
export function cannotRunDpdk(...commands: string[]): string | false {
  const reason = cannotRun(...commands);
  if (reason !== false || existsSync(PLUGIN)) return reason;
  const missing = 'needs port dpdk (apt-get install libdpdk-dev pkg-config, npm run build:native)';
  if (process.env['CI']) throw new Error(`end-to-end tests cannot run: ${missing}`);
  return missing;
}

/** Options of port dpdk; an interface is not implied. */
export const device = (args: string, more: Record<string, string> = {}): Record<string, string> => ({
  MILLRACE_PORT: 'dpdk',
  MILLRACE_INTERFACE: '',
  MILLRACE_DPDK_ARGS: args,
  ...more,
});

/**
 * DPDK's driver for AF_XDP on the mill's interface. It sees one queue of a veth pair, which does not count "combined" ones:
 * a device from each queue on stands for one device with all of them.
 */
export const overXdp = (home: Lab, queues = 1): string =>
  Array.from(
    { length: queues },
    (_, queue) => `--vdev=net_af_xdp${queue},iface=${home.mill.interface},start_queue=${queue},busy_budget=0`,
  ).join(' ');
