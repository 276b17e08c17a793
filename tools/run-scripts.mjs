// `npm run test:scripts [-- [--verbose] FILE|FOLDER...]`: the scripts of test/scripts against the stack, in virtual
// time. The last line is "N passed, N failed".
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';
import { BUILD, buildNative, SANITIZED } from './test-groups.mjs';

const given = process.argv.slice(2);
const paths = given.filter((argument) => !argument.startsWith('--'));
const options = given.filter((argument) => argument.startsWith('--'));
const problem = await buildNative();
if (problem !== null) {
  console.error(problem);
  process.exit(1);
}
const { code } = await run(
  join(ROOT, BUILD, 'scripts'),
  [...options, ...(paths.length > 0 ? paths : ['test/scripts'])],
  {
    env: SANITIZED,
    onText: (text) => process.stdout.write(text),
  },
);
process.exit(code);
