// Builds the door for test suites, native/testing/millrace_testing.h, without Node:
// build-testing/libmillrace_testing.a and .so. `npm run build:testing`.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cmakeBuild } from './cmake.mjs';
import { ROOT } from './files.mjs';

const BUILD = 'build-testing';

const problem = await cmakeBuild(
  BUILD,
  ['-DCMAKE_BUILD_TYPE=RelWithDebInfo'],
  ['millrace_testing', 'millrace_testing_shared'],
);
if (problem !== null) {
  console.error(problem);
  process.exit(1);
}
for (const name of ['libmillrace_testing.a', 'libmillrace_testing.so']) {
  if (!existsSync(join(ROOT, BUILD, name))) {
    console.error(`${BUILD}/${name} was not built`);
    process.exit(1);
  }
  console.log(`${BUILD}/${name}`);
}
console.log('native/testing/millrace_testing.h');
