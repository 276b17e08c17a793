// `npm run test:ports [-- [--port NAME]... [FILE...]]`: the end-to-end tests over each port of the lab, whole: af_xdp, dpdk
// (DPDK's driver for AF_XDP), memif (shared memory between two programs). One line for each file and port as it ends, then
// a table with what passed and failed and the processor time; ends with 0 when nothing failed and nothing was skipped.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { bin, run } from './run.mjs';
import { onlyFailures, readTap } from './test-groups.mjs';

const PORTS = ['af_xdp', 'dpdk', 'memif'];
const TIMEOUT_SECONDS = 900;

/** Whole files, by name; all of them where none is named. */
function readArguments(args) {
  const ports = [];
  const files = [];
  for (let i = 0; i < args.length; ++i) {
    if (args[i] === '--port') ports.push(args[++i]);
    else files.push(args[i]);
  }
  const all = readdirSync(join(ROOT, 'test/e2e'))
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => name.slice(0, -'.test.ts'.length));
  const unknown = [...ports.filter((name) => !PORTS.includes(name)), ...files.filter((name) => !all.includes(name))];
  if (unknown.length > 0) {
    console.error(`neither a port (${PORTS.join(', ')}) nor a file of test/e2e: ${unknown.join(', ')}`);
    process.exit(2);
  }
  return { ports: ports.length > 0 ? ports : PORTS, files: files.length > 0 ? files : all };
}

/** The processor time is that of the test and of all that it started and waited for. */
async function runFile(port, name) {
  const file = join('dist/test/e2e', `${name}.test.js`);
  const timed = 'TIMEFORMAT="processor %U %S"; time "$@"';
  const start = performance.now();
  const { code, output } = await run('bash', ['-c', timed, 'bash', process.execPath, file], {
    timeoutSeconds: TIMEOUT_SECONDS,
    env: { LAB_PORT: port, TAP_TIMEOUT: '0' },
  });
  const seconds = (performance.now() - start) / 1000;
  const [, user = 'NaN', system = 'NaN'] = /^processor ([\d.]+) ([\d.]+)$/m.exec(output) ?? [];
  const { passed, failed, skipped } = readTap(output, code);
  return { port, name, passed, failed, skipped, seconds, processor: Number(user) + Number(system), output };
}

function cell({ passed, failed, skipped, processor }) {
  const bad = `${failed > 0 ? `, ${failed} failed` : ''}${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`;
  return `${passed}${bad} (${processor.toFixed(0)} s)`;
}

async function main() {
  const { ports, files } = readArguments(process.argv.slice(2));
  const built = await run(bin('tsc'), ['-p', 'test/tsconfig.json']);
  if (built.code !== 0) {
    console.error(built.output);
    return 1;
  }
  const results = [];
  for (const port of ports) {
    for (const name of files) {
      const result = await runFile(port, name);
      results.push(result);
      console.log(`${port} ${name}: ${cell(result)}, ${result.seconds.toFixed(0)} s in all`);
      for (const reason of result.skipped) console.log(`  skipped ${reason}`);
      if (result.failed > 0) console.log(onlyFailures(result.output));
    }
  }
  console.log(`\n| file | ${ports.join(' | ')} |\n|---|${'---:|'.repeat(ports.length)}`);
  for (const name of files) {
    const row = ports.map((port) => cell(results.find((one) => one.port === port && one.name === name)));
    console.log(`| \`${name}\` | ${row.join(' | ')} |`);
  }
  const sum = (of) => results.reduce((total, one) => total + of(one), 0);
  const [passed, failed, skipped] = [({ passed }) => passed, ({ failed }) => failed, ({ skipped }) => skipped.length].map(sum);
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  return failed + skipped === 0 ? 0 : 1;
}

process.exitCode = await main();
