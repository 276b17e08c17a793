// SPDX-License-Identifier: MIT
// Worker threads, each with a stack and a queue of its own in one process; threads and programs that end at each step of
// their life, beside others that go on. Over a port that has nothing for threads, or for connections which they open, all
// of it holds too, by the kernel.

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
import { endsAtEveryStep } from './support/every-step';
import { progress, type Seen } from './support/progress';

t.setTimeout(240_000);
const skip = cannotRun();
/** More rounds, and every way to end a program. */
const rounds = Number(process.env['E2E_ROUNDS'] ?? 1);
const thorough = rounds > 1;

function start(home: Lab, name: string, args: readonly (string | number)[], env: Record<string, string> = {}): Job {
  const millrace = home.underMillrace();
  return home.spawn(home.mill, process.execPath, [app(name), ...args.map(String)], {
    stdin: 'pipe',
    env: mode === 'millrace' ? { ...millrace, ...env } : {},
  });
}

/** A program whose main thread has sockets: it has the mill's end of the wire for itself, if only one can have it. */
async function startAlone(...[home, name, args, env]: Parameters<typeof start>): Promise<Job> {
  const memory = mode === 'millrace' ? home.memory : null;
  await memory?.take();
  const program = start(home, name, args, { ...home.underMillrace({ threads: false }), ...env });
  if (memory) void program.exit.then(() => memory.leave());
  return program;
}

t.test(`threads serve, one is terminated (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'threads', 2);
  const library = mode === 'millrace' ? { LAB_LIBRARY: path.join(root, 'dist/lib/index.js') } : undefined;
  const server = start(home, 'threads-http', [2, 7000, '0.0.0.0'], library);
  await server.waitFor(/^listening on/m, 20_000);
  const clients = [7000, 7001].map((port) =>
    home.spawn(home.peer, process.execPath, [app('cluster-client'), home.mill.ipv4, String(port), '6'], {
      stdin: 'pipe',
    }),
  ) as [Job, Job];
  for (const client of clients) {
    const seen = await progress(client);
    t.same(seen.failures, []);
  }
  if (isFast('threads')) {
    const { threads } = await server.ask<{ threads: Stats[] }>('stats');
    for (const stats of threads)
      t.ok(count(stats, /^connections_accepted$/) > 0, 'each thread has connections of its own');
  }
  const served = (await clients[1].ask<Seen>('report')).kept;
  server.child.stdin?.write('terminate 0\n');
  await server.waitFor(/thread 0 ended[\s\S]*thread 0 listens/, 15_000);
  for (const client of clients) await progress(client);
  const other = await clients[1].ask<Seen>('stop');
  t.same(other.failures, [], "the other thread's connections go on");
  t.equal(other.refused, 0);
  t.ok(other.kept > served);
  const again = await clients[0].ask<Seen>('stop');
  t.notOk(
    again.failures.some((failure) => failure.code === 'NO_ANSWER'),
    'its own fail, they do not hang',
  );
  if (isFast('threads')) {
    const { threads } = await server.ask<{ threads: Stats[] }>('stats');
    t.ok(count(threads[0] as Stats, /^connections_accepted$/) > 0, 'the thread in its place has its queue');
  }
  await server.stop('SIGTERM', 8000);
  t.equal(server.code, 0);
  complainsRightly(t, server.stderr, 'threads', 3);
});

t.test(`threads that end at every step of their life (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'threads', 2);
  const program = start(home, 'dying-threads', [7000, home.mill.ipv4, rounds]);
  await endsAtEveryStep(t, home, program, 60_000 * rounds);
});

/** Until the peer has no connection of the dead any more: its keep-alive probes are answered with resets. */
async function noneLeft(t: Test, peer: Job, live: number): Promise<void> {
  const deadline = performance.now() + 20_000;
  let seen = await peer.ask<{ live: number }>('report');
  for (; seen.live > live && performance.now() < deadline; seen = await peer.ask('report')) await sleep(100);
  t.comment(JSON.stringify(seen));
  t.equal(seen.live, live, 'the peer has no connection of the dead');
}

t.test(`threads that open connections and end at every step (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'threads', 3);
  const peer = home.spawn(home.peer, process.execPath, [app('echo-peer'), '7000'], { stdin: 'pipe' });
  await peer.waitFor(/^listening/m);
  for (const host of thorough ? [home.peer.ipv4, home.peer.ipv6] : [home.peer.ipv6]) {
    const program = start(home, 'dying-clients', [host, 7000, rounds]);
    await program.waitFor(/^done/m, 60_000 * rounds);
    const seen = await program.ask<{ echoes: number; wrong: number; broken: number }>('report');
    t.comment(JSON.stringify(seen));
    for (const line of program.stdout.split('\n').filter((text) => /^(not )?ok /.test(text))) {
      t.ok(line.startsWith('ok'), line);
    }
    t.ok(seen.echoes > 0);
    t.match(seen, { wrong: 0, broken: 0 }, 'the thread beside them was not disturbed');
    await noneLeft(t, peer, 1);
    program.child.stdin?.write('end\n');
    t.same(await program.finish(10_000), { code: 0, signal: null });
    complainsRightly(t, program.stderr, 'threads');
  }
});

t.test(`programs that open connections and end at every step (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'threads', 2);
  const peer = home.spawn(home.peer, process.execPath, [app('echo-peer'), '7000'], { stdin: 'pipe' });
  await peer.waitFor(/^listening/m);
  for (const step of ['opening', 'connecting', 'connected', 'sending', 'receiving', 'closing', 'datagrams']) {
    const args = [home.peer.ipv4, 7000, 'one', step];
    const one = (way: string): Promise<Job> =>
      startAlone(home, 'dying-clients', [...args, way], port.shares ? { MILLRACE_QUEUES: '1' } : {});
    const kill = async (program: Job): Promise<void> => {
      await program.waitFor(/^reached/m, 20_000);
      program.kill('SIGKILL');
      t.equal((await program.finish(15_000)).signal, 'SIGKILL');
    };
    // Two at a time, on a queue each, where they can: one is killed, the other ends when it has got as far.
    const killed = await one('told');
    if (!port.shares) await kill(killed);
    const left = await one('exit');
    if (port.shares) await kill(killed);
    t.same(await left.finish(20_000), { code: 0, signal: null }, step);
    for (const program of [killed, left]) t.equal(program.stderr, '', 'nothing on stderr');
  }
  await noneLeft(t, peer, 0);
  const link = await home.ip(home.mill, ['-d', 'link', 'show', 'dev', home.mill.interface]);
  t.notMatch(link, /prog\/xdp|xdp /, 'no program is left on the interface');
});

t.test(`programs that end at every step of their life (${mode})`, { skip }, async (t) => {
  const home = await labOfWorkers(t, 'threads', 2);
  const peer = home.spawn(home.peer, process.execPath, [app('dying-peer'), home.mill.ipv4, '7000']);
  for (const step of ['loaded', 'opening', 'listening', 'connected', 'sending', 'receiving', 'closing']) {
    for (const way of thorough ? ['exit', 'throw', 'SIGKILL', 'SIGTERM'] : ['exit', 'SIGKILL']) {
      const told = way.startsWith('SIG');
      const program = await startAlone(home, 'dying', [step, told ? 'told' : way, 7000, home.mill.ipv4]);
      if (told) {
        await program.waitFor(/^reached/m, 20_000);
        program.kill(way as NodeJS.Signals);
      }
      const { code, signal } = await program.finish(15_000);
      const right = told ? signal === way : signal === null && code === (way === 'throw' ? 1 : 0);
      t.ok(right, `${step} ${way}: ended with ${signal ?? code}`);
      if (way !== 'throw') t.equal(program.stderr, '', 'nothing on stderr');
    }
  }
  t.ok(peer.running);
  const link = await home.ip(home.mill, ['-d', 'link', 'show', 'dev', home.mill.interface]);
  t.notMatch(link, /prog\/xdp|xdp /, 'no program is left on the interface');
});
