// `npm run sim -- --seeds N --from S [--jobs J] ...`: builds the simulator for speed and runs it; all options are
// its own (test/sim/main.cc). Ten thousand seeds take some ten seconds, a million some twenty minutes.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = join(ROOT, 'build-sim');
const jobs = String(Math.min(availableParallelism(), 4));
const steps = [
  // With assertions: a run without them finds less.
  ['-S', ROOT, '-B', BUILD, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Debug', '-DCMAKE_CXX_FLAGS_DEBUG=-O2 -g1'],
  ['--build', BUILD, '-j', jobs, '--target', 'sim'],
];
for (const args of steps) {
  const { code, output } = await run('cmake', args, { timeoutSeconds: 900 });
  if (code === 0) continue;
  console.error(`cmake ${args.join(' ')} failed\n${output.slice(-4000)}`);
  process.exit(1);
}
const { code } = await run(join(BUILD, 'sim'), process.argv.slice(2), {
  timeoutSeconds: 86_400,
  onText: (text) => process.stdout.write(text),
});
process.exitCode = code;
