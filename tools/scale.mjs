// `npm run bench:scale`: what a packet costs the stack at 10, 1,000 and 100,000 connections, and an ACK with 100 kB, 1 MB
// and 10 MB in flight that are full of holes (test/scale). Fails when any of it costs more than 1.3 times as much as at
// the smallest size, by the median over rounds in which the sizes take turns.
import { join } from 'node:path';
import { cmakeBuild } from './cmake.mjs';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = 'build-scale';
const LIMIT = 1.3;
const JUDGED = ['busy', 'idle', 'sacks', 'holes'];
const SIZES = 3;

const problem = await cmakeBuild(BUILD, ['-DCMAKE_BUILD_TYPE=Release'], ['scale']);
if (problem !== null) {
  console.error(problem);
  process.exit(1);
}
const { code, output } = await run(join(ROOT, BUILD, 'scale'), process.argv.slice(2), { timeoutSeconds: 600 });
process.stdout.write(output);
const rows = [...output.matchAll(/^(\w+) +(\d+) +\d+ ns \((\d+\.\d+) x\)/gm)];
const missing = JUDGED.filter((what) => rows.filter((row) => row[1] === what).length !== SIZES);
const grown = rows.filter(([, what, , ratio]) => JUDGED.includes(what) && Number(ratio) > LIMIT);
for (const [, what, size, ratio] of grown) console.log(`${what} at ${size}: ${ratio} times the cost, at most ${LIMIT}`);
for (const what of missing) console.log(`${what}: not measured at ${SIZES} sizes`);
const passed = code === 0 && grown.length === 0 && missing.length === 0;
if (passed) console.log(`${JUDGED.join(', ')}: at no size more than ${LIMIT} times the cost at the smallest`);
process.exit(passed ? 0 : 1);
