// `npm run test:ports [-- [--port NAME]... [FILE...]]`: the sets of tools/port-sets.mjs, whole. One line for each file and
// port as it ends, then a table with what passed and failed and the processor time; ends with 0 when nothing failed and
// nothing was skipped.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { compiled, NODE, OF_DPDK, SETS } from './port-sets.mjs';
import { bin, run } from './run.mjs';
import { onlyFailures, readTap } from './test-groups.mjs';

const TIMEOUT_SECONDS = 900;
/** With the files that are DPDK's own. */
const ALL = { ...SETS, dpdk: { ...SETS.dpdk, files: [...SETS.dpdk.files, ...OF_DPDK] } };

function readArguments(args) {
  const ports = [];
  const files = [];
  for (let i = 0; i < args.length; ++i) {
    if (args[i] === '--port') ports.push(args[++i]);
    else files.push(args[i]);
  }
  const all = new Set(Object.values(ALL).flatMap((set) => set.files));
  const unknown = [...ports.filter((name) => !Object.hasOwn(ALL, name)), ...files.filter((name) => !all.has(name))];
  if (unknown.length > 0) {
    console.error(`neither a port (${Object.keys(ALL).join(', ')}) nor a file of theirs: ${unknown.join(', ')}`);
    process.exit(2);
  }
  const wanted = ports.length > 0 ? ports : Object.keys(ALL);
  return wanted.map((port) => ({
    port,
    files: ALL[port].files.filter((name) => files.length === 0 || files.includes(name)),
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
  const ended = await timed([process.execPath, compiled(port, name)], { LAB_PORT: port, TAP_TIMEOUT: '0' });
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
