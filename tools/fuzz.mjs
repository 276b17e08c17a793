// `npm run fuzz -- [--seconds N] [--jobs J] [TARGET...]`: the libFuzzer targets of test/fuzz under ASan and UBSan, each
// for N seconds (60), J at a time (2). Each begins with test/fuzz/corpus/TARGET and keeps what it learns in
// build-fuzz/corpus/TARGET; `--keep` writes a small corpus that covers as much back into the repository. An input that
// fails is left in build-fuzz and named. The last line is "N executions, M passed, K failed", M and K in targets.
import { cpSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CLANG, cmakeBuild } from './cmake.mjs';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = join(ROOT, 'build-fuzz');
const SETTINGS = [
  '-DCMAKE_BUILD_TYPE=RelWithDebInfo',
  '-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O2 -g1 -UNDEBUG',
  ...CLANG,
  '-DMILLRACE_FUZZ=ON',
  '-DMILLRACE_SANITIZE=address,undefined',
  '-DMILLRACE_FROM_NOTHING=ON',
];

/** The targets, and how long an input may be: more only makes an execution slower. */
export const TARGETS = {
  ethernet: 64,
  ipv4: 128,
  ipv6: 256,
  tcp_options: 64,
  udp: 128,
  icmp: 160,
  fault_config: 128,
  packets: 1024,
  connection: 1154,
  steering: 256,
};
const KEPT_FILES = 48;
const ENVIRONMENT = {
  UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1',
  // What was freed is kept for a few executions; libFuzzer's 256 MB would make each one touch new pages.
  ASAN_OPTIONS: 'detect_stack_use_after_return=1:allocator_may_return_null=1:quarantine_size_mb=4',
};

/** Builds the targets; what went wrong, or null. */
export function buildTargets(names, options = {}) {
  const targets = names.map((name) => `fuzz_${name}`);
  return cmakeBuild('build-fuzz', SETTINGS, targets, options);
}

function folders(name) {
  const learnt = join(BUILD, 'corpus', name);
  const kept = join(ROOT, 'test/fuzz/corpus', name);
  for (const folder of [learnt, kept]) mkdirSync(folder, { recursive: true });
  return { learnt, kept };
}

/** Runs one target. @returns {Promise<{executions: number, failure: string | null}>} */
export async function fuzzTarget(name, seconds, idle = false) {
  const { learnt, kept } = folders(name);
  const args = [`-max_total_time=${seconds}`, `-max_len=${TARGETS[name]}`, '-print_final_stats=1'];
  // Entropic scheduling costs half of the executions of the targets with state.
  args.push('-entropic=0', '-verbosity=0', '-timeout=20', `-artifact_prefix=${join(BUILD, `failed-${name}-`)}`);
  const options = { timeoutSeconds: seconds + 240, env: ENVIRONMENT, idle };
  const { code, output } = await run(join(BUILD, `fuzz_${name}`), [...args, learnt, kept], options);
  const executions = Number(/number_of_executed_units: (\d+)/.exec(output)?.[1] ?? 0);
  if (code === 0 && executions > 0) return { executions, failure: null };
  return { executions, failure: `fuzz_${name} ended with ${code}\n${output.slice(-6000)}` };
}

/** All targets, some at a time; calls `report` after each. */
export async function fuzz(names, seconds, jobs, report = () => {}, { idle = false } = {}) {
  const next = names.values();
  const worker = async () => {
    for (const name of next) report(name, await fuzzTarget(name, seconds, idle));
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}

/** The fewest inputs that reach every edge, the smallest first, into the repository. */
async function keep(name) {
  const { learnt, kept } = folders(name);
  const merged = join(BUILD, 'merged', name);
  rmSync(merged, { recursive: true, force: true });
  mkdirSync(merged, { recursive: true });
  const args = ['-merge=1', '-use_counters=0', `-max_len=${TARGETS[name]}`, merged, learnt, kept];
  await run(join(BUILD, `fuzz_${name}`), args, { env: ENVIRONMENT });
  const files = readdirSync(merged).map((file) => ({ file, size: statSync(join(merged, file)).size }));
  files.sort((a, b) => a.size - b.size);
  rmSync(kept, { recursive: true });
  mkdirSync(kept);
  for (const { file } of files.slice(0, KEPT_FILES)) cpSync(join(merged, file), join(kept, file));
  console.log(`${name}: ${Math.min(files.length, KEPT_FILES)} of ${files.length} inputs kept`);
}

function parseArguments(args) {
  const parsed = { seconds: 60, jobs: 2, keep: false, names: [], problem: null };
  for (let i = 0; i < args.length; i++) {
    const name = args[i];
    if (name === '--keep') parsed.keep = true;
    else if (name === '--seconds' || name === '--jobs') {
      const value = Number(args[++i]);
      if (!Number.isInteger(value) || value < 1) parsed.problem = `${name}: a whole number from 1 on, not '${args[i]}'`;
      parsed[name.slice(2)] = value;
    } else if (name in TARGETS) parsed.names.push(name);
    else parsed.problem = `no such target: '${name}'; there are ${Object.keys(TARGETS).join(', ')}`;
  }
  if (parsed.names.length === 0) parsed.names = Object.keys(TARGETS);
  return parsed;
}

async function main() {
  const { seconds, jobs, names, problem, keep: keeping } = parseArguments(process.argv.slice(2));
  if (problem !== null) {
    console.error(problem);
    return 2;
  }
  const broken = await buildTargets(names);
  if (broken !== null) {
    console.error(broken);
    return 1;
  }
  let executions = 0;
  let failed = 0;
  await fuzz(names, seconds, jobs, (name, result) => {
    executions += result.executions;
    if (result.failure !== null) failed++;
    console.log(`${name.padEnd(12)} ${String(result.executions).padStart(12)} executions`);
    if (result.failure !== null) console.log(result.failure);
  });
  if (keeping && failed === 0) for (const name of names) await keep(name);
  console.log(`${executions} executions, ${names.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

if (process.argv[1] === join(ROOT, 'tools/fuzz.mjs')) process.exitCode = await main();
