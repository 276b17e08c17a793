// SPDX-License-Identifier: MIT
// Connections that cluster workers and worker threads open themselves, where queues are shared: the answer may come by any
// queue, of another worker or of nobody, and finds its way. Over a port that has nothing for them they are the kernel's.

import path from 'node:path';
import t, { type Test } from 'tap';
import {
  app,
  cannotRun,
  complainsRightly,
  count,
  isFast,
  labOfWorkers,
  mode,
  port,
  root,
  sleep,
  type Job,
  type Lab,
  type Stats,
} from './support/context';

t.setTimeout(120_000);
const skip = cannotRun();
const kPort = 7000;
/** Of each bulk transfer. */
const bytes = Number(process.env['E2E_BYTES'] ?? 10e6);
const fast = isFast('opens');

interface WorkerSeen {
  readonly pid: number;
  readonly kept: number;
  readonly short: number;
  readonly datagrams: number;
  readonly late: number;
  readonly wrong: number;
  readonly errors: Record<string, number>;
  readonly stats: Stats | null;
}

interface Transfer {
  readonly ms: number;
  readonly received: number;
  readonly error: string | null;
  readonly same: boolean;
}

interface PeerSeen {
  readonly accepted: number;
  readonly live: number;
  readonly datagrams: number;
  readonly errors: Record<string, number>;
}

class Outgoing {
  readonly #home: Lab;
  readonly peer: Job;
  #job: Job | undefined;

  constructor(home: Lab) {
    this.#home = home;
    this.peer = home.spawn(home.peer, process.execPath, [app('echo-peer'), String(kPort)], { stdin: 'pipe' });
  }

  get job(): Job {
    if (!this.#job) throw new Error('not started');
    return this.#job;
  }

  async start(kind: 'cluster' | 'threads', workers: number, host: string): Promise<void> {
    const home = this.#home;
    await this.peer.waitFor(/^listening/m);
    const millrace = { ...home.underMillrace(), LAB_LIBRARY: path.join(root, 'dist/lib/index.js') };
    const args = [app('outgoing'), kind, String(workers), host, String(kPort)];
    this.#job = home.spawn(home.mill, process.execPath, args, {
      stdin: 'pipe',
      env: mode === 'millrace' ? millrace : {},
    });
    await this.#job.waitFor(/^running/m);
  }

  async report(): Promise<WorkerSeen[]> {
    return (await this.job.ask<{ workers: WorkerSeen[] }>('report')).workers;
  }

  async bulk(index?: number): Promise<Transfer[]> {
    const line = `bulk ${bytes}${index === undefined ? '' : ` ${index}`}`;
    return (await this.job.ask<{ workers: Transfer[] }>(line, 60_000)).workers;
  }

  /** Until every worker has got on by so much, and `enough` says yes. */
  async progress(enough: (seen: WorkerSeen[]) => boolean = () => true): Promise<WorkerSeen[]> {
    const first = await this.report();
    const deadline = performance.now() + 20_000;
    for (;;) {
      await sleep(100);
      const seen = await this.report();
      const on = seen.every((now, i) => {
        const was =
          first[i]?.pid === now.pid && first[i].kept <= now.kept ? first[i] : { kept: 0, short: 0, datagrams: 0 };
        return now.kept > was.kept + 30 && now.short > was.short + 20 && now.datagrams > was.datagrams + 20;
      });
      if (on && enough(seen)) return seen;
      if (performance.now() > deadline) throw new Error(`no progress in 20 s: ${JSON.stringify(brief(seen))}`);
    }
  }
}

const brief = (seen: WorkerSeen[]): unknown =>
  seen.map(({ stats, ...rest }) => ({
    ...rest,
    ...(stats && {
      passed: count(stats, /^strays_passed_on$/),
      lost: count(stats, /^(strays|spare)_lost$/),
      resent: count(stats, /^tcp_retransmits$/),
      spare: count(stats, /^spare_frames$/),
    }),
  }));

/** All of it right, and all of it ours. */
async function check(t: Test, home: Lab, seen: WorkerSeen[]): Promise<void> {
  t.comment(JSON.stringify(brief(seen)));
  for (const worker of seen) {
    t.same(worker.errors, {}, 'no connection fails');
    t.equal(worker.wrong, 0, 'every answer is the right one');
    // While others begin, a queue changes its owner, and what is in it is lost.
    t.ok(worker.late <= 4, 'datagrams are answered');
  }
  if (!fast) return;
  t.same(await home.kernelConnections(home.mill, ['dport', '=', `:${kPort}`]), [], 'the kernel has none of them');
  for (const { stats } of seen) {
    t.ok(count(stats ?? {}, /^connections_opened$/) > 0, 'all of them are ours');
    t.equal(
      count(stats ?? {}, /^(strays_unasked|strays_lost|spare_lost)$/),
      0,
      'none is lost on its way between stacks',
    );
  }
}

/** Threads may have a stack without these connections being on it. */
function checkStderr(t: Test, job: Job, kind: 'cluster' | 'threads', workers: number): void {
  complainsRightly(t, job.stderr, kind === 'cluster' ? 'clusters' : 'threads', workers);
}

/** The sender's transmit queue is the receiver's queue on a veth pair: all packets to this one. */
async function direct(home: Lab, queue: number, queues: number): Promise<void> {
  const all = ((1 << Math.min(require('node:os').cpus().length, 30)) - 1).toString(16);
  const set = (number: number, processors: string): Promise<string> => {
    const file = `/sys/class/net/${home.peer.interface}/queues/tx-${number}/xps_cpus`;
    return home.must(home.peer, 'sh', ['-c', `echo ${processors} > ${file}`]);
  };
  await set(queue, all);
  for (let other = 0; other < queues; other++) if (other !== queue) await set(other, '0');
}

/** Both families with both kinds, and every kind of killing. */
const thorough = Number(process.env['E2E_ROUNDS'] ?? 1) > 1;

for (const kind of ['cluster', 'threads'] as const) {
  for (const family of thorough ? (['ipv4', 'ipv6'] as const) : ([kind === 'cluster' ? 'ipv4' : 'ipv6'] as const)) {
    t.test(`${kind}, ${family}, and a queue that nobody has (${mode})`, { skip }, async (t) => {
      const home = await labOfWorkers(t, 'opens', 3);
      const run = new Outgoing(home);
      await run.start(kind, 2, home.peer[family]);
      const sum = (seen: WorkerSeen[], name: RegExp): number =>
        seen.reduce((n, { stats }) => n + count(stats ?? {}, name), 0);
      const seen = await run.progress(
        (all) => !fast || (sum(all, /^strays_passed_on$/) > 0 && sum(all, /^spare_frames$/) > 0),
      );
      await check(t, home, seen);
      await run.job.stop('SIGTERM', 8000);
      checkStderr(t, run.job, kind, 2);
    });
  }

  if (kind === 'threads' && !thorough) continue;
  t.test(`${kind}: one is killed and replaced (${mode})`, { skip }, async (t) => {
    const home = await labOfWorkers(t, 'opens', 2);
    const run = new Outgoing(home);
    await run.start(kind, 2, home.peer.ipv4);
    const before = await run.progress();
    await run.job.ask('kill 0');
    await run.job.waitFor(/^ended 0/m, 10_000);
    const after = await run.progress();
    await check(t, home, after);
    t.ok((after[1] as WorkerSeen).kept > (before[1] as WorkerSeen).kept, 'the other goes on');
    const deadline = performance.now() + 15_000;
    // Three of each worker are kept, and at most two short ones are under way.
    let peer = await run.peer.ask<PeerSeen>('report');
    for (; peer.live > 10 && performance.now() < deadline; peer = await run.peer.ask<PeerSeen>('report'))
      await sleep(100);
    t.comment(JSON.stringify(peer));
    t.ok(peer.live <= 10, "the dead one's connections have ended at the peer");
    await run.job.stop('SIGTERM', 8000);
    checkStderr(t, run.job, kind, 3);
  });
}

t.test(`bulk by every queue, the right one, another's and nobody's (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'opens', 3);
  const run = new Outgoing(home);
  await run.start('cluster', 2, home.peer.ipv4);
  await run.progress();
  // A tap has one queue.
  for (const queue of port.xdp ? [0, 1, 2] : [0]) {
    if (port.xdp) await direct(home, queue, 3);
    // The one that nobody has is taken into keeping within a second or so.
    await run.progress();
    const transfers = [...(await run.bulk(0)), ...(await run.bulk(1))];
    t.comment(`by queue ${queue}: ${JSON.stringify(transfers)}`);
    for (const one of transfers) t.match(one, { error: null, same: true, received: bytes });
  }
  await check(t, home, await run.progress());
  await run.job.stop('SIGTERM', 8000);
  checkStderr(t, run.job, 'cluster', 2);
});
