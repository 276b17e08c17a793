// `npm test`: sets up, builds, and runs every group of tests, or those that are named as arguments:
// `node tools/run-tests.mjs lint native unit conformance e2e ports fuzz guest sim package threads`. The last line is "N
// passed, N failed, N skipped", summed over lint steps, doctest cases, seeds of the simulator, fuzz targets, tap
// assertions and checks in the guest.
// With CI=true an unlisted skip is a failure.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { runFuzz, runGuests, runPorts, runThreads } from './proof-groups.mjs';
import { bin, run } from './run.mjs';
import { setUp } from './setup.mjs';
import { emptyResult, runConformance, runLint, runNative, runSim, runTapIn } from './test-groups.mjs';

/** Skips that are right even in CI: a pattern over "file: test: reason", and why. */
const SKIPS_ALLOWED = [
  // They come from the distribution's archive, and a machine may have no way to it.
  { pattern: /^conformance: the whole group: Node's tests could not be fetched/ },
  { pattern: /^guest: the whole group: Debian's kernel could not be fetched/ },
];

/** Folders of tests that are groups of their own. */
const APART = new Set(['e2e', 'package']);

/** The other one is in real time, which a machine that does all else meanwhile has not. */
const GUESTS_THAT_FIT = ['cards', 'rte-flow'];

/**
 * `busy` groups use all processors and come first, one after another. Those `beside` then run, in this order, on what the
 * others, which mostly wait, leave of the processors; `apart`: beside those others, and as urgent. `short` is what runs
 * when no group is named, for want of time; `needsOf`: the group whose packages it needs.
 */
const GROUPS = {
  lint: { run: runLint, busy: true },
  native: { run: runNative, busy: true },
  unit: { run: () => runTapIn(unitFolders(), { jobs: 2, timeoutSeconds: 120 }), compiled: true },
  conformance: { run: runConformance, compiled: true },
  e2e: { run: () => runTapIn(['e2e'], { jobs: 1, timeoutSeconds: 300 }), compiled: true, privilege: true },
  ports: { run: runPorts, compiled: true, privilege: true, needsOf: 'e2e', apart: true },
  // A minute for each target, whatever it gets of the processors.
  fuzz: { run: runFuzz, beside: true },
  guest: { run: () => runGuests(), short: () => runGuests(GUESTS_THAT_FIT), compiled: true, beside: true },
  sim: { run: runSim, beside: true },
  package: {
    run: () => runTapIn(['package'], { jobs: 1, timeoutSeconds: 900, idle: true }),
    compiled: true,
    beside: true,
  },
  threads: { run: runThreads, beside: true },
};

function unitFolders() {
  const folders = readdirSync(join(ROOT, 'dist/test'), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return folders.map((entry) => entry.name).filter((name) => !APART.has(name));
}

/** The addon and the TypeScript, both only where something changed. Returns what went wrong, or null. */
async function build() {
  rmSync(join(ROOT, 'dist/test'), { recursive: true, force: true });
  const steps = [[bin('tsc'), ['-p', 'test/tsconfig.json']]];
  // A prebuilt addon or the one of `npm ci` may be older than the sources: make decides.
  const configured = existsSync(join(ROOT, 'build/Makefile'));
  if (existsSync(join(ROOT, 'native/addon'))) {
    steps.push([bin('node-gyp'), [configured ? 'build' : 'rebuild', '-j', '2']]);
  }
  for (const [command, args] of steps) {
    const { code, output } = await run(command, args, { timeoutSeconds: 600 });
    if (code !== 0) return `${command} ${args.join(' ')} failed\n${output.slice(-6000)}`;
  }
  return null;
}

async function runGroup(name, missing, buildProblem, named) {
  const group = GROUPS[name];
  const absent = missing.filter((need) => need.groups.includes(group.needsOf ?? name)).map((need) => need.package);
  const skip = (reason) => ({ ...emptyResult(), skipped: [`${name}: the whole group: ${reason}`] });
  if (name !== 'lint' && absent.length > 0) return skip(`not installed: ${absent.join(' ')}`);
  if (group.compiled && buildProblem !== null) return { ...emptyResult(), failed: 1, report: ['was not built'] };
  if (group.privilege && process.getuid?.() !== 0) return skip('needs root for network namespaces');
  return !named && group.short ? group.short() : group.run();
}

function print(name, result, seconds) {
  for (const text of result.report) console.log(text.trimEnd());
  for (const reason of result.skipped) console.log(`skipped ${reason}`);
  const counts = `${result.passed} passed, ${result.failed} failed, ${result.skipped.length} skipped`;
  console.log(`${name.padEnd(7)} ${counts} (${seconds.toFixed(1)} s)`);
}

function strictAboutSkips(result) {
  const unexpected = result.skipped.filter((reason) => !SKIPS_ALLOWED.some(({ pattern }) => pattern.test(reason)));
  result.failed += unexpected.length;
  for (const reason of unexpected) result.report.push(`skipped, which counts as failed in CI: ${reason}`);
}

async function main() {
  const wanted = process.argv.slice(2);
  const unknown = wanted.filter((name) => !(name in GROUPS));
  if (unknown.length > 0) {
    console.error(`no such group: ${unknown.join(', ')}; there are ${Object.keys(GROUPS).join(', ')}`);
    return 2;
  }
  const names = wanted.length > 0 ? wanted : Object.keys(GROUPS);
  const inCi = process.env.CI === 'true' || process.env.CI === '1';
  const compiled = names.some((name) => GROUPS[name].compiled);
  const missing = await setUp([...(compiled ? ['build'] : []), ...names.map((name) => GROUPS[name].needsOf ?? name)]);
  const buildProblem = compiled ? await build() : null;
  if (buildProblem !== null) console.log(buildProblem);
  const total = { passed: 0, failed: 0, skipped: 0 };
  const runAll = async (group) => {
    for (const name of group) {
      const start = performance.now();
      const result = await runGroup(name, missing, buildProblem, wanted.length > 0);
      if (inCi) strictAboutSkips(result);
      print(name, result, (performance.now() - start) / 1000);
      total.passed += result.passed;
      total.failed += result.failed;
      total.skipped += result.skipped.length;
    }
  };
  await runAll(names.filter((name) => GROUPS[name].busy));
  // Two of those beside at a time: what one leaves of the processors the other takes.
  const beside = names.filter((name) => GROUPS[name].beside).values();
  const apart = names.filter((name) => GROUPS[name].apart);
  const others = names.filter((name) => !GROUPS[name].busy && !GROUPS[name].beside && !GROUPS[name].apart);
  await Promise.all([runAll(others), runAll(apart), runAll(beside), runAll(beside)]);
  console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed === 0 ? 0 : 1;
}

process.exitCode = await main();
