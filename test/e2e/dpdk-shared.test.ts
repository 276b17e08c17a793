// SPDX-License-Identifier: MIT
// One DPDK device and several stacks: worker threads, each with a receive and a transmit queue of its own, that come and
// go in any order; cluster workers, which are refused in one line.

import path from 'node:path';
import t, { type Test } from 'tap';
import type { SteeredProgram } from '../../lib/cli/flows';
import { app, count, type Job, type Lab, lab, mode, root, type Stats } from './support/context';
import { cannotRunDpdk, device, overXdp } from './support/dpdk';
import { endsAtEveryStep } from './support/every-step';
import { progress, type Seen } from './support/progress';

const skip = mode === 'kernel' ? 'there is nothing of DPDK under plain Node' : cannotRunDpdk('curl');
t.setTimeout(120_000);

const register = { NODE_OPTIONS: `--require ${path.join(root, 'dist/compat/register.js')}` };
const ourselves = { LAB_LIBRARY: path.join(root, 'dist/lib/index.js') };
const start = (home: Lab, name: string, args: readonly (string | number)[], env: Record<string, string>): Job =>
  home.spawn(home.mill, process.execPath, [app(name), ...args.map(String)], {
    stdin: 'pipe',
    env: { ...register, ...device(overXdp(home, 2)), ...env },
  });

t.test('worker threads share a device; the one that opened it is terminated', { skip }, async (t) => {
  const home = await lab(t, { queues: 2 });
  const { mill, peer } = home;
  const server = start(home, 'threads-http', [2, 7000, '0.0.0.0'], ourselves);
  await server.waitFor(/^listening on/m, 30_000);
  t.equal(server.stderr, '');
  const clients = [7000, 7001].map((port) =>
    home.spawn(peer, process.execPath, [app('cluster-client'), mill.ipv4, String(port), '6'], { stdin: 'pipe' }),
  ) as [Job, Job];
  for (const client of clients) t.same((await progress(client)).failures, []);
  const statsOf = async (): Promise<Stats[]> => (await server.ask<{ threads: Stats[] }>('stats')).threads;
  for (const stats of await statsOf()) {
    t.ok(count(stats, /^connections_accepted$/) > 0, 'each thread has connections of its own');
    t.match(JSON.stringify(stats), /net_af_xdp net_af_xdp[01], queue [01], /);
  }
  const args = [path.join(root, 'dist/lib/cli/main.js'), 'flows', '--json', String(server.child.pid)];
  const { programs } = JSON.parse(await home.must(mill, process.execPath, args)) as { programs: SteeredProgram[] };
  t.same(
    programs.map(({ interfaces }) => interfaces[0]?.rules.find(({ kind }) => kind === 'local')?.queues).sort(),
    [[0], [1]],
    'each has a queue of its own, and rules that hold on it',
  );
  // Whichever of the two opened the device, each of them goes once.
  for (const index of [0, 1]) {
    const other = clients[1 - index] as Job;
    const served = (await other.ask<Seen>('report')).kept;
    server.child.stdin?.write(`terminate ${index}\n`);
    await server.waitFor(new RegExp(`thread ${index} ended[\\s\\S]*thread ${index} listens`), 20_000);
    for (const client of clients) await progress(client);
    const seen = await other.ask<Seen>('report');
    t.ok(seen.kept > served, 'the other one was not disturbed');
    if (index === 0) t.same(seen.failures, [], 'not a connection of it failed');
  }
  for (const stats of await statsOf()) {
    t.ok(count(stats, /^connections_accepted$/) > 0, 'the thread in its place has its queue');
  }
  for (const client of clients) {
    const { failures } = await client.ask<Seen>('stop');
    t.notOk(
      failures.some((failure) => failure.code === 'NO_ANSWER'),
      'nobody hangs',
    );
  }
  await server.stop('SIGTERM', 8000);
  t.equal(server.code, 0);
  t.equal(server.stderr, '', 'nothing on stderr');
});

const everyStep = async (t: Test): Promise<void> => {
  const home = await lab(t, { queues: 2 });
  const program = start(home, 'dying-threads', [7000, home.mill.ipv4, 1], {});
  await endsAtEveryStep(t, home, program, 90_000);
};
// Half a minute: by hand.
if (Number(process.env['E2E_ROUNDS'] ?? 1) > 1) {
  t.test('worker threads that end at every step of their life', { skip }, everyStep);
}

t.test(
  'two threads on the same port: both listen where Node lets them, else as under plain Node',
  { skip },
  async (t) => {
    const home = await lab(t, { queues: 2 });
    const server = start(home, 'threads-http', [2, 7000, '0.0.0.0'], { ...ourselves, REUSE: '1' });
    await server.waitFor(/^listening on/m, 30_000);
    const answered: string[] = [];
    for (let i = 0; i < 32; i++) {
      const { stdout } = await home.run(home.peer, 'curl', ['-s', '-m', '10', `http://${home.mill.ipv4}:7000/`], {});
      answered.push(stdout);
    }
    t.ok(
      answered.every((text) => text.includes('"handle":"thread"')),
      'every request is answered',
    );
    const { threads } = await server.ask<{ threads: Stats[] }>('stats');
    const accepted = threads.map((stats) => count(stats, /^connections_accepted$/));
    t.comment(`accepted by the threads' own stacks: ${accepted}`);
    const [major, minor] = process.versions.node.split('.').map(Number) as [number, number];
    if (major > 22 || (major === 22 && minor >= 12)) {
      t.equal((accepted[0] ?? 0) + (accepted[1] ?? 0), 32, 'all of them ours');
      t.ok(Math.min(...accepted) > 0, 'each thread takes what comes by its queue');
    } else {
      t.match(server.stdout, /^thread [01] listens on EADDRINUSE$/m);
      t.equal(Math.min(...accepted), 0, 'the other one has nothing');
      t.ok(Math.max(...accepted) > 0, 'the one that listens takes what comes by its queue');
    }
    await server.stop('SIGTERM', 8000);
    t.equal(server.stderr, '', 'nothing on stderr');
  },
);

t.test('one thread more than there are queues stays with the kernel, and says why', { skip }, async (t) => {
  const home = await lab(t, { queues: 2 });
  const server = start(home, 'threads-http', [3, 7000, '0.0.0.0'], ourselves);
  await server.waitFor(/^listening on/m, 30_000);
  t.match(
    server.stderr,
    /^millrace: sockets stay with the kernel: other threads of this program have all queues \(2\) of DPDK device net_af_xdp0 .*MILLRACE_QUEUES.*\n$/,
  );
  for (const port of [7000, 7001, 7002]) {
    const { stdout } = await home.run(home.peer, 'curl', ['-s', '-m', '10', `http://${home.mill.ipv4}:${port}/`], {});
    t.match(stdout, /"handle":"thread"/, `port ${port} is served`);
  }
  await server.stop('SIGTERM', 8000);
});

t.test('the last thread has gone: the next one has the device again', { skip }, async (t) => {
  const home = await lab(t);
  const server = start(home, 'threads-http', [1, 7000, '0.0.0.0'], { ...ourselves, ...device(overXdp(home)) });
  await server.waitFor(/^listening on/m, 30_000);
  for (let round = 0; round < 3; round++) {
    const url = `http://${home.mill.ipv4}:7000/`;
    t.match((await home.run(home.peer, 'curl', ['-s', '-m', '10', url], {})).stdout, /"handle":"thread"/);
    const { threads } = await server.ask<{ threads: Stats[] }>('stats');
    t.equal(count(threads[0] as Stats, /^connections_accepted$/), 1, 'by its own stack');
    const from = server.stdout.length;
    server.child.stdin?.write('terminate 0\n');
    await server.waitFor(/thread 0 ended[\s\S]*thread 0 listens/, 20_000, from);
  }
  await server.stop('SIGTERM', 8000);
  t.equal(server.stderr, '', 'nothing on stderr');
});

t.test('cluster workers are refused in one line that says what to do; the kernel serves', { skip }, async (t) => {
  const home = await lab(t);
  const server = start(home, 'cluster-http', [2, 7000, '0.0.0.0'], device(overXdp(home)));
  await server.waitFor(/^listening on/m, 30_000);
  const { stdout } = await home.run(home.peer, 'curl', ['-s', '-m', '10', `http://${home.mill.ipv4}:7000/`], {});
  t.match(JSON.parse(stdout || '{}'), { handle: 'TCP' }, "the kernel's connection");
  const lines = server.stderr.split('\n').filter(Boolean);
  t.equal(lines.length, 2, 'one line for each worker');
  for (const line of lines) {
    t.match(
      line,
      /^millrace: sockets stay with the kernel: port dpdk serves one process, and this is a cluster worker/,
    );
    t.match(line, /allowed: worker_threads, .*; or port af_xdp: MILLRACE_PORT=af_xdp MILLRACE_INTERFACE=<name>/);
  }
  await server.stop('SIGTERM', 8000);
  const strict = start(home, 'cluster-http', [1, 7000, '0.0.0.0'], { ...device(overXdp(home)), MILLRACE_REQUIRE: '1' });
  await strict.waitFor(/^worker 1 \d+ ended [1-9]/m, 30_000);
  t.match(strict.stderr, /millrace cannot accelerate anything here: port dpdk serves one process/);
  await strict.stop('SIGKILL', 2000);
});
