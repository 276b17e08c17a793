// SPDX-License-Identifier: MIT
// Congestion control by name and socket, on the wire: three connections of one server at once, each with another
// algorithm, over a path of some milliseconds that loses a packet now and then. By how much losses cut the window tells
// which is at work.

import t from 'tap';
import { app, cannotRun, lab, stopAndReport } from './support/context';

t.setTimeout(60_000);
const skip = cannotRun('bash');
const kPort = 7000;

interface Result {
  readonly name: string;
  readonly accelerated: boolean;
  readonly cuts: readonly number[];
  readonly paced: boolean;
  readonly bytes: number;
}

t.test('cubic, newreno and bbr side by side', { skip }, async (t) => {
  const home = await lab(t);
  // Without a guardian nothing happens between two looks but one turn.
  const options = { MILLRACE_GUARDIAN_MS: '0', MILLRACE_FAULT: 'tx.delay_us=2000,tx.drop=0.015,seed=3' };
  const server = await home.node('millrace', app('congestion'), [kPort, home.mill.ipv4], { options });
  const fetch = async (name: string): Promise<number> => {
    const script = `exec 3<>/dev/tcp/${home.mill.ipv4}/${kPort}; echo ${name} >&3; wc -c <&3`;
    return Number(await home.must(home.peer, 'bash', ['-c', script], { timeoutMs: 30_000 }));
  };
  const names = ['cubic', 'newreno', 'bbr'];
  const received = await Promise.all(names.map(fetch));
  const results = new Map<string, Result>();
  for (const [, text = ''] of server.stdout.matchAll(/^result (.*)$/gm)) {
    const result = JSON.parse(text) as Result;
    results.set(result.name, result);
    t.comment(text);
    t.ok(result.accelerated, `${result.name}: chosen`);
  }
  t.same(
    names.map((name) => results.get(name)?.bytes),
    received,
    'every byte came',
  );
  const median = (name: string): number => {
    const cuts = [...(results.get(name)?.cuts ?? [])].sort((a, b) => a - b);
    return cuts[cuts.length >> 1] ?? -1;
  };
  t.ok(median('cubic') > 0.63 && median('cubic') < 0.77, `CUBIC cuts to 0.7: ${median('cubic')}`);
  t.ok(median('newreno') > 0.35 && median('newreno') < 0.58, `NewReno to a half: ${median('newreno')}`);
  t.same(
    names.map((name) => results.get(name)?.paced),
    [false, false, true],
    'BBR paces, and it alone',
  );
  await stopAndReport(t, home, server);
});
