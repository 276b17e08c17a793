// `npm run bench:scale`: what a packet costs the stack at 10, 1,000 and 100,000 connections, and an ACK with a queue
// full of holes (test/scale). Fails when an algorithm costs more than 1.3 times as much at the large size. "busy" has a
// limit of its own: nearly every connection is cold in the caches there (docs/testing.md says how far that goes).
import { join } from 'node:path';
import { cmakeBuild } from './cmake.mjs';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = 'build-scale';
const LIMITS = { idle: 1.3, holes: 1.3, busy: 3 };

const problem = await cmakeBuild(BUILD, ['-DCMAKE_BUILD_TYPE=Release'], ['scale']);
if (problem !== null) {
  console.error(problem);
  process.exit(1);
}
const { code, output } = await run(join(ROOT, BUILD, 'scale'), process.argv.slice(2), { timeoutSeconds: 600 });
process.stdout.write(output);
const rows = [...output.matchAll(/^(\w+) +(\d+) +\d+ ns \((\d+\.\d+) x\)/gm)];
const grown = rows.filter(([, what, , ratio]) => Number(ratio) > (LIMITS[what] ?? Infinity));
for (const [, what, size, ratio] of grown) {
  console.log(`${what} at ${size}: ${ratio} times the cost, at most ${LIMITS[what]}`);
}
process.exit(code === 0 && rows.length > 0 && grown.length === 0 ? 0 : 1);
