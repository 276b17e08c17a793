// SPDX-License-Identifier: MIT
// A bad network: 1 % and 5 % loss, 2 % reordering, 1 % duplication and 0.1 % corruption in both directions. Nothing may
// be lost in the stream, and the rate must be at least half (at 5 % a third) of what the kernel's stack (CUBIC, as ours)
// gets through the same bridge in the same run. At 5 % either stack gets a few MB/s only, so by default that transfer is smaller:
// E2E_LOSS_BYTES=100000000 is the whole, with E2E_LOSS_ROUNDS and E2E_LOSS_RATES (1,5) beside it.

import t, { type Test } from 'tap';
import { app, cannotRun, lab, mode, summary, type Lab, type Mode, patternHash } from './support/context';

t.setTimeout(600_000);
const skip = cannotRun('curl', 'bash', 'sha256sum');
const rates = (process.env['E2E_LOSS_RATES'] ?? '1,5').split(',').map(Number);

/** All bytes over all of the time. */
const overall = (rates: readonly number[]): number => rates.length / rates.reduce((sum, rate) => sum + 1 / rate, 0);

/**
 * One lost last ACK costs either stack a timeout of 200 ms, as long as a whole small transfer: a few pairs say little, so
 * there are more of them while they have not said enough.
 */
const rounds = { least: 3, most: Number(process.env['E2E_LOSS_ROUNDS'] ?? 10) };

/** Bytes of a transfer at this loss. */
const size = (loss: number): number => Number(process.env['E2E_LOSS_BYTES'] ?? (loss < 5 ? 100e6 : 12e6));

/**
 * Of the kernel's rate. At 5 % either stack spends most of the time in timeouts of 200 ms, 11 to 29 of them in 30 MB: how
 * many decide the scheduler and the batches that it makes. `npm run bench:paths -- --guest` compares without that.
 */
const least = (loss: number): number => (loss < 5 ? 1 / 2 : 1 / 3);

interface Rates {
  down: number[];
  up: number[];
}

interface Source {
  readonly bytes: number;
  readonly file: string;
  readonly up: string;
  readonly down: string;
}

/** Fetches and sends once; records MB/s. */
async function transfer(t: Test, home: Lab, how: Mode, source: Source, rates: Rates): Promise<void> {
  const { bytes } = source;
  const server = await home.node(how, app('files'), [8080, '::']);
  const url = `http://${home.mill.ipv4}:8080`;
  const patience = { timeoutMs: 120_000 };
  const fetch = `curl -sS -w '%{stderr}%{speed_download}' '${url}/file?bytes=${bytes}&seed=down' | sha256sum`;
  const down = await home.run(home.peer, 'bash', ['-o', 'pipefail', '-c', fetch], patience);
  t.equal(down.stdout.split(' ')[0], source.down, `${how}, down: equal SHA-256 ${down.code === 0 ? '' : down.stderr}`);
  const up = await home.run(
    home.peer,
    'curl',
    ['-sS', '-w', '%{stderr}%{speed_upload}', '-T', source.file, `${url}/up`],
    patience,
  );
  t.match(
    up.stdout,
    `"bytes":${bytes},"sha256":"${source.up}"`,
    `${how}, up: equal SHA-256 ${up.code === 0 ? '' : up.stderr}`,
  );
  rates.down.push(down.code === 0 ? Number(down.stderr) / 1e6 : 0);
  rates.up.push(up.code === 0 ? Number(up.stderr) / 1e6 : 0);
  const stats = await home.finalStats(server);
  if (stats) t.comment(`counters: ${summary(stats)}`);
  t.equal(server.stderr, '', 'nothing on stderr');
}

for (const loss of rates) {
  const bytes = size(loss);
  t.test(`${bytes / 1e6} MB at ${loss} % loss (${mode})`, { skip }, async (t) => {
    const seed = 1000 + loss;
    const home = await lab(t, { bridge: { seed, loss, dup: 1, reorder: 2, corrupt: 0.1 } });
    const file = home.file('up');
    await home.must(home.peer, process.execPath, [
      '-e',
      `const {pattern}=require(${JSON.stringify(app('pattern'))}); pattern(${bytes}, 'up').pipe(require('fs').createWriteStream('${file}'))`,
    ]);
    const source = { bytes, file, up: patternHash(bytes, 'up'), down: patternHash(bytes, 'down') };
    const kernel: Rates = { down: [], up: [] };
    const ours: Rates = { down: [], up: [] };
    const ratio = (way: 'down' | 'up'): number => overall(ours[way]) / overall(kernel[way]);
    const enough = (): boolean => ratio('down') >= least(loss) && ratio('up') >= least(loss);
    for (let round = 0; round < rounds.most && !(round >= rounds.least && enough()); ++round) {
      await transfer(t, home, 'kernel', source, kernel);
      await transfer(t, home, mode, source, ours);
    }
    const { ab, ba } = await home.bridgeCounters();
    for (const [name, counters] of [
      ['from the mill', ab],
      ['from the peer', ba],
    ] as const) {
      t.comment(`${name}: ${JSON.stringify(counters)}`);
      t.ok(
        counters.lost > 0 && counters.duplicated > 0 && counters.reordered > 0 && counters.corrupted > 0,
        `${name}: the wire was bad`,
      );
    }
    for (const way of ['down', 'up'] as const) {
      const [theirs, mine] = [overall(kernel[way]), overall(ours[way])];
      const list = (values: readonly number[]): string => values.map((value) => value.toFixed(0)).join(' ');
      t.comment(
        `${way}: kernel ${theirs.toFixed(1)} MB/s (${list(kernel[way])}), ${mode} ${mine.toFixed(1)} MB/s (${list(ours[way])}), ratio ${(mine / theirs).toFixed(2)}, seed ${seed}`,
      );
      t.ok(mine >= least(loss) * theirs, `${way}: at least ${least(loss).toFixed(2)} of the kernel's rate`);
    }
  });
}
