// SPDX-License-Identifier: MIT
// The workloads over the network: the program under test in one namespace, the same kernel client in the other.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import lab from '../tools/lab/lab.js';
import jobs from '../tools/lab/jobs.js';
import tools from '../tools/lab/native-tools.js';

const { openLab, root } = lab;
const example = (name) => path.join(root, 'examples', `${name}.js`);
const program = (name) => path.join(root, 'bench/apps', `${name}.js`);
const kTicksPerSecond = 100;

function cpuSeconds(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / kTicksPerSecond;
}

function residentKib(pid) {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))[1]);
}

/** Runs the load generator against the job and adds the CPU that the job used meanwhile. */
async function load(home, job, workload, { seconds, args = [] }) {
  const before = cpuSeconds(job.pid);
  const all = [workload, '--host', home.mill.ipv4, '--port', '7000', '--seconds', String(seconds), ...args];
  const started = performance.now();
  const outcome = await home.run(home.peer, tools.nativeTool('load'), all, { timeoutMs: seconds * 1000 + 60000 });
  if (outcome.code !== 0) throw new Error(`load ${workload}: ${outcome.stdout}${outcome.stderr}\n${job.describe()}`);
  const cpu = (cpuSeconds(job.pid) - before) / ((performance.now() - started) / 1000);
  return { ...JSON.parse(outcome.stdout), cpu };
}

async function http(home, job, { seconds }) {
  const before = cpuSeconds(job.pid);
  const args = [
    '-t',
    '1',
    '-c',
    '64',
    '-d',
    `${Math.max(1, Math.round(seconds))}s`,
    '--latency',
    `http://${home.mill.ipv4}:8080/`,
  ];
  await home.must(home.peer, 'wrk', ['-t', '1', '-c', '64', '-d', '1s', `http://${home.mill.ipv4}:8080/`]);
  const started = performance.now();
  const text = await home.must(home.peer, 'wrk', args, { timeoutMs: seconds * 1000 + 20000 });
  const cpu = (cpuSeconds(job.pid) - before) / ((performance.now() - started + 1000) / 1000);
  if (/Socket errors|Non-2xx/.test(text)) throw new Error(text);
  const toUs = { us: 1, ms: 1000, s: 1e6 };
  const quantile = (name) => {
    const match = new RegExp(`^\\s+${name}%\\s+([\\d.]+)(us|ms|s)`, 'm').exec(text);
    return Number(match[1]) * toUs[match[2]];
  };
  return { rate: Number(/Requests\/sec:\s+([\d.]+)/.exec(text)[1]), p50_us: quantile(50), p99_us: quantile(99), cpu };
}

async function udpReceive(home, job, { seconds }) {
  const args = [
    'udp-send',
    '--host',
    home.mill.ipv4,
    '--port',
    '7000',
    '--size',
    '64',
    '--warmup',
    '0.5',
    '--seconds',
    String(seconds + 0.5),
  ];
  const sender = home.spawn(home.peer, tools.nativeTool('load'), args);
  await jobs.sleep(500);
  const before = cpuSeconds(job.pid);
  const first = await job.ask('count');
  await jobs.sleep(seconds * 1000);
  const second = await job.ask('count');
  const elapsed = (second.ms - first.ms) / 1000;
  const cpu = (cpuSeconds(job.pid) - before) / elapsed;
  await sender.finish(20000);
  return { rate: (second.messages - first.messages) / elapsed, sent_rate: JSON.parse(sender.stdout).rate, cpu };
}

async function idle(home, job, { connections }) {
  // The first connections make Node load and compile what the others use.
  await load(home, job, 'tcp-echo', { seconds: 0.3, args: ['--connections', '64'] });
  await jobs.sleep(300);
  const before = residentKib(job.pid);
  const args = ['idle', '--host', home.mill.ipv4, '--port', '7000', '--connections', String(connections)];
  const client = home.spawn(home.peer, tools.nativeTool('load'), args, { stdin: 'pipe' });
  const opened = JSON.parse((await client.waitFor(/^(\{"open".*\})$/m, 60000))[1]);
  if (opened.open !== connections)
    throw new Error(`only ${opened.open} of ${connections} connections: ${client.stdout}`);
  await jobs.sleep(1000);
  const kib = (residentKib(job.pid) - before) / connections;
  client.child.stdin.write('\n');
  await client.waitFor(/^\{"messages".*\}$/m, 60000);
  client.child.stdin.end('\n');
  await client.finish(10000);
  if (client.code !== 0) throw new Error(client.describe());
  return { kib, base_mib: before / 1024 };
}

const echo = { script: example('tcp-echo'), args: [7000, '0.0.0.0'] };
const oneConnection = ['--connections', '1'];

/** name, what is shown, unit, the least ratio that is wanted (0: none), and how one run is made. */
export const networkWorkloads = [
  {
    name: 'tcp-echo-1',
    title: 'TCP echo 64 B, 1 connection',
    unit: 'msg/s',
    wanted: 1,
    ...echo,
    measure: (home, job, o) => load(home, job, 'tcp-echo', { ...o, args: oneConnection }),
  },
  {
    name: 'tcp-echo-64',
    title: 'TCP echo 64 B, 64 connections',
    unit: 'msg/s',
    wanted: 1,
    ...echo,
    measure: (home, job, o) => load(home, job, 'tcp-echo', { ...o, args: ['--connections', '64'] }),
  },
  {
    name: 'http',
    title: 'HTTP hello, wrk, 64 connections',
    unit: 'req/s',
    wanted: 1,
    script: example('http-server'),
    args: [8080, '0.0.0.0'],
    measure: http,
  },
  {
    name: 'tcp-out',
    title: 'TCP 64 KiB writes, server to client',
    unit: 'MB/s',
    wanted: 0,
    script: program('bulk'),
    args: ['source', 7000],
    measure: (home, job, o) => load(home, job, 'tcp-receive', o),
    value: 'mb_per_s',
  },
  {
    name: 'tcp-in',
    title: 'TCP 64 KiB writes, client to server',
    unit: 'MB/s',
    wanted: 0,
    script: program('bulk'),
    args: ['sink', 7000],
    measure: (home, job, o) => load(home, job, 'tcp-send', { ...o, args: ['--size', '65536'] }),
    value: 'mb_per_s',
  },
  {
    name: 'udp-echo',
    title: 'UDP echo 64 B, 64 in flight',
    unit: 'msg/s',
    wanted: 1.5,
    script: example('udp-echo'),
    args: [7000, '0.0.0.0'],
    measure: (home, job, o) => load(home, job, 'udp-echo', { ...o, args: ['--inflight', '64'] }),
  },
  {
    name: 'udp-receive',
    title: 'UDP receive 64 B',
    unit: 'msg/s',
    wanted: 1,
    script: program('udp-sink'),
    args: [7000],
    measure: udpReceive,
  },
  {
    name: 'connect',
    title: 'new connections, one echo each',
    unit: 'conn/s',
    wanted: 1,
    ...echo,
    measure: (home, job, o) => load(home, job, 'connect', { ...o, args: ['--connections', '32'] }),
  },
  {
    name: 'idle',
    title: 'memory per idle connection',
    unit: 'KiB',
    wanted: 0,
    ...echo,
    measure: idle,
    value: 'kib',
    smallerIsBetter: true,
    once: true,
  },
];

/** True when the counters say that the stack in the process carried the traffic. */
export function carried(stats) {
  const counters = stats?.counters ?? {};
  const all = Object.values(counters).flatMap((group) => (typeof group === 'object' ? Object.entries(group) : []));
  return all.some(([name, value]) => /^(tcp|udp)_received$/.test(name) && value > 10);
}

/** One topology for all runs. `run(workload, mode, options)` gives the numbers of one run. */
export async function openNetwork() {
  const home = await openLab();
  return {
    close: () => home.close(),
    async run(workload, mode, options) {
      const job = await home.node(mode, workload.script, workload.args, { stdin: 'pipe' });
      try {
        const result = await workload.measure(home, job, options);
        const stats = await home.finalStats(job);
        if (mode === 'millrace' && !carried(stats))
          throw new Error(`it was not millrace that carried it: ${job.describe()}`);
        return result;
      } finally {
        await job.stop('SIGKILL');
      }
    },
  };
}
