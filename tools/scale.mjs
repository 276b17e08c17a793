// `npm run bench:scale`: what a packet costs the stack at 10, 1,000 and 100,000 connections, and an ACK with a queue
// full of holes (test/scale). Fails when an algorithm costs more than 1.3 times as much at the large size. "busy" is
// printed and not judged: there nearly every connection is cold in the caches, whatever the algorithms do.
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = join(ROOT, 'build-scale');
const LIMIT = 1.3;
const JUDGED = ['idle', 'holes'];

const steps = [
  ['-S', ROOT, '-B', BUILD, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Release'],
  ['--build', BUILD, '-j', '2', '--target', 'scale'],
];
for (const args of steps) {
  const { code, output } = await run('cmake', args, { timeoutSeconds: 900 });
  if (code === 0) continue;
  console.error(`cmake ${args.join(' ')} failed\n${output.slice(-4000)}`);
  process.exit(1);
}
const { code, output } = await run(join(BUILD, 'scale'), process.argv.slice(2), { timeoutSeconds: 600 });
process.stdout.write(output);
const rows = [...output.matchAll(/^(\w+) +(\d+) +\d+ ns \((\d+\.\d+) x\)/gm)];
const grown = rows.filter(([, what, , ratio]) => JUDGED.includes(what) && Number(ratio) > LIMIT);
for (const [, what, size, ratio] of grown) console.log(`${what} at ${size}: ${ratio} times the cost, at most ${LIMIT}`);
process.exit(code === 0 && rows.length > 0 && grown.length === 0 ? 0 : 1);
