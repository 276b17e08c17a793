// SPDX-License-Identifier: MIT
// `npm run bench:paths`, as root: bulk transfer over paths with delay, loss, reordering and a line rate (a user-space
// bridge between two veth pairs), millrace beside the kernel's CUBIC, alternating; then both at once on one line.
//   --seconds N  of one transfer (5)   --rounds N (2)   --rtt MS,..  --loss P,..  --rate MBIT,..   --check (ends with 1
//   when a path gives less than 0.8 of the kernel's rate, or sharing is outside 0.7 to 1.4)

import path from 'node:path';
import { parseArgs } from 'node:util';
import jobs from '../tools/lab/jobs.js';
import lab from '../tools/lab/lab.js';
import tools from '../tools/lab/native-tools.js';
import { setUp } from '../tools/setup.mjs';
import { median, number, table } from './statistics.mjs';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '2' },
    rtt: { type: 'string', default: '0.1,10,100' },
    loss: { type: 'string', default: '0,0.1,1,5' },
    rate: { type: 'string', default: '10,100' },
    check: { type: 'boolean', default: false },
  },
});
const list = (text) => text.split(',').map(Number);
const seconds = Number(flags.seconds);
const rounds = Number(flags.rounds);
const bulk = path.join(lab.root, 'bench/apps/bulk.js');
const kPorts = { kernel: 7001, millrace: 7000 };
const kLeast = 0.8;
const kFair = [0.7, 1.4];

/** One bandwidth-delay product, as routers are often given, and never less than some 20 packets. */
function queueKb(rttMs, rateMbit) {
  return Math.max(32, Math.round((rttMs * rateMbit) / 8));
}

function conditions({ rtt, loss, rate, reorder = 0 }) {
  return { seed: 11, delay: rtt / 2, loss, rate, reorder, queue: queueKb(rtt, rate) };
}

async function transfer(home, workload, port, length = seconds) {
  const args = [workload, '--host', home.mill.ipv4, '--port', String(port), '--seconds', String(length)];
  const outcome = await home.run(home.peer, tools.nativeTool('load'), args, { timeoutMs: length * 1000 + 120000 });
  if (outcome.code !== 0) throw new Error(`${workload}: ${outcome.stdout}${outcome.stderr}`);
  return JSON.parse(outcome.stdout).mb_per_s;
}

/** Both stacks in turn over one path: Mbit/s. */
async function compare(where) {
  const home = await lab.openLab({ bridge: conditions(where) });
  const rates = { down: { kernel: [], millrace: [] }, up: { kernel: [], millrace: [] } };
  try {
    for (let round = 0; round < rounds; round++) {
      for (const mode of ['kernel', 'millrace']) {
        for (const [way, role, workload] of [
          ['down', 'source', 'tcp-receive'],
          ['up', 'sink', 'tcp-send'],
        ]) {
          const job = await home.node(mode, bulk, [role, String(kPorts[mode])]);
          rates[way][mode].push((await transfer(home, workload, kPorts[mode])) * 8);
          await job.stop('SIGKILL');
        }
      }
    }
  } finally {
    await home.close();
  }
  return rates;
}

/** One transfer of each stack at the same time through one line: millrace's share beside the kernel's. */
async function share(where) {
  const home = await lab.openLab({ bridge: conditions(where) });
  try {
    const ratios = [];
    for (let round = 0; round < rounds; round++) {
      const servers = [];
      for (const mode of ['kernel', 'millrace'])
        servers.push(await home.node(mode, bulk, ['source', String(kPorts[mode])]));
      const length = Math.max(20, seconds * 4);
      const [kernel, ours] = await Promise.all([
        transfer(home, 'tcp-receive', kPorts.kernel, length),
        jobs.sleep(50).then(() => transfer(home, 'tcp-receive', kPorts.millrace, length)),
      ]);
      ratios.push(ours / kernel);
      for (const server of servers) await server.stop('SIGKILL');
    }
    return median(ratios);
  } finally {
    await home.close();
  }
}

if ((await setUp(['bench'])).length > 0) process.exit(1);
let missed = 0;
const rows = [['path', 'kernel down', 'millrace', 'ratio', 'kernel up', 'millrace', 'ratio', '']];
const places = [];
for (const rate of list(flags.rate)) {
  for (const rtt of list(flags.rtt)) {
    for (const loss of list(flags.loss)) places.push({ rtt, loss, rate });
    places.push({ rtt, loss: 0, rate, reorder: 1 });
  }
}
for (const where of places) {
  const name = `${where.rate} Mbit/s, ${where.rtt} ms, ${where.reorder ? 'reordering 1 %' : `loss ${where.loss} %`}`;
  const rates = await compare(where);
  const row = [name];
  let least = Number.POSITIVE_INFINITY;
  for (const way of ['down', 'up']) {
    const kernel = median(rates[way].kernel);
    const ours = median(rates[way].millrace);
    least = Math.min(least, ours / kernel);
    row.push(number(kernel), number(ours), (ours / kernel).toFixed(2));
  }
  if (least < kLeast) missed++;
  row.push(least < kLeast ? `MISSED ${kLeast}` : '');
  rows.push(row);
  process.stderr.write(`${row.join('  ')}\n`);
}
console.log(
  `Mbit/s, medians of ${rounds} transfers of ${seconds} s; a queue of one bandwidth-delay product; CUBIC on both sides`,
);
for (const line of table(rows)) console.log(line);
for (const where of [
  { rtt: 10, loss: 0, rate: 10 },
  { rtt: 10, loss: 0, rate: 100 },
  { rtt: 100, loss: 0, rate: 100 },
]) {
  const ratio = await share(where);
  const fair = ratio >= kFair[0] && ratio <= kFair[1];
  if (!fair) missed++;
  console.log(
    `shared ${where.rate} Mbit/s, ${where.rtt} ms: millrace gets ${ratio.toFixed(2)} of the kernel's${fair ? '' : ' MISSED 0.7 to 1.4'}`,
  );
}
if (flags.check && missed > 0) process.exitCode = 1;
