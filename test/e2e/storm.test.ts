// SPDX-License-Identifier: MIT
// Random operations on many sockets at once (apps/storm*.js): no crash, no hang, no wrong byte, no end without a reason.
// TCP, and TLS in all the ways in which it is put on a socket, over a wire; the same, datagrams, http requests, and threads
// that end at any moment, in one process. A few seconds of one seed; `npm run storm -- --help` for more and for others.
// E2E_STORM_SECONDS, E2E_STORM_SEED; STORM_HAND_OVER=1 hands connections over to the kernel among it all.

import { execFile } from 'node:child_process';
import path from 'node:path';
import t, { type Test } from 'tap';
import { app, cannotRun, count, lab, mode, root, stopAndReport, type Lab } from './support/context';

const seconds = Number(process.env['E2E_STORM_SECONDS'] ?? 2);
const seed = Number(process.env['E2E_STORM_SEED'] ?? 1);
t.setTimeout((seconds * 10 + 240) * 1000);
const skip = cannotRun();

/** Each on a port of its own (apps/storm/kinds.js). */
const KINDS = ['tcp', 'tls', 'tls-over', 'tls-in-tls'];

interface Outcome {
  readonly problems: string[];
  readonly connections?: number;
  readonly whole?: number;
  readonly bytes?: number;
  readonly kinds?: Readonly<Record<string, number>>;
}

function outcomeOf(stdout: string): Outcome {
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Outcome;
}

/** Storms over a wire: who listens is under millrace in one run, who connects in the next. */
async function overWire(t: Test, home: Lab, listener: 'mill' | 'peer', env: Record<string, string>): Promise<void> {
  const connector = listener === 'mill' ? 'peer' : 'mill';
  const how = (side: 'mill' | 'peer') => (side === 'mill' ? mode : 'kernel');
  const [one, other] = [home.file('ledger'), home.file('ledger')];
  const start = (side: 'mill' | 'peer', args: (string | number)[], ready: RegExp | null) =>
    home.node(how(side), app('storm'), args, { side: home[side], ready, env });
  const server = await start(listener, ['serve', seed, 7000, home[listener].ipv4, one, ...KINDS], /ready/);
  const args = ['connect', seed, seconds, 60, home[listener].ipv4, 7000, other, ...KINDS];
  const client = await start(connector, args, null);
  await client.finish((seconds + 60) * 1000);
  const stats = await stopAndReport(t, home, listener === 'mill' ? server : client);
  if (listener === 'peer') await server.stop('SIGTERM', 40_000);
  t.same([...outcomeOf(client.stdout).problems, ...outcomeOf(server.stdout).problems], [], `${listener} listens`);
  t.equal(`${client.stderr}${server.stderr}`, '');
  const compared = await home.run(home.peer, process.execPath, [app('storm'), 'compare', one, other]);
  const outcome = outcomeOf(compared.stdout);
  t.same(outcome.problems, []);
  const told = `${outcome.connections} connections, ${JSON.stringify(outcome.kinds)} whole, ${outcome.bytes} bytes`;
  t.ok((outcome.whole ?? 0) > 3, told);
  if (mode === 'millrace') {
    const seen = count(stats ?? {}, /^connections_(?:opened|accepted)$/);
    t.ok(seen > 10, `${seen} of the stack`);
  }
}

for (const listener of ['mill', 'peer'] as const) {
  t.test(`over a wire, ${listener} listens (${mode})`, { skip }, async (t) => {
    const home = await lab(t);
    await overWire(t, home, listener, { STORM_HAND_OVER: process.env['STORM_HAND_OVER'] ?? '0' });
  });
}

/** Both ends in one process: under millrace by the in-process port. */
function inProcess(
  program: string,
  ...args: (string | number)[]
): Promise<{ code: unknown; out: string; err: string }> {
  const preload = mode === 'millrace' ? ['--require', path.join(root, 'dist/compat/register.js')] : [];
  const env = { ...process.env, ...(mode === 'millrace' ? { MILLRACE_PORT: 'loopback' } : {}) };
  const limits = { timeout: (seconds + 60) * 1000, env, maxBuffer: 1 << 26 };
  return new Promise((resolve) => {
    execFile(process.execPath, [...preload, app(program), ...args.map(String)], limits, (error, out, err) => {
      // An error without a code: it did not end by itself.
      resolve({ code: error === null ? 0 : (error.code ?? error.signal), out, err });
    });
  });
}

const PROGRAMS: Readonly<Record<string, (string | number)[]>> = {
  'streams in one process': ['storm', 'both', seed, seconds, 40, ...KINDS],
  datagrams: ['storm-datagrams', seed, seconds, 20],
  'http requests': ['storm-requests', seed, seconds, 20],
  'threads that end at any moment': ['storm-threads', seed, seconds, 3],
};

for (const [name, [program, ...args]] of Object.entries(PROGRAMS)) {
  t.test(`${name} (${mode})`, { skip }, async (t) => {
    const { code, out, err } = await inProcess(String(program), ...args);
    t.equal(err, '');
    t.equal(code, 0, 'it ends by itself');
    t.same(outcomeOf(out).problems, []);
    t.comment(out.trim().slice(0, 400));
  });
}
