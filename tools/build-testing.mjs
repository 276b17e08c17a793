// Builds the door for test suites, native/testing/millrace_testing.h, without Node:
// build-testing/libmillrace_testing.a and .so. `npm run build:testing`.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = 'build-testing';
const STEPS = [
  ['-S', '.', '-B', BUILD, '-DCMAKE_BUILD_TYPE=RelWithDebInfo'],
  [
    '--build',
    BUILD,
    '-j',
    String(Math.min(availableParallelism(), 4)),
    '--target',
    'millrace_testing',
    'millrace_testing_shared',
  ],
];

for (const args of STEPS) {
  const { code, output } = await run('cmake', args, { timeoutSeconds: 900 });
  if (code !== 0) {
    console.error(`cmake ${args.join(' ')} failed\n${output.slice(-6000)}`);
    process.exit(1);
  }
}
for (const name of ['libmillrace_testing.a', 'libmillrace_testing.so']) {
  if (!existsSync(join(ROOT, BUILD, name))) {
    console.error(`${BUILD}/${name} was not built`);
    process.exit(1);
  }
  console.log(`${BUILD}/${name}`);
}
console.log('native/testing/millrace_testing.h');
