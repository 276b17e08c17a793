// SPDX-License-Identifier: MIT
// `npm run test:guest:kernels [-- NAME...]`: an unmodified HTTP server and a UDP echo server under millrace, on the kernels and network
// devices that the machine at hand does not have, each in a guest: transfers both ways by IPv4 and IPv6 with equal
// hashes, every echo equal, on millrace's own connections and not the kernel's.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import patterns from '../../test/e2e/apps/pattern.js';
import { ROOT } from '../files.mjs';
import lab from '../lab/lab.js';
import tools from '../lab/native-tools.js';
import { setUp } from '../setup.mjs';
import { runGuest } from './guest.mjs';

const k61 = 'linux-image-amd64';
const k612 = 'linux-image-6.12-amd64';
const BYTES = 1_000_000;

/** Two devices of one kind on one wire. Nothing in the guest looks for their driver. */
function pair(device, driver) {
  const one = (id) => ['-netdev', `hubport,id=${id},hubid=0`, '-device', `${device},netdev=${id}`];
  return { modules: [driver], qemu: [...one('a'), ...one('b')], lab: { devices: ['eth0', 'eth1'] } };
}

const GUESTS = {
  'veth-6.1': { kernel: k61, lab: {} },
  'veth-6.12': { kernel: k612, lab: {} },
  'offload-6.1': { kernel: k61, lab: { offload: true } },
  'vlan-6.1': { kernel: k61, lab: { vlan: 7 } },
  'e1000e-6.1': { kernel: k61, ...pair('e1000e', 'e1000e') },
  'virtio-6.1': { kernel: k61, ...pair('virtio-net-pci', 'virtio_net') },
  'vmxnet3-6.1': { kernel: k61, ...pair('vmxnet3', 'vmxnet3') },
  'e1000e-6.12': { kernel: k612, ...pair('e1000e', 'e1000e') },
  'virtio-6.12': { kernel: k612, ...pair('virtio-net-pci', 'virtio_net') },
};

function check(what, seen, wanted) {
  if (seen !== wanted) throw new Error(`${what}: ${seen}, not ${wanted}`);
}

/** The sum of a counter over all groups of a report. */
function counter(report, name) {
  return Object.entries(report).reduce((sum, [key, value]) => {
    if (typeof value === 'object' && value !== null) return sum + counter(value, name);
    return key === name ? sum + value : sum;
  }, 0);
}

async function transfers(home, server) {
  const file = home.file('up');
  const chunks = [];
  for await (const chunk of patterns.pattern(BYTES, 'up')) chunks.push(chunk);
  writeFileSync(file, Buffer.concat(chunks));
  for (const host of [home.mill.ipv4, `[${home.mill.ipv6}]`]) {
    const url = `http://${host}:8080`;
    const copy = home.file('down');
    const get = ['-sS', '-o', copy, `${url}/file?bytes=${BYTES}&seed=down`];
    await home.must(home.peer, 'curl', get, { timeoutMs: 60000 });
    const sum = await home.must(home.peer, 'sha256sum', [copy]);
    check(`down from ${host}`, sum.split(' ')[0], patterns.patternHash(BYTES, 'down'));
    const up = await home.must(home.peer, 'curl', ['-sS', '-T', file, `${url}/up`], { timeoutMs: 60000 });
    check(`up to ${host}`, JSON.parse(up).sha256, patterns.patternHash(BYTES, 'up'));
  }
  const kernels = await home.kernelConnections(home.mill, ['sport', '=', ':8080']);
  check("the kernel's connections", kernels.length, 0);
  const stats = await home.finalStats(server);
  check('connections that were ours', counter(stats, 'connections_accepted'), 4);
}

async function echoes(home) {
  await home.node('millrace', join(ROOT, 'examples/udp-echo.js'), [7004, '::']);
  const words = ['udp-echo', '--host', home.mill.ipv4, '--port', '7004', '--size', '512', '--inflight', '8'];
  const times = ['--seconds', '1', '--warmup', '0.2'];
  const { wrong, lost, messages } = JSON.parse(
    await home.must(home.peer, tools.nativeTool('load'), [...words, ...times], { timeoutMs: 60000 }),
  );
  check('echoes wrong or lost', wrong + lost, 0);
  if (!(messages > 100)) throw new Error(`${messages} echoes in a second`);
}

async function inside(name) {
  const home = await lab.openLab(GUESTS[name].lab);
  try {
    const server = await home.node('millrace', join(ROOT, 'test/e2e/apps/files.js'), [8080, '::']);
    await transfers(home, server);
    await echoes(home);
  } finally {
    await home.close();
  }
}

async function outside(names) {
  if ((await setUp(['guest', 'e2e'])).length > 0) return 1;
  tools.nativeTool('load');
  let failed = 0;
  for (const name of names) {
    const { kernel, modules = [], qemu = [] } = GUESTS[name];
    const command = [process.execPath, import.meta.filename, '--inside', name];
    let said = '';
    const { code } = await runGuest(command, {
      kernel,
      modules,
      qemu,
      virtualTime: true,
      timeoutSeconds: 3600,
      onErr: (text) => {
        said += text;
      },
    });
    if (code !== 0) failed++;
    console.log(`${code === 0 ? 'ok' : 'not ok'} ${name}${said === '' ? '' : `\n${said.trimEnd()}`}`);
  }
  return failed === 0 ? 0 : 1;
}

const words = process.argv.slice(2);
if (words[0] === '--inside') {
  await inside(words[1]);
} else {
  const unknown = words.filter((name) => !(name in GUESTS));
  if (unknown.length > 0) {
    console.error(`no guest ${unknown.join(', ')}; there are ${Object.keys(GUESTS).join(', ')}`);
    process.exit(2);
  }
  process.exitCode = await outside(words.length > 0 ? words : Object.keys(GUESTS));
}
