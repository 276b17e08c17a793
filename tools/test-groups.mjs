// The groups of tests and how the result of each is read. Every runner returns
// {passed, failed, skipped: [reason, ...], report: [text, ...]}.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { CLANG, cmakeBuild } from './cmake.mjs';
import { listFiles, ROOT } from './files.mjs';
import { lint } from './lint.mjs';
import { run } from './run.mjs';

/** Apart from what a developer builds by hand, with all assertions and fast enough for the simulator. */
export const BUILD = 'build-test';
const SANITIZERS = 'address,undefined';
const SETTINGS = [
  '-DCMAKE_BUILD_TYPE=Debug',
  '-DCMAKE_CXX_FLAGS_DEBUG=-O2 -g1',
  ...CLANG,
  `-DMILLRACE_SANITIZE=${SANITIZERS}`,
  '-DMILLRACE_FROM_NOTHING=ON',
];
/** What a sanitizer finds ends the program, as a failed assertion does. */
export const SANITIZED = {
  UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
  ASAN_OPTIONS: 'detect_stack_use_after_return=1',
};
/**
 * Seeds of the simulator: some 70 s of two processors. The first of them with AddressSanitizer's watch on stack frames
 * that were left, which doubles their cost; the unit tests and the scripts have it too.
 */
const SEEDS = 10_000;
const SEEDS_WITH_STACKS = 3_000;
/** Native tests that run more than once, and what is in the environment then. */
const RUNS = {
  // Two hosts over rings: all is done in software, or what a device can do by a device (test/native/dpdk/ring_port.h).
  test_dpdk: [{}, { MILLRACE_TEST_OFFLOADS: '1' }],
};

export function emptyResult() {
  return { passed: 0, failed: 0, skipped: [], report: [] };
}

function failure(text) {
  return { ...emptyResult(), failed: 1, report: [text] };
}

export async function runLint() {
  const report = [];
  const counts = await lint({ log: (line) => line.startsWith('not ok') && report.push(line) });
  return { ...emptyResult(), ...counts, report };
}

/** Once for the unit tests, the scripts and the simulator; null when it went well. */
export function buildNative() {
  return cmakeBuild(BUILD, SETTINGS);
}

let nativeBuild;

/** Every test_* binary of the CMake build; a case of doctest counts as one. */
export async function runNative() {
  nativeBuild ??= buildNative();
  const problem = await nativeBuild;
  if (problem !== null) return failure(problem);
  // test_dpdk takes as long as all others: beside them.
  const [apart, others] = await Promise.all([
    runPrograms(testPrograms().filter((name) => name in RUNS)),
    runPrograms(testPrograms().filter((name) => !(name in RUNS))),
  ]);
  return add(add(add(apart, others), await runCorpora()), await runScripts());
}

/** By folders, not by what lies in the build directory: that may hold binaries of folders that are gone. */
function testPrograms() {
  return foldersOfTests().map((folder) => `test_${folder}`);
}

async function runPrograms(names) {
  const result = emptyResult();
  for (const [name, more] of names.flatMap((name) => (RUNS[name] ?? [{}]).map((more) => [name, more]))) {
    const { code, output } = await run(join(ROOT, BUILD, name), ['--no-colors'], {
      timeoutSeconds: 300,
      env: { ...SANITIZED, ...more },
    });
    const counts = doctestCounts(output, name);
    result.passed += counts.passed;
    result.failed += counts.failed;
    result.skipped.push(...counts.skipped);
    if (code === 0 && counts.passed > 0) continue;
    if (counts.failed === 0) result.failed++;
    result.report.push(`${name} ended with ${code}\n${output.slice(-6000)}`);
  }
  return result;
}

/** Every input of test/fuzz/corpus through its fuzz target, without libFuzzer; a target counts as one test. */
async function runCorpora() {
  const result = emptyResult();
  const corpora = join(ROOT, 'test/fuzz/corpus');
  for (const target of readdirSync(corpora)) {
    const options = { timeoutSeconds: 60, env: SANITIZED };
    const { code, output } = await run(join(ROOT, BUILD, `replay_${target}`), [join(corpora, target)], options);
    if (code === 0 && /^[1-9]\d* inputs$/m.test(output)) {
      result.passed++;
    } else {
      result.failed++;
      result.report.push(`replay_${target} ended with ${code}\n${output.slice(-6000)}`);
    }
  }
  return result;
}

/** What a doctest program says of itself; all 0 when it did not come to its end. */
export function doctestCounts(output, name) {
  const counts = /test cases:\s*\d+ \|\s*(\d+) passed \|\s*(\d+) failed \|\s*(\d+) skipped/.exec(output);
  if (counts === null) return { passed: 0, failed: 0, skipped: [] };
  const skipped = Array.from({ length: Number(counts[3]) }, () => `${name}: a test case`);
  return { passed: Number(counts[1]), failed: Number(counts[2]), skipped };
}

/** The scripts of test/scripts; each counts as one test. */
export async function runScripts() {
  nativeBuild ??= buildNative();
  const problem = await nativeBuild;
  if (problem !== null) return failure(problem);
  const { code, output } = await run(join(ROOT, BUILD, 'scripts'), ['test/scripts'], {
    timeoutSeconds: 300,
    env: SANITIZED,
  });
  const counts = /(\d+) passed, (\d+) failed\s*$/.exec(output);
  if (counts === null) return failure(`scripts ended with ${code}\n${output.slice(-6000)}`);
  const result = { ...emptyResult(), passed: Number(counts[1]), failed: Number(counts[2]) };
  const there = listFiles(ROOT).filter((path) => /^test\/scripts\/.*\.mrs$/.test(path)).length;
  if (result.passed + result.failed !== there || (code !== 0 && result.failed === 0)) result.failed++;
  if (result.failed > 0) {
    const said = output.split('\n').filter((line) => !line.startsWith('ok '));
    result.report.push(`scripts ended with ${code}\n${said.join('\n').slice(0, 8000)}`);
  }
  return result;
}

/**
 * Node's own tests on the Node that runs this; the list of those that differ for a reason is kept with their reasons. All
 * of net and dgram, over a ring of DPDK's too, and of what stands on them as many as fit into the time of `npm test`.
 */
export async function runConformance() {
  let result = emptyResult();
  for (const part of [['net,dgram'], ['net,dgram', '--port', 'ring'], ['http,https,tls,http2', '--every', '3']]) {
    result = add(result, await runConformancePart(part));
  }
  return result;
}

async function runConformancePart(part) {
  const args = ['tools/conformance/run.mjs', '--lean', '--prefix', ...part];
  const { code, output } = await run(process.execPath, args, { timeoutSeconds: 900 });
  if (code === 3) {
    const reason = /^Node's tests could not be fetched.*$/m.exec(output)?.[0] ?? 'no tests';
    return { ...emptyResult(), skipped: [`conformance: the whole group: ${reason}`] };
  }
  const counts = /^(\d+) passed, (\d+) failed, \d+ not counted$/m.exec(output);
  if (counts === null) return failure(`conformance ended with ${code}\n${output.slice(-6000)}`);
  const result = { ...emptyResult(), passed: Number(counts[1]), failed: Number(counts[2]) };
  if (result.passed === 0 || (code !== 0 && result.failed === 0)) result.failed++;
  if (result.failed > 0) result.report.push(output.slice(-8000));
  return result;
}

function foldersOfTests() {
  const folders = listFiles(ROOT).map((path) => /^test\/native\/([^/]+)\/.*_test\.cc$/.exec(path)?.[1]);
  return [...new Set(folders.filter((folder) => folder !== undefined))];
}

/** The simulator over many seeds; a seed counts as one test. */
export async function runSim() {
  if (!listFiles(ROOT).some((path) => /^test\/sim\/.*\.cc$/.test(path))) return emptyResult();
  nativeBuild ??= buildNative();
  const problem = await nativeBuild;
  if (problem !== null) return failure(problem);
  const first = await runSeeds(1, SEEDS_WITH_STACKS, SANITIZED);
  const rest = await runSeeds(SEEDS_WITH_STACKS + 1, SEEDS - SEEDS_WITH_STACKS, {
    ...SANITIZED,
    ASAN_OPTIONS: 'detect_stack_use_after_return=0',
  });
  return add(add(first, rest), await runGolden());
}

async function runSeeds(from, seeds, env) {
  const args = ['--seeds', String(seeds), '--from', String(from), '--jobs', '2'];
  const { code, output } = await run(join(ROOT, BUILD, 'sim'), args, { timeoutSeconds: 900, idle: true, env });
  const counts = /(\d+) passed, (\d+) failed\s*$/.exec(output);
  if (counts === null) return failure(`sim ended with ${code}\n${output.slice(-6000)}`);
  const result = { ...emptyResult(), passed: Number(counts[1]), failed: Number(counts[2]) };
  if (result.passed + result.failed !== seeds || (code !== 0 && result.failed === 0)) result.failed++;
  if (result.failed > 0) result.report.push(`sim ended with ${code}\n${output.slice(-6000)}`);
  return result;
}

/** Throughput by loss, buffer and round trip, against the table that is kept: a row counts as one test. */
async function runGolden() {
  const { code, output } = await run(join(ROOT, BUILD, 'golden'), ['test/golden/throughput.txt'], {
    timeoutSeconds: 600,
    idle: true,
    env: SANITIZED,
  });
  const counts = /(\d+) passed, (\d+) failed\s*$/.exec(output);
  if (counts === null) return failure(`golden ended with ${code}\n${output.slice(-6000)}`);
  const result = { ...emptyResult(), passed: Number(counts[1]), failed: Number(counts[2]) };
  if (result.failed > 0) result.report.push(`golden: throughput has changed\n${output.slice(-6000)}`);
  return result;
}

export function add(one, other) {
  return {
    passed: one.passed + other.passed,
    failed: one.failed + other.failed,
    skipped: [...one.skipped, ...other.skipped],
    report: [...one.report, ...other.report],
  };
}

/** Compiled test files under dist/test/<folders>. */
export function runTapIn(folders, options) {
  const files = folders.flatMap((folder) => compiledTests(join('dist/test', folder)));
  return runTap(files, options);
}

/** A tap assertion counts as one test, as tap itself counts them. `node`: what runs them, and their children. */
export async function runTap(files, { jobs, timeoutSeconds, idle = false, node = process.execPath, env = {} }) {
  const result = emptyResult();
  const next = files.values();
  const worker = async () => {
    for (const file of next) {
      // Not under `tap run`: it instruments every child process through NODE_OPTIONS, and our children are what we test.
      const options = { timeoutSeconds, idle, env: { ...env, TAP_TIMEOUT: '0' } };
      const { code, output } = await run(node, [file], options);
      const one = readTap(output, code);
      result.passed += one.passed;
      result.failed += one.failed;
      result.skipped.push(...one.skipped.map((reason) => `${file}: ${reason}`));
      if (one.failed > 0) result.report.push(`${file} ended with ${code}\n${onlyFailures(output)}`);
    }
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return result;
}

function compiledTests(directory) {
  const path = join(ROOT, directory);
  if (!existsSync(path)) return [];
  const names = readdirSync(path, { recursive: true }).filter((name) => name.endsWith('.test.js'));
  return names.sort().map((name) => join(directory, name));
}

/** Counts of one file's TAP. What ended badly counts at least one failure, whatever it printed before. */
export function readTap(output, code) {
  const summary = [...output.matchAll(/^# \{ total: \d+(?:, \w+: \d+)* \}/gm)].at(-1)?.[0] ?? '';
  const count = (name) => Number(new RegExp(`\\b${name}: (\\d+)`).exec(summary)?.[1] ?? 0);
  const points = output.matchAll(/^ *ok \d+(?: - (.*?))? # SKIP\b *(.*)$/gim);
  const skipped = [...points].map((match) => `${match[1] ?? ''}: ${match[2]}`);
  const whole = /^1\.\.0[ \t]+#[ \t]*(.*)$/m.exec(output);
  if (whole !== null && code === 0) skipped.push(`the whole file: ${whole[1]}`);
  for (let left = count('skip') + count('todo') - skipped.length; left > 0; left--) skipped.push('without a reason');
  let failed = count('fail');
  const complete = summary !== '' && /^1\.\.\d+/m.test(output);
  if (failed === 0 && (code !== 0 || !complete || (count('pass') === 0 && skipped.length === 0))) failed = 1;
  return { passed: count('pass'), failed, skipped };
}

/** The failing points with what surrounds them; the end of the output when there is none. */
export function onlyFailures(output) {
  const blocks = output.match(/^( *)not ok [^\n]*\n(?:\1 +[^\n]*\n|\s*\n)*/gm) ?? [];
  const text = blocks.join('');
  return `${text.slice(0, 8000)}\n${text === '' ? output.slice(-4000) : output.slice(-600)}`;
}
