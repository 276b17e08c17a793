// `npm run test:sanitized [-- options] [TEST...]`: tests of the facade and end-to-end tests with an addon built for
// AddressSanitizer and UBSan, which report what Node's own tools never see: memory of the stack read behind its end, a
// socket used after its slot was given away. See --help.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './files.mjs';
import { bin, run } from './run.mjs';
import { runTap } from './test-groups.mjs';

const USAGE = `usage: npm run test:sanitized -- [options] [TEST...]
Builds the addon under AddressSanitizer and UBSan, apart from the usual one, and runs compiled tests with it. TEST is a
part of the name of a file in dist/test; without one, those of test/lib and test/compat, and the storms of test/e2e.

  --shell      prints the environment for a program of one's own: env $(npm run -s test:sanitized -- --shell) node ...
  --jobs N     files at a time; default 2
  --help`;

const FOLDER = join(ROOT, 'build-sanitized');
const REPORTS = join(FOLDER, 'reports');
/** -fno-rtti leaves UBSan nothing to look at for vptr. */
const FLAGS = '-fsanitize=address,undefined -fno-sanitize=vptr -fno-omit-frame-pointer -g1 -O1';
const DEFAULT = /^(?:lib|compat)\/|^e2e\/storm\.test/;

/** node-gyp builds where binding.gyp lies. */
async function build() {
  mkdirSync(FOLDER, { recursive: true });
  for (const name of ['binding.gyp', 'native', 'node_modules', 'package.json']) {
    if (!existsSync(join(FOLDER, name))) symlinkSync(join('..', name), join(FOLDER, name));
  }
  const env = { CXXFLAGS: FLAGS, LDFLAGS: '-fsanitize=address,undefined' };
  const verb = existsSync(join(FOLDER, 'build/Makefile')) ? ['build'] : ['configure', 'build'];
  const args = [...verb, '-j', '2', '-C', FOLDER];
  const { code, output } = await run(bin('node-gyp'), args, { timeoutSeconds: 900, cwd: FOLDER, env });
  return code === 0 ? null : `node-gyp ${args.join(' ')} failed\n${output.slice(-6000)}`;
}

async function environment() {
  const found = async (name) => (await run('g++', [`-print-file-name=${name}`])).output.trim();
  return {
    // Node is not built with it: its allocations must come from there all the same, and before anything else.
    LD_PRELOAD: `${await found('libasan.so')}:${await found('libubsan.so')}`,
    // Node leaves memory to the end of the process. The reports go to files: many a test looks at stderr.
    ASAN_OPTIONS: `detect_leaks=0:abort_on_error=1:log_path=${REPORTS}/asan`,
    UBSAN_OPTIONS: `print_stacktrace=1:log_path=${REPORTS}/ubsan`,
    MILLRACE_PREBUILD: FOLDER,
  };
}

function testFiles(names) {
  const folder = join(ROOT, 'dist/test');
  if (!existsSync(folder)) return [];
  const all = readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.test.js'));
  const wanted = all.filter((name) =>
    names.length === 0 ? DEFAULT.test(name) : names.some((part) => name.includes(part)),
  );
  return wanted.sort().map((name) => join('dist/test', name));
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      shell: { type: 'boolean', default: false },
      jobs: { type: 'string', default: '2' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const problem = await build();
  if (problem !== null) {
    console.error(problem);
    return 1;
  }
  mkdirSync(REPORTS, { recursive: true });
  const env = await environment();
  if (values.shell) {
    console.log(
      Object.entries(env)
        .map(([name, value]) => `${name}=${value}`)
        .join(' '),
    );
    return 0;
  }
  rmSync(REPORTS, { recursive: true, force: true });
  mkdirSync(REPORTS);
  const files = testFiles(positionals);
  if (files.length === 0) {
    console.error('nothing to run in dist/test: npm run compile && npx tsc -p test/tsconfig.json');
    return 2;
  }
  const result = await runTap(files, { jobs: Number(values.jobs), timeoutSeconds: 900, env });
  for (const text of result.report) console.log(text);
  for (const reason of result.skipped) console.log(`skipped ${reason}`);
  const reports = readdirSync(REPORTS);
  for (const name of reports.slice(0, 5)) console.log(readFileSync(join(REPORTS, name), 'utf8').slice(0, 6000));
  console.log(`${result.passed} passed, ${result.failed} failed, ${reports.length} reports of the sanitizers`);
  return result.failed + reports.length === 0 ? 0 : 1;
}

process.exitCode = await main();
