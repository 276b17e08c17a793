// SPDX-License-Identifier: MIT
// The workloads with both ends in one process: plain Node over 127.0.0.1, millrace over its loopback port.

import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import jobs from '../tools/lab/jobs.js';
import lab from '../tools/lab/lab.js';
import { carried } from './network.mjs';

const program = path.join(lab.root, 'bench/apps/in-process.js');

export const loopbackWorkloads = [
  { name: 'tcp-echo-1', title: 'TCP echo 64 B, 1 connection', unit: 'msg/s', wanted: 0, args: ['tcp-echo', 1] },
  { name: 'tcp-echo-64', title: 'TCP echo 64 B, 64 connections', unit: 'msg/s', wanted: 3, args: ['tcp-echo', 64] },
  { name: 'http', title: 'HTTP hello, 64 connections, both ends Node', unit: 'req/s', wanted: 0, args: ['http', 64] },
  { name: 'tcp-one-way', title: 'TCP 64 KiB writes', unit: 'MB/s', wanted: 0, args: ['one-way', 1], value: 'mb_per_s' },
  { name: 'udp-echo', title: 'UDP echo 64 B, 64 in flight', unit: 'msg/s', wanted: 4, args: ['udp-echo', 64] },
  { name: 'udp-receive', title: 'UDP receive 64 B', unit: 'msg/s', wanted: 0, args: ['udp-receive', 1] },
  { name: 'connect', title: 'new connections, one echo each', unit: 'conn/s', wanted: 0, args: ['connect', 32] },
  {
    name: 'idle',
    title: 'memory per idle connection, both ends',
    unit: 'KiB',
    wanted: 0,
    args: ['idle'],
    value: 'kib',
    smallerIsBetter: true,
    once: true,
  },
];

export async function openLoopback() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'millrace-bench-'));
  const report = path.join(folder, 'report.json');
  return {
    close: async () => fs.rmSync(folder, { recursive: true, force: true }),
    async run(workload, mode, { seconds, connections }) {
      const preload = mode === 'millrace' ? ['--require', lab.register] : [];
      const env =
        mode === 'millrace' ? { MILLRACE_PORT: 'loopback', MILLRACE_REQUIRE: '1', MILLRACE_REPORT: report } : {};
      // Half as many idle connections as over the network: both ends need a descriptor under plain Node.
      const [name, count = Math.min(connections, 8000)] = workload.args;
      fs.rmSync(report, { force: true });
      const args = ['--expose-gc', ...preload, program, name, String(seconds), String(count)];
      const outcome = await jobs.run(process.execPath, args, {
        env: jobs.cleanEnvironment(env),
        timeoutMs: seconds * 1000 + 60000,
      });
      if (outcome.code !== 0)
        throw new Error(
          `${workload.name} (${mode}): ${outcome.code} ${outcome.signal}\n${outcome.stdout}${outcome.stderr}`,
        );
      if (mode === 'millrace' && !(fs.existsSync(report) && carried(JSON.parse(fs.readFileSync(report, 'utf8'))))) {
        throw new Error(`${workload.name}: it was not millrace that carried it\n${outcome.stdout}${outcome.stderr}`);
      }
      return JSON.parse(outcome.stdout);
    },
  };
}
