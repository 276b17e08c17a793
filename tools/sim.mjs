// `npm run sim -- --seeds N --from S [--jobs J] ...`: builds the simulator for speed and runs it; all options are
// its own (test/sim/main.cc). Ten thousand seeds take some ten seconds, a million some twenty minutes.
import { join } from 'node:path';
import { cmakeBuild } from './cmake.mjs';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = 'build-sim';
// With assertions: a run without them finds less.
const problem = await cmakeBuild(BUILD, ['-DCMAKE_BUILD_TYPE=Debug', '-DCMAKE_CXX_FLAGS_DEBUG=-O2 -g1'], ['sim']);
if (problem !== null) {
  console.error(problem);
  process.exit(1);
}
const { code } = await run(join(ROOT, BUILD, 'sim'), process.argv.slice(2), {
  timeoutSeconds: 86_400,
  onText: (text) => process.stdout.write(text),
});
process.exitCode = code;
