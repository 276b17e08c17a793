// `npm run test:scripts [-- [--verbose] FILE|FOLDER...]`: the scripts of test/scripts against the stack, in virtual
// time. `--kernel [--seconds N]`: against this machine's kernel, as root and in real time, those that take at most N
// seconds (4); what does not run there says why. The last line is "N passed, N failed".
import { join } from 'node:path';
import { listFiles, ROOT } from './files.mjs';
import { run } from './run.mjs';
import { BUILD, buildNative, SANITIZED } from './test-groups.mjs';

/** Without sanitizers, which real time does not wait for. */
const KERNEL_BUILD = join(ROOT, 'build-native');
/** Real time: what fails is tried again, alone. */
const ATTEMPTS = 3;
/** Longer ones mostly wait, all at once. */
const SHORT_SECONDS = 4;

async function buildKernelRunner() {
  const configure = ['-S', ROOT, '-B', KERNEL_BUILD, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Debug'];
  for (const args of [configure, ['--build', KERNEL_BUILD, '-j', '2', '--target', 'scripts_kernel']]) {
    const { code, output } = await run('cmake', args, { timeoutSeconds: 600 });
    if (code !== 0) return `cmake ${args.join(' ')} failed\n${output.slice(-6000)}`;
  }
  return null;
}

/** One script against the kernel: what became of it, "ok", "not ok", "ours" or "long", and what the runner says. */
async function againstKernel(file, seconds, options) {
  const args = ['--seconds', String(seconds), ...options, file];
  const { code, output } = await run(join(KERNEL_BUILD, 'scripts_kernel'), args, { timeoutSeconds: seconds + 60 });
  const outcome = /^(ok|not ok|ours|long) /m.exec(output)?.[1];
  const text = output.replace(/\n+\d+ ours only, \d+ long\n\d+ passed, \d+ failed\n$/, '');
  if (outcome === undefined || (code !== 0) !== (outcome === 'not ok')) {
    return { file, outcome: 'not ok', text: `not ok ${file}: the runner ended with ${code}\n${output}` };
  }
  return { file, outcome, text };
}

async function inParallel(files, jobs, work) {
  const next = files.values();
  const worker = async () => {
    for (const file of next) await work(file);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}

async function runKernel(files, seconds, options) {
  const counts = { ok: 0, ours: 0, long: 0, 'not ok': 0 };
  const again = [];
  const longer = [];
  const report = ({ outcome, text }) => {
    counts[outcome]++;
    console.log(text.trimEnd());
  };
  for (const file of files) {
    const result = await againstKernel(file, Math.min(seconds, SHORT_SECONDS), options);
    if (result.outcome === 'long' && seconds > SHORT_SECONDS) longer.push(file);
    else if (result.outcome === 'not ok') again.push(file);
    else report(result);
  }
  await inParallel(longer, Math.max(longer.length, 1), async (file) => {
    const result = await againstKernel(file, seconds, options);
    if (result.outcome === 'not ok') again.push(file);
    else report(result);
  });
  let repeated = 0;
  await inParallel(again, seconds > SHORT_SECONDS ? 8 : 1, async (file) => {
    let result = null;
    for (let attempt = 2; attempt <= ATTEMPTS && result?.outcome !== 'ok'; attempt++) {
      result = await againstKernel(file, seconds, options);
    }
    if (result.outcome === 'ok') repeated++;
    report(result);
  });
  console.log(`${counts.ours} ours only, ${counts.long} too long, ${repeated} not at the first attempt`);
  console.log(`${counts.ok} passed, ${counts['not ok']} failed`);
  return counts['not ok'] === 0 && counts.ok > 0 ? 0 : 1;
}

function scriptsBelow(paths) {
  const all = listFiles(ROOT).filter((path) => path.endsWith('.mrs'));
  const found = paths.flatMap((path) => {
    const below = all.filter((file) => file === path || file.startsWith(`${path.replace(/\/$/, '')}/`));
    return below.length > 0 ? below : [path];
  });
  return [...new Set(found)].sort();
}

async function main() {
  const given = process.argv.slice(2);
  const at = given.indexOf('--seconds');
  const seconds = at < 0 ? SHORT_SECONDS : Number(given.splice(at, 2)[1]);
  const kernel = given.includes('--kernel');
  const named = given.filter((argument) => !argument.startsWith('--'));
  const options = given.filter((argument) => argument.startsWith('--') && argument !== '--kernel');
  const paths = named.length > 0 ? named : ['test/scripts'];
  if (!Number.isInteger(seconds) || seconds < 1 || (at >= 0 && !kernel)) {
    console.error('--seconds: a whole number from 1 on, with --kernel');
    return 2;
  }
  const problem = kernel ? await buildKernelRunner() : await buildNative();
  if (problem !== null) {
    console.error(problem);
    return 1;
  }
  if (kernel) return runKernel(scriptsBelow(paths), seconds, options);
  const onText = (text) => process.stdout.write(text);
  const { code } = await run(join(ROOT, BUILD, 'scripts'), [...options, ...paths], { env: SANITIZED, onText });
  return code;
}

process.exitCode = await main();
