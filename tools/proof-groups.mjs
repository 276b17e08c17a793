// Groups of tests that need nothing of the others: threads under TSan and every fuzz target for a minute, which have
// builds of their own, and ports in a guest. They run beside the groups that mostly wait, on what those leave of
// the processors.
import { join } from 'node:path';
import { cmakeBuild, GCC } from './cmake.mjs';
import { ROOT } from './files.mjs';
import { buildTargets, fuzz, TARGETS } from './fuzz.mjs';
import { KernelMissing, prepareKernel } from './guest/kernel.mjs';
import { PARTS, runPart } from './guest/parts.mjs';
import { compiled, NODE, SETS } from './port-sets.mjs';
import { run } from './run.mjs';
import { add, doctestCounts, emptyResult, runTap } from './test-groups.mjs';

/** g++'s: a test of the stack counts allocations by operators new of its own, which clang's runtime does not let it have. */
const BUILD = 'build-tsan';
const SETTINGS = [
  '-DCMAKE_BUILD_TYPE=Debug',
  '-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1',
  ...GCC,
  '-DMILLRACE_SANITIZE=thread',
  '-DMILLRACE_FROM_NOTHING=ON',
];
/** Where threads meet: guardian, baton, rings and spare queues in the stack's folder; sharing in that of steering. */
const PROGRAMS = ['test_stack', 'test_steer'];
/** For each target. The long run is `npm run fuzz -- --seconds N`. */
const FUZZ_SECONDS = 60;

/** Tests under ThreadSanitizer; a case of doctest counts as one, and each report as a failure. */
export async function runThreads() {
  const problem = await cmakeBuild(BUILD, SETTINGS, PROGRAMS, { idle: true });
  if (problem !== null) return { ...emptyResult(), failed: 1, report: [problem] };
  const total = emptyResult();
  for (const program of PROGRAMS) {
    const result = await runUnderTsan(program);
    total.passed += result.passed;
    total.failed += result.failed;
    total.skipped.push(...result.skipped);
    total.report.push(...result.report);
  }
  return total;
}

async function runUnderTsan(program) {
  // Tests fork while they have threads, and their children begin some of their own.
  const TSAN_OPTIONS = 'halt_on_error=0 second_deadlock_stack=1 die_after_fork=0';
  const options = { timeoutSeconds: 600, idle: true, env: { TSAN_OPTIONS } };
  const { code, output } = await run(join(ROOT, BUILD, program), ['--no-colors'], options);
  const result = { ...emptyResult(), ...doctestCounts(output, program) };
  const races = output.match(/^WARNING: ThreadSanitizer/gm)?.length ?? 0;
  result.failed += races;
  if (code !== 0 && result.failed === 0) result.failed = 1;
  if (result.failed > 0)
    result.report.push(`${program} ended with ${code}, ${races} reports\n${output.slice(0, 8000)}`);
  return result;
}

/** Every target of tools/fuzz.mjs for some seconds; a target counts as one. */
export async function runFuzz() {
  const names = Object.keys(TARGETS);
  const problem = await buildTargets(names, { idle: true });
  if (problem !== null) return { ...emptyResult(), failed: 1, report: [problem] };
  const result = emptyResult();
  const count = (_, { failure }) => {
    if (failure === null) result.passed++;
    else result.failed++;
    if (failure !== null) result.report.push(failure);
  };
  await fuzz(names, FUZZ_SECONDS, 2, count, { idle: true });
  return result;
}

/** Parts of tools/guest/parts.mjs, in their order; a check inside the guest counts as one. */
export async function runGuests(names = Object.keys(PARTS)) {
  const result = emptyResult();
  try {
    await prepareKernel();
  } catch (error) {
    if (!(error instanceof KernelMissing)) throw error;
    result.skipped.push(
      `guest: the whole group: Debian's kernel could not be fetched: ${error.message.split('\n')[0]}`,
    );
    return result;
  }
  for (const name of names) {
    const one = await runPart(name, { idle: true });
    result.passed += one.passed;
    result.failed += one.failed;
    result.report.push(...one.report);
  }
  return result;
}

/**
 * Over DPDK's ports; e2e itself is over af_xdp. Over memif what does not mind a machine with much else to do: its two ends
 * and their taps are four things that take turns. What is in one process last: beside it runs e2e by then.
 */
const OVER_PORTS = {
  memif: ['interop', 'congestion', 'exit', 'kill', 'failures', 'follow'],
  dpdk: SETS.dpdk.files,
  ring: SETS.ring.files.filter((name) => name !== NODE),
};
/** What is lost on the way and how fast the rest is, e2e measures with more. */
const SHORTER = { E2E_LOSS_BYTES: '10000000' };

/** Of Node's own tests the group conformance has those over a ring. A tap assertion counts as one. */
export async function runPorts() {
  let result = emptyResult();
  const next = Object.entries(OVER_PORTS)
    .flatMap(([port, names]) => names.map((name) => [port, name]))
    .values();
  const worker = async () => {
    for (const [port, name] of next) {
      const options = { jobs: 1, timeoutSeconds: 300, env: { LAB_PORT: port, ...SHORTER } };
      const one = await runTap([compiled(port, name)], options);
      const of = (text) => `port ${port}: ${text}`;
      result = add(result, { ...one, skipped: one.skipped.map(of), report: one.report.map(of) });
    }
  };
  // Most of them wait.
  await Promise.all([worker(), worker()]);
  return result;
}
