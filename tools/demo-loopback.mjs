// SPDX-License-Identifier: MIT
// The demo without privilege: examples/http-server.js and a client in one process, over millrace's loopback port and
// over the kernel's 127.0.0.1.

import { existsSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { mkdtempSync, rmSync } from 'node:fs';
import { heading, headline, liveLine, numberOf, say, sideBySide } from './demo-support.mjs';
import jobs from './lab/jobs.js';
import lab from './lab/lab.js';

const kBoth = path.join(lab.root, 'tools/lab/http-both.js');
const kProbe = path.join(lab.root, 'tools/lab/stats-probe.js');
const kCli = path.join(lab.root, 'dist/lib/cli/main.js');

/** Connections of the process that the kernel knows: those that /proc lists for its sockets. */
async function kernelConnections(port) {
  if (!existsSync('/proc/net/tcp')) return 0;
  const { readFile } = await import('node:fs/promises');
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = (await readFile('/proc/net/tcp', 'latin1')).split('\n').slice(1);
  const established = lines.map((line) => line.trim().split(/\s+/)).filter((fields) => fields[3] === '01');
  return established.filter((fields) => fields[1].endsWith(wanted)).length;
}

async function measure(how, seconds, folder) {
  const live = path.join(folder, 'stats.json');
  const program = [kBoth, '0', String(seconds)];
  const [command, args] =
    how === 'millrace'
      ? [process.execPath, [kCli, 'run', '--port', 'loopback', '--', process.execPath, '--require', kProbe, ...program]]
      : [process.execPath, program];
  const env = jobs.cleanEnvironment(how === 'millrace' ? { LAB_STATS_FILE: live, LAB_STATS_EVERY_MS: '200' } : {});
  const job = new jobs.Job(command, args, { env, name: how });
  const port = Number((await job.waitFor(/port (\d+)/, 20000))[1]);
  const start = performance.now();
  while (job.running) {
    await Promise.race([job.exit, jobs.sleep(1000)]);
    if (job.running) liveLine((performance.now() - start) / 1000, how, live, await kernelConnections(port), 64);
  }
  if (job.code !== 0) throw new Error(job.describe());
  return JSON.parse(/^\{.*\}$/m.exec(job.stdout)[0]);
}

/** Runs the demo over the loopback port. Gives the exit code. */
export async function demoOverLoopback(seconds) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'millrace-demo-'));
  try {
    headline('millrace: an unmodified Node server on a network stack of its own, in one process');
    heading(`examples/http-server.js and an http client with 64 connections, ${seconds} s, over the loopback port`);
    say('', 'millrace run --port loopback -- node (server and client)');
    const fast = await measure('millrace', seconds, folder);
    heading('The same program, plain Node, over 127.0.0.1');
    const plain = await measure('plain', seconds, folder);
    const rows = [
      ['', 'plain Node', 'millrace'],
      ['requests per second', numberOf(plain.rate), numberOf(fast.rate)],
      ['half of them within', `${plain.p50_ms.toFixed(2)} ms`, `${fast.p50_ms.toFixed(2)} ms`],
      ['99 % of them within', `${plain.p99_ms.toFixed(2)} ms`, `${fast.p99_ms.toFixed(2)} ms`],
      ['errors', plain.errors, fast.errors],
    ];
    sideBySide(rows, fast.rate / plain.rate);
    return fast.errors === 0 ? 0 : 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
