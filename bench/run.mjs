// SPDX-License-Identifier: MIT
// `npm run bench`: plain Node against millrace, in one run and one topology, interleaved. Prints tables with ratios.
//   --json FILE   the same as JSON           --only NAME,...   only these workloads, or 'network', or 'loopback'
//   --quick       short runs, for a look     --rounds N  --seconds S  --connections N (idle)
//   --modes kernel,millrace                  --check     ends with 1 when a wanted ratio is not reached

import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { setUp } from '../tools/setup.mjs';
import { loopbackWorkloads, openLoopback } from './loopback.mjs';
import { networkWorkloads, openNetwork } from './network.mjs';
import { median, medians, number, table } from './statistics.mjs';

const { values: flags } = parseArgs({
  options: {
    json: { type: 'string' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    connections: { type: 'string' },
    modes: { type: 'string', default: 'kernel,millrace' },
    check: { type: 'boolean', default: false },
  },
});
const rounds = Number(flags.rounds ?? (flags.quick ? 1 : 5));
const options = {
  seconds: Number(flags.seconds ?? (flags.quick ? 1 : 2)),
  connections: Number(flags.connections ?? (flags.quick ? 2000 : 10000)),
};
const modes = flags.modes.split(',');
const only = flags.only?.split(',');

const places = [
  {
    name: 'network',
    title: 'over AF_XDP on a veth pair, kernel client',
    workloads: networkWorkloads,
    open: openNetwork,
    privilege: true,
  },
  { name: 'loopback', title: 'in one process, both ends', workloads: loopbackWorkloads, open: openLoopback },
];

/** All rounds of one workload: A B B A A B. A run that fails is said, and leaves the workload without a result. */
async function measure(place, workload, network) {
  const runs = Object.fromEntries(modes.map((mode) => [mode, []]));
  const failures = [];
  for (let round = 0; round < (workload.once ? 1 : rounds); ++round) {
    for (const mode of round % 2 === 0 ? modes : [...modes].reverse()) {
      process.stderr.write(`${place.name} ${workload.name} ${mode} ${round + 1}: `);
      try {
        const result = await network.run(workload, mode, options);
        runs[mode][round] = result;
        process.stderr.write(`${number(result[workload.value ?? 'rate'])} ${workload.unit}\n`);
      } catch (error) {
        failures.push({ mode, message: error.message });
        process.stderr.write(`failed: ${error.message}\n`);
      }
    }
  }
  const results = Object.fromEntries(modes.map((mode) => [mode, medians(runs[mode].filter(Boolean))]));
  // The ratio of each round, and of those the median: what else the machine does counts for both runs of a round.
  const key = workload.value ?? 'rate';
  const pairs = (runs.kernel ?? []).map((run, round) => [run?.[key], runs.millrace?.[round]?.[key]]);
  const ratios = pairs.map(([plain, ours]) => (workload.smallerIsBetter ? plain / ours : ours / plain));
  const ratio = median(ratios.filter(Number.isFinite));
  const { name, title, unit, wanted } = workload;
  return { name, title, unit, wanted, ratio: Number.isFinite(ratio) ? ratio : null, medians: results, runs, failures };
}

function print(place, rows) {
  const lines = [
    ['workload', 'unit', ...modes.map((mode) => (mode === 'kernel' ? 'plain Node' : mode)), 'ratio', 'wanted'],
  ];
  for (const row of rows) {
    const key = row.unit === 'MB/s' ? 'mb_per_s' : row.unit === 'KiB' ? 'kib' : 'rate';
    const failed = (mode) => row.failures.some((failure) => failure.mode === mode);
    const cell = (mode) => number(row.medians[mode][key]) + (failed(mode) ? ' (failed)' : '');
    const wanted =
      row.wanted > 0 ? `>= ${row.wanted}${row.ratio !== null && row.ratio < row.wanted ? ' MISSED' : ''}` : '';
    lines.push([row.title, row.unit, ...modes.map(cell), row.ratio === null ? '-' : row.ratio.toFixed(2), wanted]);
    const latencies = ['p50_us', 'p99_us', 'p999_us'].filter((name) => modes.some((mode) => name in row.medians[mode]));
    if (latencies.length > 0) {
      const names = { p50_us: 'p50', p99_us: 'p99', p999_us: 'p99.9' };
      const list = (mode) => latencies.map((name) => number(row.medians[mode][name])).join(' / ');
      lines.push([`  latency ${latencies.map((name) => names[name]).join(' / ')}`, 'us', ...modes.map(list), '', '']);
    }
    // On a busy machine the rate says less than what a second of CPU was enough for.
    const perCpu = (mode) => row.medians[mode].cpu > 0 && row.medians[mode][key] / row.medians[mode].cpu;
    if (modes.some(perCpu)) {
      const share = perCpu('millrace') / perCpu('kernel');
      const shown = Number.isFinite(share) ? share.toFixed(2) : '-';
      lines.push([
        `  per CPU second of the program`,
        row.unit,
        ...modes.map((mode) => number(perCpu(mode))),
        shown,
        '',
      ]);
    }
    const cpu = (mode) => (row.medians[mode].cpu === undefined ? '' : `${(row.medians[mode].cpu * 100).toFixed(0)} %`);
    if (modes.some((mode) => cpu(mode) !== '')) lines.push(['  CPU of the program', '', ...modes.map(cpu), '', '']);
  }
  console.log(`\n${place.title} (medians of ${rounds} interleaved runs of ${options.seconds} s)\n`);
  for (const line of table(lines)) console.log(line);
}

async function main() {
  const machine = { node: process.version, kernel: os.release(), cpu: os.cpus()[0]?.model, cores: os.cpus().length };
  console.log(`Node ${machine.node}, Linux ${machine.kernel}, ${machine.cores} x ${machine.cpu}`);
  const results = {};
  for (const place of places) {
    const workloads = place.workloads.filter(({ name }) => !only || only.includes(name) || only.includes(place.name));
    if (workloads.length === 0) continue;
    if (only && !only.includes(place.name) && only.some((name) => places.some((other) => other.name === name)))
      continue;
    if (place.privilege && process.getuid() !== 0) {
      console.log(`\n${place.title}: left out, it needs root for network namespaces`);
      continue;
    }
    if (place.privilege && (await setUp(['bench'])).length > 0) continue;
    const network = await place.open();
    const rows = [];
    try {
      for (const workload of workloads) rows.push(await measure(place, workload, network));
    } finally {
      await network.close();
    }
    results[place.name] = rows;
    print(place, rows);
  }
  const json = { machine, rounds, ...options, when: new Date().toISOString(), load: os.loadavg(), results };
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify(json, null, 2)}\n`);
  const all = Object.values(results).flat();
  const failed = all.some((row) => row.failures.length > 0);
  const missed = all.some((row) => row.wanted > 0 && !(row.ratio >= row.wanted));
  return failed || (flags.check && missed) ? 1 : 0;
}

process.exitCode = await main();
