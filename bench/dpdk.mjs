// SPDX-License-Identifier: MIT
// `npm run bench:dpdk`, as root: request and answer over devices of DPDK that run here, both ends under millrace where
// no kernel is on the way. For each: messages per second, and what a frame in or out costs the server's process in CPU
// time (the Node program's own share included).
//   --seconds N (3)   --in-flight N (32)   --only NAME,...

import { parseArgs } from 'node:util';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ROOT } from '../tools/files.mjs';
import { setUp } from '../tools/setup.mjs';
import { number, table } from './statistics.mjs';

const { openLab } = createRequire(import.meta.url)('../tools/lab/lab.js');
const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    'in-flight': { type: 'string', default: '32' },
    only: { type: 'string' },
  },
});
const app = join(ROOT, 'bench/apps/echo.js');
const kBytes = 64;

/** Options of both ends; null: plain Node on the kernel. */
const DEVICES = {
  'af_xdp (no DPDK)': (home) => ({
    host: home.mill.ipv4,
    server: { MILLRACE_PORT: 'af_xdp', MILLRACE_INTERFACE: home.mill.interface, MILLRACE_DPDK_ARGS: '' },
    client: null,
  }),
  net_af_xdp: (home) => ({
    host: home.mill.ipv4,
    server: {
      MILLRACE_PORT: 'dpdk',
      MILLRACE_INTERFACE: home.mill.interface,
      MILLRACE_DPDK_ARGS: `--vdev=net_af_xdp0,iface=${home.mill.interface},busy_budget=0`,
    },
    client: null,
  }),
  net_memif: (home) => {
    const socket = join(home.folder, 'memif.sock');
    const end = (role, own, other) => ({
      MILLRACE_PORT: 'dpdk',
      MILLRACE_INTERFACE: '',
      MILLRACE_DPDK_ARGS: `--vdev=net_memif0,role=${role},socket=${socket},socket-abstract=no,mac=02:00:00:00:00:0${own}`,
      MILLRACE_DPDK_ADDRESS: `10.88.0.${own}/24`,
      MILLRACE_DPDK_NEIGHBORS: `10.88.0.${other}=02:00:00:00:00:0${other}`,
      MILLRACE_SPIN_US: '50',
    });
    return { host: '10.88.0.1', server: end('server', 1, 2), client: end('client', 2, 1) };
  },
  // The kernel is the peer at the other end of the tap.
  net_tap: (home) => ({
    host: '10.89.0.1',
    server: {
      MILLRACE_PORT: 'dpdk',
      MILLRACE_INTERFACE: '',
      MILLRACE_DPDK_ARGS: '--vdev=net_tap0,iface=dtap0,mac=02:00:00:00:00:01',
      MILLRACE_DPDK_ADDRESS: '10.89.0.1/24',
      MILLRACE_DPDK_NEIGHBORS: '10.89.0.2=02:00:00:00:00:02',
    },
    client: null,
    clientSide: home.mill,
    async prepare() {
      const ip = (...args) => home.ip(home.mill, args);
      await ip('link', 'set', 'dtap0', 'address', '02:00:00:00:00:02');
      await ip('addr', 'add', '10.89.0.2/24', 'dev', 'dtap0');
      await ip('neigh', 'replace', '10.89.0.1', 'lladdr', '02:00:00:00:00:01', 'dev', 'dtap0');
    },
  }),
};

async function measure(name, protocol) {
  const home = await openLab();
  try {
    const way = DEVICES[name](home);
    const server = await home.node('millrace', app, ['serve', protocol, 7000], {
      options: way.server,
      readyTimeoutMs: 30000,
    });
    await way.prepare?.();
    const client = await home.node(
      way.client ? 'millrace' : 'kernel',
      app,
      ['ask', protocol, 7000, way.host, kBytes, flags['in-flight'], flags.seconds],
      {
        side: way.clientSide ?? home.peer,
        options: way.client ?? {},
        ready: null,
      },
    );
    await client.finish((Number(flags.seconds) + 30) * 1000);
    const { messages, seconds } = JSON.parse(client.stdout);
    const stats = await home.finalStats(server);
    const { cpuSeconds } = JSON.parse(server.stdout.trim().split('\n').at(-1));
    const { rx_frames: received, tx_frames: sent } = stats.counters.port;
    return { rate: messages / seconds, frames: received + sent, cpuSeconds };
  } finally {
    await home.close();
  }
}

await setUp(['build', 'bench', 'e2e']);
const only = flags.only?.split(',');
const rows = [];
for (const name of Object.keys(DEVICES)) {
  if (only !== undefined && !only.includes(name)) continue;
  for (const protocol of ['tcp', 'udp']) {
    const { rate, frames, cpuSeconds } = await measure(name, protocol);
    rows.push([name, protocol, number(rate), number(frames / cpuSeconds), ((cpuSeconds / frames) * 1e6).toFixed(2)]);
    process.stderr.write(`${rows.at(-1).join('  ')}\n`);
  }
}
console.log(
  table([['device', '', 'messages/s', 'frames per core and second, in and out', 'us of CPU per frame'], ...rows]),
);
