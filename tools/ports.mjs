// `npm run test:ports [-- [--port NAME]... [FILE...]]`: the tests of TCP and UDP over each port, whole. af_xdp, dpdk (DPDK's
// driver for AF_XDP) and memif (DPDK's shared memory between two programs) run test/e2e; ring (a ring of DPDK's within one
// program) runs the tests of test/compat that have both ends in one process, and Node's own of net and dgram ("node").
// One line for each file and port as it ends, then a table with what passed and failed and the processor time; ends with
// 0 when nothing failed and nothing was skipped.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { bin, run } from './run.mjs';
import { onlyFailures, readTap } from './test-groups.mjs';

const TIMEOUT_SECONDS = 900;
/** Files of test/e2e that name their ports and devices themselves: they run once, whatever the port. */
const OF_DPDK = ['dpdk', 'dpdk-shared'];
const NODE = 'node';

const testsIn = (folder, pattern = /^(.*)\.test\.ts$/) =>
  readdirSync(join(ROOT, 'test', folder)).flatMap((name) => pattern.exec(name)?.[1] ?? []);

const E2E = testsIn('e2e').filter((name) => !OF_DPDK.includes(name));
const IN_PROCESS = [
  ...testsIn('compat/loopback').map((name) => `loopback/${name}`),
  ...testsIn('compat', /^(same-.*)\.test\.ts$/),
];

/** By port: the folder under test/ and the files in it. */
const SETS = {
  af_xdp: { folder: 'e2e', files: E2E },
  dpdk: { folder: 'e2e', files: [...E2E, ...OF_DPDK] },
  memif: { folder: 'e2e', files: E2E },
  ring: { folder: 'compat', files: [...IN_PROCESS, NODE] },
};

function readArguments(args) {
  const ports = [];
  const files = [];
  for (let i = 0; i < args.length; ++i) {
    if (args[i] === '--port') ports.push(args[++i]);
    else files.push(args[i]);
  }
  const all = new Set(Object.values(SETS).flatMap((set) => set.files));
  const unknown = [...ports.filter((name) => !Object.hasOwn(SETS, name)), ...files.filter((name) => !all.has(name))];
  if (unknown.length > 0) {
    console.error(`neither a port (${Object.keys(SETS).join(', ')}) nor a file of theirs: ${unknown.join(', ')}`);
    process.exit(2);
  }
  const wanted = ports.length > 0 ? ports : Object.keys(SETS);
  return wanted.map((port) => ({
    port,
    files: SETS[port].files.filter((name) => files.length === 0 || files.includes(name)),
  }));
}

/** With the processor time of the command and of all that it started and waited for. */
async function timed(command, env) {
  const script = 'TIMEFORMAT="processor %U %S"; time "$@"';
  const start = performance.now();
  const outcome = await run('bash', ['-c', script, 'bash', ...command], { timeoutSeconds: TIMEOUT_SECONDS, env });
  const [, user = 'NaN', system = 'NaN'] = /^processor ([\d.]+) ([\d.]+)$/m.exec(outcome.output) ?? [];
  return { ...outcome, seconds: (performance.now() - start) / 1000, processor: Number(user) + Number(system) };
}

async function runFile(port, name) {
  const file = join('dist/test', SETS[port].folder, `${name}.test.js`);
  const ended = await timed([process.execPath, file], { LAB_PORT: port, TAP_TIMEOUT: '0' });
  return { ...ended, ...readTap(ended.output, ended.code), report: onlyFailures(ended.output) };
}

/** Node's own tests of net and dgram. */
async function runNode(port) {
  const args = ['tools/conformance/run.mjs', '--lean', '--prefix', 'net,dgram', '--port', port];
  const ended = await timed([process.execPath, ...args], {});
  const counts = /^(\d+) passed, (\d+) failed, \d+ not counted$/m.exec(ended.output);
  const skipped = ended.code === 3 ? ["Node's tests could not be fetched"] : [];
  const failed = Number(counts?.[2] ?? 1 - skipped.length);
  return { ...ended, passed: Number(counts?.[1] ?? 0), failed, skipped, report: ended.output.slice(-8000) };
}

function cell({ passed, failed, skipped, processor }) {
  const bad = `${failed > 0 ? `, ${failed} failed` : ''}${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`;
  return `${passed}${bad} (${processor.toFixed(0)} s)`;
}

function printTable(results) {
  const ports = [...new Set(results.map(({ port }) => port))];
  const names = [...new Set(results.map(({ name }) => name))];
  console.log(`\n| passed (processor time) | ${ports.join(' | ')} |\n|---|${'---:|'.repeat(ports.length)}`);
  for (const name of names) {
    const cells = ports.map((port) => results.find((one) => one.port === port && one.name === name));
    console.log(`| \`${name}\` | ${cells.map((one) => (one === undefined ? '' : cell(one))).join(' | ')} |`);
  }
  const total = (port) => {
    const own = results.filter((one) => one.port === port);
    const sum = (of) => own.reduce((all, one) => all + of(one), 0);
    return `${sum((one) => one.passed)} (${sum((one) => one.processor).toFixed(0)} s)`;
  };
  console.log(`| all | ${ports.map(total).join(' | ')} |`);
}

async function main() {
  const sets = readArguments(process.argv.slice(2));
  const built = await run(bin('tsc'), ['-p', 'test/tsconfig.json']);
  if (built.code !== 0 || !existsSync(join(ROOT, 'build/Release/dpdk/millrace_dpdk.so'))) {
    console.error(built.code !== 0 ? built.output : 'port dpdk is not built: npm run build:native, with libdpdk-dev');
    return 1;
  }
  const results = [];
  for (const { port, files } of sets) {
    for (const name of files) {
      const result = { port, name, ...(name === NODE ? await runNode(port) : await runFile(port, name)) };
      results.push(result);
      console.log(`${port} ${name}: ${cell(result)}, ${result.seconds.toFixed(0)} s in all`);
      for (const reason of result.skipped) console.log(`  skipped ${reason}`);
      if (result.failed > 0) console.log(result.report);
    }
  }
  printTable(results);
  const sum = (of) => results.reduce((all, one) => all + of(one), 0);
  const [passed, failed, skipped] = [
    sum((one) => one.passed),
    sum((one) => one.failed),
    sum((one) => one.skipped.length),
  ];
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  return failed + skipped === 0 ? 0 : 1;
}

process.exitCode = await main();
