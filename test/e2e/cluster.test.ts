// SPDX-License-Identifier: MIT
// A cluster of unmodified workers under NODE_OPTIONS: each serves on a receive queue of its own, the primary what comes by
// no worker's queue; workers die and are replaced; connections change their queue. Over a port that has nothing for
// clusters all of it holds too, by the kernel, and each worker says why.

import { readFileSync } from 'node:fs';
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
  type Job,
  type Lab,
  type Stats,
} from './support/context';
import { progress, type Seen } from './support/progress';

t.setTimeout(150_000);
const skip = cannotRun('curl');
const fast = isFast('clusters');

class Cluster {
  readonly #home: Lab;
  readonly job: Job;
  port = 0;

  constructor(
    home: Lab,
    args: readonly (string | number)[],
    env: Record<string, string> = {},
    program = 'cluster-http',
  ) {
    this.#home = home;
    const millrace = {
      ...home.underMillrace(),
      MILLRACE_REPORT: path.join(home.folder, 'report-%p.json'),
    };
    this.job = home.spawn(home.mill, process.execPath, [app(program), ...args.map(String)], {
      stdin: 'pipe',
      env: mode === 'millrace' ? { ...millrace, ...env } : env,
    });
  }

  async ready(): Promise<void> {
    this.port = Number((await this.job.waitFor(/listening on (\d+)/, 20_000))[1]);
  }

  async pids(): Promise<number[]> {
    return (await this.job.ask<{ pids: number[] }>('workers')).pids;
  }

  tell(line: string): void {
    this.job.child.stdin?.write(`${line}\n`);
  }

  /** The counters that a worker wrote at its end; null where all is the kernel's. */
  report(pid: number): Stats | null {
    if (!fast) return null;
    return JSON.parse(readFileSync(path.join(this.#home.folder, `report-${pid}.json`), 'utf8')) as Stats;
  }

  client(host: string, side: 'peer' | 'mill' = 'peer'): Job {
    // Each worker holds some of them, but once in 2^15 runs.
    const args = [app('cluster-client'), host, String(this.port), '16'];
    return this.#home.spawn(this.#home[side], process.execPath, args, { stdin: 'pipe' });
  }
}

function tell(t: Test, what: string, seen: Seen): Seen {
  t.comment(`${what}: ${JSON.stringify(seen)}`);
  return seen;
}

const accepted = (stats: Stats | null): number => (stats === null ? 0 : count(stats, /^connections_accepted$/));

t.test(`each worker on its own queue, one killed and replaced (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'clusters', 2);
  const cluster = new Cluster(home, [2, 7000, '0.0.0.0']);
  await cluster.ready();
  const first = await cluster.pids();
  const client = cluster.client(home.mill.ipv4);
  const before = tell(t, 'before', await progress(client, (seen) => first.every((pid) => seen.answers[pid])));
  t.same(before.failures, [], 'no connection fails');
  t.equal(before.refused, 0);
  for (const pid of first) t.ok(before.answers[pid], `worker ${pid} serves`);
  const kernel = await home.kernelConnections(home.mill, ['sport', '=', ':7000']);
  if (fast) t.same(kernel, [], "no connection from outside is the kernel's");
  else t.ok(kernel.length > 0, 'the kernel has them all');
  const near = await home.must(home.mill, 'curl', ['-s', 'http://127.0.0.1:7000/near']);
  t.match(near, /"url":"\/near"/, 'loopback is served, by way of the primary');

  const [victim, survivor] = first as [number, number];
  cluster.tell(`kill ${victim}`);
  await cluster.job.waitFor(/ended SIGKILL[\s\S]*listens on/, 10_000);
  const replacement = (await cluster.pids()).find((pid) => pid !== survivor) as number;
  await progress(client, (seen) => seen.answers[replacement] !== undefined);
  await progress(client);
  const after = tell(t, 'after', await client.ask<Seen>('stop'));
  t.ok(
    after.failures.every((failure) => failure.pid === victim),
    'only connections of the one that was killed fail',
  );
  t.ok(after.failures.length > 0, 'and those do fail, not hang');
  t.notOk(after.failures.some((failure) => failure.code === 'NO_ANSWER'));
  t.ok(after.refused <= 4, `new connections are served all the time (${after.refused} were under way)`);
  t.ok(after.answers[replacement], 'its replacement serves');
  await cluster.job.stop('SIGTERM', 8000);
  complainsRightly(t, cluster.job.stderr, 'clusters', 3);
  if (!fast) return;
  for (const pid of [survivor, replacement]) {
    const stats = cluster.report(pid);
    t.ok(accepted(stats) > 0, `worker ${pid} accepted ${accepted(stats)} connections on the fast path`);
    t.equal(count(stats ?? {}, /^strays_unasked$/), 0);
  }
});

t.test(`workers that share the listening socket (SCHED_NONE), port 0, IPv6 (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'clusters', 2);
  const cluster = new Cluster(home, [2, 0], { NODE_CLUSTER_SCHED_POLICY: 'none' });
  await cluster.ready();
  const pids = await cluster.pids();
  const client = cluster.client(home.mill.ipv6);
  await progress(client, (seen) => pids.every((pid) => seen.answers[pid]));
  const seen = tell(t, 'seen', await client.ask<Seen>('stop'));
  t.same(seen.failures, []);
  t.equal(seen.refused, 0);
  await cluster.job.stop('SIGTERM', 8000);
  complainsRightly(t, cluster.job.stderr, 'clusters', 2);
  for (const pid of fast ? pids : []) t.ok(accepted(cluster.report(pid)) > 0, `worker ${pid} serves`);
});

t.test(`more queues than workers, then more workers than queues (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'clusters', 4);
  for (const workers of [2, 5]) {
    const cluster = new Cluster(home, [workers, 7000, '0.0.0.0']);
    await cluster.ready();
    const pids = await cluster.pids();
    const client = cluster.client(home.mill.ipv4);
    await progress(client, (seen) => seen.short > 200);
    const kernel = await home.kernelConnections(home.mill, ['sport', '=', ':7000']);
    const seen = tell(t, `${workers} workers`, await client.ask<Seen>('stop'));
    t.same(seen.failures, []);
    t.equal(seen.refused, 0);
    await cluster.job.stop('SIGTERM', 8000);
    if (!fast) {
      complainsRightly(t, cluster.job.stderr, 'clusters', workers);
      continue;
    }
    const quick = pids.filter((pid) => {
      try {
        return accepted(cluster.report(pid)) > 0;
      } catch {
        return false; // no engine, no report
      }
    });
    t.equal(quick.length, Math.min(workers, 4), 'each queue that is taken is served');
    if (workers === 2) {
      t.ok(kernel.length > 0, "what comes by a queue that nobody has is the kernel's");
      t.equal(cluster.job.stderr, '', 'nothing on stderr');
    } else {
      const said = cluster.job.stderr.trim().split('\n');
      t.equal(said.length, 1, 'the worker without a queue says so, once');
      t.match(said[0], /sockets stay with the kernel: all 4 receive queues of "\w+" are in use/);
    }
  }
});

// With three queues and two workers there is one that nobody has.
for (const [queues, family] of [
  [2, 'ipv6'],
  [3, 'ipv4'],
] as const) {
  t.test(`connections that change their queue in mid-life, ${queues} queues (${mode})`, { skip }, async (t) => {
    const home = await labOfWorkers(t, 'clusters', queues);
    const cluster = new Cluster(home, [2, 7000, '::']);
    await cluster.ready();
    const pids = await cluster.pids();
    const client = cluster.client(home.mill[family]);
    await progress(client);
    // The sender's transmit queue is the receiver's queue on a veth pair: all of it to one, then to the next.
    const all = ((1 << Math.min(require('node:os').cpus().length, 30)) - 1).toString(16);
    const direct = async (queue: number): Promise<void> => {
      const set = (number: number, processors: string): Promise<string> => {
        const file = `/sys/class/net/${home.peer.interface}/queues/tx-${number}/xps_cpus`;
        return home.must(home.peer, 'sh', ['-c', `echo ${processors} > ${file}`]);
      };
      await set(queue, all);
      for (let other = 0; other < queues; other++) if (other !== queue) await set(other, '0');
    };
    // A tap has one queue, and there nothing changes.
    for (const queue of port.xdp ? [0, 1, queues - 1, 0] : [0]) {
      if (port.xdp) await direct(queue);
      await progress(client);
    }
    const seen = tell(t, 'seen', await client.ask<Seen>('stop'));
    t.same(seen.failures, [], 'none is lost, none changes its worker');
    // A handshake that moves to the queue of nobody is the kernel's there, which knows nothing of it.
    if (queues === 2) t.equal(seen.refused, 0);
    else t.ok(seen.refused <= 4, `new connections are served (${seen.refused} were under way)`);
    await cluster.job.stop('SIGTERM', 8000);
    if (!fast) return;
    const sum = (name: RegExp): number => pids.reduce((n, pid) => n + count(cluster.report(pid) ?? {}, name), 0);
    t.comment(`passed on: ${sum(/^strays_passed_on$/)}, by the queue that nobody has: ${sum(/^spare_frames$/)}`);
    t.ok(sum(/^strays_passed_on$/) > 0, 'the workers passed segments on to each other');
    if (queues > 2) t.ok(sum(/^spare_frames$/) > 0, 'and took what came by the queue that nobody has');
    t.equal(sum(/^(strays|spare)_lost$/), 0);
  });
}

t.test(`workers that share a UDP socket (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'clusters', 2);
  for (const host of [home.mill.ipv4, home.mill.ipv6]) {
    const cluster = new Cluster(home, [2, 5000, host], {}, 'cluster-udp');
    await cluster.ready();
    const args = [app('cluster-udp-client'), host, '5000', '32', '20'];
    const seen = JSON.parse(await home.must(home.peer, process.execPath, args, { timeoutMs: 20_000 })) as {
      answers: Record<string, number>;
      again: number;
    };
    t.comment(JSON.stringify(seen));
    const pids = Object.keys(seen.answers).map(Number);
    t.equal(
      Object.values(seen.answers).reduce((sum, n) => sum + n, 0),
      32 * 20,
    );
    await cluster.job.stop('SIGTERM', 8000);
    t.match(cluster.job.stdout, /(worker \d+ ended 0\s+){2}/, 'the workers disconnect and end by themselves');
    complainsRightly(t, cluster.job.stderr, 'clusters', 2);
    if (!fast) continue;
    t.equal(pids.length, 2, 'both workers answer');
    for (const pid of pids) {
      const received = count(cluster.report(pid) ?? {}, /^udp_received$/);
      t.ok(received > 0, `worker ${pid} received ${received} datagrams on the fast path`);
    }
  }
});
