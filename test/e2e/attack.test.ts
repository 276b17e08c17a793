// SPDX-License-Identifier: MIT
// A server under a SYN flood, and under packets that no honest host sends: it serves everybody else meanwhile, keeps
// nothing for the attacker, and is what it was afterwards.

import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import {
  cannotRun,
  count,
  example,
  flood,
  lab,
  mode,
  sleep,
  stopAndReport,
  type Lab,
  type NodeJob,
} from './support/context';

t.setTimeout(60_000);
const skip = cannotRun('curl');

/** Where the attack claims to come from: it leads to the peer, and nowhere from there. */
const kSources = '10.99.0.0';
const kGrowthMaxBytes = 64 << 20;

/** Answers to made-up sources have a neighbour to go to, and end there without a word. */
async function routeSources(home: Lab): Promise<void> {
  await home.ip(home.mill, ['route', 'add', `${kSources}/16`, 'via', home.peer.ipv4]);
  await home.ip(home.peer, ['route', 'add', 'blackhole', `${kSources}/16`]);
}

function residentBytes(job: NodeJob): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${job.pid}/status`, 'utf8'));
  return Number(match?.[1]) * 1024;
}

/** One request on a new connection; gives the seconds that curl counted, or what went wrong. */
async function request(home: Lab): Promise<number | string> {
  const url = `http://${home.mill.ipv4}:8080/`;
  const got = await home.run(home.peer, 'curl', ['-sS', '-m', '5', '-w', '%{stderr}%{time_total}', url]);
  return got.code === 0 && got.stdout === 'Hello, world\n' ? Number(got.stderr) : `${got.code}: ${got.stderr}`;
}

async function requestsInTime(t: Test, home: Lab, requests: number, pauseMs: number, when: string): Promise<void> {
  const took: (number | string)[] = [];
  for (let i = 0; i < requests; ++i) {
    took.push(await request(home));
    await sleep(pauseMs);
  }
  const late = took.filter((seconds) => typeof seconds === 'string' || seconds >= 1);
  t.same(late, [], `${when}: each of ${requests} requests is served within 1 s`);
  t.comment(`${when}: the slowest took ${(Math.max(...took.map(Number)) * 1000).toFixed(1)} ms`);
}

/** Starts the generator; `end` waits for it and gives how many packets it sent. */
function attack(home: Lab, kind: 'syn' | 'broken', rate: number, seconds: number): { end: () => Promise<number> } {
  const args = [kind, home.mill.ipv4, '8080', kSources, String(rate), String(seconds)];
  const job = home.spawn(home.peer, flood(), args);
  return {
    end: async () => {
      await job.finish(20_000);
      if (job.code !== 0) throw new Error(job.describe());
      return (JSON.parse(job.stdout) as { sent: number }).sent;
    },
  };
}

function checkGrowth(t: Test, before: number, server: NodeJob, when: string): void {
  const grown = residentBytes(server) - before;
  t.ok(grown < kGrowthMaxBytes, `${when}: memory has grown by ${(grown / (1 << 20)).toFixed(1)} MB`);
}

t.test(`20,000 SYNs a second for 5 s (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  await routeSources(home);
  const server = await home.node(mode, example('http-server'), [8080, '0.0.0.0']);
  await requestsInTime(t, home, 3, 0, 'before');
  const before = residentBytes(server);
  const running = attack(home, 'syn', 20_000, 5);
  await sleep(300);
  await requestsInTime(t, home, 20, 150, 'meanwhile');
  const sent = await running.end();
  t.ok(sent > 50_000, `${sent} SYNs were sent`);
  checkGrowth(t, before, server, 'after the flood');
  await requestsInTime(t, home, 1, 0, 'afterwards');
  if (mode === 'millrace') {
    const live = await home.liveStats(server);
    const cookies = count(live, /^tcp_cookies_sent$/);
    const accepted = count(live, /^tcp_cookies_accepted$/);
    t.ok(cookies > sent / 2, `${cookies} SYNs were answered with cookies`);
    t.ok(accepted > 0, `${accepted} connections were made from cookies`);
    t.equal(count(live, /^tcp_half_open_full$/), 0, 'no SYN was dropped for want of room');
  }
  await stopAndReport(t, home, server);
});

t.test(`malformed packets (${mode})`, { skip }, async (t) => {
  const home = await lab(t);
  await routeSources(home);
  const server = await home.node(mode, example('http-server'), [8080, '0.0.0.0']);
  await requestsInTime(t, home, 3, 0, 'before');
  const before = residentBytes(server);
  const running = attack(home, 'broken', 10_000, 2);
  await requestsInTime(t, home, 5, 150, 'meanwhile');
  const sent = await running.end();
  t.ok(sent > 5_000, `${sent} malformed packets were sent`);
  await requestsInTime(t, home, 3, 0, 'afterwards');
  checkGrowth(t, before, server, 'afterwards');
  if (mode === 'millrace') {
    const live = await home.liveStats(server);
    t.ok(count(live, /^kernel_malformed$/) > 100, 'malformed headers have come and were left to the kernel');
    t.ok(count(live, /^kernel_fragment$/) > 100, 'so were fragments');
    t.ok(count(live, /^tcp_bad_checksum$/) > 100, 'wrong checksums have come and were counted');
    t.ok(count(live, /^tcp_resets_sent$/) > 100, 'ACKs of nothing were reset');
  }
  await stopAndReport(t, home, server);
});
