// SPDX-License-Identifier: MIT
// What is not accelerated must not be slowed: a plain kernel echo server with the preload loaded and a rule that matches
// nothing, against plain Node; and what the preload costs at start. Needs no privilege. `npm run bench:overhead`.
//   --rounds N (5)  --seconds S (2)  --starts N (25)  --json FILE  --check: ends with 1 when a limit is passed

import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import jobs from '../tools/lab/jobs.js';
import lab from '../tools/lab/lab.js';
import tools from '../tools/lab/native-tools.js';
import { median, number, table } from './statistics.mjs';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '2' },
    starts: { type: 'string', default: '25' },
    json: { type: 'string' },
    check: { type: 'boolean', default: false },
  },
});
const kRatioMin = 0.97;
const kStartMsMax = 30;
const kPort = 17000 + (process.pid % 10000);

/** Hooks in place, and no socket that they would take: 192.0.2.1 is an address for documentation. */
const kPreload = ['--require', lab.register];
const kNothing = { MILLRACE_PORT: 'loopback', MILLRACE_REQUIRE: '1', MILLRACE_ACCELERATE: 'udp:connect:192.0.2.1:9' };

/** Server and client on a core each, where that can be had: the scheduler's moods are larger than what is measured. */
const pinned = existsSync('/usr/bin/taskset') && (await jobs.run('taskset', ['-c', '1', 'true'])).code === 0;
const onCore = (core, command, args) =>
  pinned ? ['taskset', ['-c', String(core), command, ...args]] : [command, args];

async function echo(workload, preloaded) {
  const script = path.join(lab.root, 'examples', `${workload.split('-')[0]}-echo.js`);
  const args = [...(preloaded ? kPreload : []), script, String(kPort), '127.0.0.1'];
  const [command, all] = onCore(0, process.execPath, args);
  const server = new jobs.Job(command, all, { env: jobs.cleanEnvironment(preloaded ? kNothing : {}) });
  try {
    await server.waitFor(/listening on/);
    const load = [
      workload,
      '--port',
      String(kPort),
      '--connections',
      '64',
      '--inflight',
      '64',
      '--seconds',
      flags.seconds,
    ];
    return JSON.parse(await jobs.must(...onCore(1, tools.nativeTool('load'), load), { timeoutMs: 60000 })).rate;
  } finally {
    await server.stop('SIGKILL');
  }
}

/** Five rounds of A B B A, so that what drifts counts for both; the median of the rounds' ratios. */
async function compare(workload) {
  const rounds = [];
  for (let round = 0; round < Number(flags.rounds); ++round) {
    const rates = [];
    for (const preloaded of [false, true, true, false]) rates.push(await echo(workload, preloaded));
    rounds.push({ plain: (rates[0] + rates[3]) / 2, preloaded: (rates[1] + rates[2]) / 2 });
    process.stderr.write(`${workload} ${round + 1}: ${rates.map(number).join('  ')}\n`);
  }
  return {
    plain: median(rounds.map((round) => round.plain)),
    preloaded: median(rounds.map((round) => round.preloaded)),
    ratio: median(rounds.map((round) => round.preloaded / round.plain)),
    rounds,
  };
}

/** Wall time of `node -e 0`, and, less dependent on what else runs, the CPU time of the same start. */
async function startUp() {
  const wall = { plain: [], preloaded: [] };
  const cpu = { plain: [], preloaded: [] };
  const ask = 'const{user,system}=process.cpuUsage();console.log(user+system)';
  const once = async (args, env, script) => {
    const start = performance.now();
    const outcome = await jobs.run(process.execPath, [...args, '-e', script], { env: jobs.cleanEnvironment(env) });
    if (outcome.code !== 0) throw new Error(outcome.stderr);
    return script === ask ? Number(outcome.stdout) / 1000 : performance.now() - start;
  };
  await once(kPreload, kNothing, '0');
  for (let i = 0; i < Number(flags.starts); ++i) {
    wall.plain.push(await once([], {}, '0'));
    wall.preloaded.push(await once(kPreload, kNothing, '0'));
    cpu.plain.push(await once([], {}, ask));
    cpu.preloaded.push(await once(kPreload, kNothing, ask));
  }
  const cost = ({ plain, preloaded }) => ({
    plainMs: median(plain),
    preloadedMs: median(preloaded),
    costMs: median(preloaded) - median(plain),
  });
  return { ...cost(wall), cpu: cost(cpu) };
}

if (!existsSync(lab.register)) {
  console.error('the package is not built: npm run build:ts');
  process.exit(2);
}
const start = await startUp();
const tcp = await compare('tcp-echo');
const udp = await compare('udp-echo');
const verdict = (good) => (good ? 'ok' : 'MISSED');
const echoRow = (title, { plain, preloaded, ratio }) => [
  title,
  number(plain),
  number(preloaded),
  ratio.toFixed(3),
  `>= ${kRatioMin}`,
  verdict(ratio >= kRatioMin),
];
const rows = [
  ['not accelerated', 'plain Node', 'preloaded', '', 'limit', ''],
  echoRow('TCP echo, 64 connections, msg/s', tcp),
  echoRow('UDP echo, 64 in flight, msg/s', udp),
  [
    'start of node -e 0, ms',
    start.plainMs.toFixed(1),
    start.preloadedMs.toFixed(1),
    `+${start.costMs.toFixed(1)}`,
    `<= +${kStartMsMax}`,
    verdict(start.costMs <= kStartMsMax),
  ],
  [
    '  CPU of the start, ms',
    start.cpu.plainMs.toFixed(1),
    start.cpu.preloadedMs.toFixed(1),
    `+${start.cpu.costMs.toFixed(1)}`,
    '',
    '',
  ],
];
for (const line of table(rows)) console.log(line);
if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ start, tcp, udp }, null, 2)}\n`);
const good = tcp.ratio >= kRatioMin && udp.ratio >= kRatioMin && start.costMs <= kStartMsMax;
process.exitCode = flags.check && !good ? 1 : 0;
