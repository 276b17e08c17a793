// SPDX-License-Identifier: MIT
// Random operations on many connections at once (apps/storm.js): no crash, no hang, no wrong byte, no end without a
// reason. A few seconds of one seed; E2E_STORM_SECONDS=120 and E2E_STORM_SEED=7 for more and for others.
// STORM_HAND_OVER=1 hands connections over to the kernel among it all.

import t, { type Test } from 'tap';
import { app, cannotRun, count, lab, mode, stopAndReport, type Lab } from './support/context';

const seconds = Number(process.env['E2E_STORM_SECONDS'] ?? 4);
const seed = Number(process.env['E2E_STORM_SEED'] ?? 1);
t.setTimeout((seconds * 6 + 120) * 1000);
const skip = cannotRun();

interface Outcome {
  readonly problems: string[];
  readonly connections?: number;
  readonly whole?: number;
  readonly bytes?: number;
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
  const server = await start(listener, ['serve', seed, 7000, home[listener].ipv4, one], /ready/);
  const args = ['connect', seed, seconds, 60, home[listener].ipv4, 7000, other];
  const client = await start(connector, args, null);
  await client.finish((seconds + 60) * 1000);
  const stats = await stopAndReport(t, home, listener === 'mill' ? server : client);
  if (listener === 'peer') await server.stop('SIGTERM', 40_000);
  t.same([...outcomeOf(client.stdout).problems, ...outcomeOf(server.stdout).problems], [], `${listener} listens`);
  t.equal(`${client.stderr}${server.stderr}`, '');
  const compared = await home.run(home.peer, process.execPath, [app('storm'), 'compare', one, other]);
  const outcome = outcomeOf(compared.stdout);
  t.same(outcome.problems, []);
  t.ok((outcome.whole ?? 0) > 3, `${outcome.connections} connections, ${outcome.whole} whole, ${outcome.bytes} bytes`);
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
