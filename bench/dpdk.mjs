// SPDX-License-Identifier: MIT
// `npm run bench:dpdk`, as root: request and answer over devices of DPDK that run here, both ends under millrace where
// no kernel is on the way. For each: messages per second, and what a frame in or out costs the server's process in CPU
// time (the Node program's own share included). Last two stacks of one process on two rings (test/ring), without Node:
// the stack's own limit.
//   --seconds N (3)   --in-flight N (32)   --only NAME,...   --docs: writes the table into docs/ports.md

import { readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { cmakeBuild } from '../tools/cmake.mjs';
import { replacePart } from '../tools/conformance/tables.mjs';
import { ROOT } from '../tools/files.mjs';
import { run } from '../tools/run.mjs';
import { setUp } from '../tools/setup.mjs';
import { number, table } from './statistics.mjs';

const { openLab } = createRequire(import.meta.url)('../tools/lab/lab.js');
const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '3' },
    'in-flight': { type: 'string', default: '32' },
    only: { type: 'string' },
    docs: { type: 'boolean', default: false },
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

const RING_BUILD = 'build-scale';
const RING_ROWS = { tcp: 'tcp', udp: 'udp', bulk: 'tcp, one way' };

/** The rows of `ring`, a program without Node. */
async function measureRing() {
  const problem = await cmakeBuild(RING_BUILD, ['-DCMAKE_BUILD_TYPE=Release'], ['ring']);
  if (problem !== null) throw new Error(problem);
  const { code, output } = await run(join(ROOT, RING_BUILD, 'ring'), ['--seconds', flags.seconds], {
    timeoutSeconds: 30 + 4 * Number(flags.seconds),
  });
  const line = /^(\w+) messages\/s (\d+) frames\/s\/core (\d+) us\/frame ([\d.]+) bytes\/s (\d+)$/gm;
  const found = [...output.matchAll(line)];
  if (code !== 0 || found.length !== 3) throw new Error(`ring ended with ${code}: ${output}`);
  return found.map(([, kind, messages, frames, us, bytes]) => [
    'net_ring, no Node',
    RING_ROWS[kind],
    Number(messages) > 0 ? number(Number(messages)) : `${(Number(bytes) / 1e6).toFixed(0)} MB/s`,
    number(Number(frames)),
    Number(us).toFixed(2),
  ]);
}

// Others' work on the machine is in every figure: it is written beside them.
const load = os.loadavg()[0];
await setUp(['build', 'bench', 'e2e']);
const only = flags.only?.split(',');
const wanted = (name) => only === undefined || only.includes(name);
const rows = [];
const add = (row) => {
  rows.push(row);
  process.stderr.write(`${row.join('  ')}\n`);
};
for (const name of Object.keys(DEVICES).filter(wanted)) {
  for (const protocol of ['tcp', 'udp']) {
    const { rate, frames, cpuSeconds } = await measure(name, protocol);
    add([name, protocol, number(rate), number(frames / cpuSeconds), ((cpuSeconds / frames) * 1e6).toFixed(2)]);
  }
}
if (wanted('net_ring')) for (const row of await measureRing()) add(row);
const head = ['device', '', 'messages/s', 'packets in and out, per second of a core', 'us of CPU for a packet'];
console.log(table([head, ...rows]).join('\n'));
const processors = `${os.cpus().length} x ${os.cpus()[0]?.model}`;
const machine = `Node ${process.version}, Linux ${os.release()}, ${processors}, load before it began ${load.toFixed(1)}`;
console.log(`${machine}; ${kBytes} bytes, ${flags['in-flight']} in flight, ${flags.seconds} s each`);
if (flags.docs) {
  const file = join(ROOT, 'docs/ports.md');
  const cells = (row) => `| ${row.join(' | ')} |`;
  const caption = `${machine}. ${kBytes} bytes, ${flags['in-flight']} messages in flight, ${flags.seconds} s for each.`;
  const lines = [cells(head), '|---|---|---:|---:|---:|', ...rows.map(cells), '', caption];
  writeFileSync(file, replacePart(readFileSync(file, 'utf8'), 'bench:dpdk', lines));
}
