// SPDX-License-Identifier: MIT
// The lab itself: what the other end-to-end tests conclude rests on a wire that does what it says, and on nothing being
// left behind. Plain Node only.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import t, { type Test } from 'tap';
import { cannotOpenLab, example, lab, load } from './support/context';

t.setTimeout(60_000);
const skip = cannotOpenLab();

interface Echo {
  messages: number;
  lost: number;
  wrong: number;
  stale: number;
}

interface Outcome {
  echo: Echo;
  received: number;
  bridge: Record<string, number>;
}

/** Echoes datagrams through a bridge for a second; gives what came of it and the bridge's counters, both ways summed. */
async function echoThrough(t: Test, switches: Record<string, number>): Promise<Outcome> {
  const home = await lab(t, { bridge: switches });
  await home.node('kernel', example('udp-echo'), [7000, '0.0.0.0']);
  const args = [
    'udp-echo',
    '--host',
    home.mill.ipv4,
    '--port',
    '7000',
    '--inflight',
    '32',
    '--seconds',
    '1',
    '--warmup',
    '0',
    '--size',
    '200',
  ];
  const outcome = await home.run(home.peer, load(), args);
  const { ab, ba } = await home.bridgeCounters();
  const bridge: Record<string, number> = {};
  for (const [name, value] of Object.entries(ab))
    bridge[name] = value + (ba as unknown as Record<string, number>)[name]!;
  await home.close();
  return { echo: JSON.parse(outcome.stdout) as Echo, received: bridge['received'] ?? 0, bridge };
}

t.test('a good wire passes everything', { skip }, async (t) => {
  const { echo, bridge } = await echoThrough(t, { seed: 1 });
  t.ok(echo.messages > 1000, `${echo.messages} echoes`);
  t.match(echo, { lost: 0, wrong: 0, stale: 0 }, 'none lost, changed or doubled');
  t.match(bridge, { lost: 0, duplicated: 0, reordered: 0, corrupted: 0, send_errors: 0, overflowed: 0 });
  t.equal(bridge['sent'], bridge['received'], 'every frame was forwarded');
});

t.test('a bad wire is as bad as it says', { skip }, async (t) => {
  for (const [name, counter] of [
    ['loss', 'lost'],
    ['dup', 'duplicated'],
    ['reorder', 'reordered'],
    ['corrupt', 'corrupted'],
  ] as const) {
    const { echo, received, bridge } = await echoThrough(t, { seed: 2, [name]: 4 });
    const share = (100 * (bridge[counter] ?? 0)) / received;
    t.ok(
      received > 500 && share > 2 && share < 6,
      `${name} 4 %: ${share.toFixed(2)} % of ${received} frames were ${counter}`,
    );
    t.equal(echo.wrong, 0, `${name}: no datagram arrived changed: checksums catch every corruption`);
    if (name === 'loss' || name === 'corrupt') t.ok(echo.lost > 0, `${name}: ${echo.lost} datagrams are missing`);
    else t.equal(echo.lost, 0, `${name}: no datagram is missing`);
    if (name === 'dup') t.ok(echo.stale > 0, `${name}: ${echo.stale} came twice`);
  }
});

t.test('nothing is left behind', { skip }, async (t) => {
  const home = await lab(t);
  const sleeper = home.spawn(home.peer, 'sleep', ['100']);
  await home.node('kernel', example('http-server'), [8080, '0.0.0.0']);
  const { folder } = home;
  const names = [home.mill.namespace, home.peer.namespace];
  await home.close();
  const list = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  for (const name of names) t.notMatch(list, name, `${name} is gone`);
  t.notOk(existsSync(folder), 'so is its folder');
  t.notOk(sleeper.running, 'and what ran inside');
});
