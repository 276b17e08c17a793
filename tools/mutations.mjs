// `npm run mutations [-- NAME...]`: plants the faults of test/mutations/list.mjs one at a time and shows what catches
// them: the scripts, or the simulator within 1,000 seeds. Only the changed source is compiled anew and linked in front
// of the library, so that a fault costs seconds. `--check` only looks whether every fault can still be planted.
// The last line is "N caught, N missed".
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { MUTATIONS } from '../test/mutations/list.mjs';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = join(ROOT, 'build-mutations');
const CONFIGURE = ['-S', ROOT, '-B', BUILD, '-G', 'Ninja', '-DCMAKE_BUILD_TYPE=Debug'];
CONFIGURE.push('-DCMAKE_CXX_FLAGS_DEBUG=-O1', '-DCMAKE_EXPORT_COMPILE_COMMANDS=ON');
const SEEDS = 1000;
const PROGRAMS = {
  scripts: { arguments: ['test/scripts'], seconds: 120 },
  sim: { arguments: ['--seeds', String(SEEDS), '--from', '1', '--until-failure'], seconds: 240 },
};

/** The text of the source with the fault, or what is wrong with the entry. */
export function plant(mutation) {
  const text = readFileSync(join(ROOT, mutation.file), 'utf8');
  const parts = text.split(mutation.find);
  if (parts.length !== 2) return { problem: `${mutation.name}: found ${parts.length - 1} times in ${mutation.file}` };
  return { text: parts.join(mutation.replace) };
}

/** Entries that no longer fit the sources. */
export function stale() {
  const names = new Set(MUTATIONS.map((mutation) => mutation.name));
  const problems = MUTATIONS.map((mutation) => plant(mutation).problem).filter((problem) => problem !== undefined);
  if (names.size !== MUTATIONS.length) problems.push('two entries have the same name');
  return problems;
}

async function must(command, args) {
  const { code, output } = await run(command, args, { timeoutSeconds: 900 });
  if (code !== 0)
    throw new Error(`${command} ${args.join(' ').slice(0, 300)} ended with ${code}\n${output.slice(-4000)}`);
  return output;
}

async function build() {
  await must('cmake', CONFIGURE);
  await must('ninja', ['-C', BUILD, '-j', String(Math.min(availableParallelism(), 4)), ...Object.keys(PROGRAMS)]);
  const compile = JSON.parse(readFileSync(join(BUILD, 'compile_commands.json'), 'utf8'));
  const link = {};
  for (const name of Object.keys(PROGRAMS)) {
    const lines = (await must('ninja', ['-C', BUILD, '-t', 'commands', name])).trim().split('\n');
    link[name] = lines.at(-1);
  }
  return { compile, link };
}

/** Compiles the changed source and links the programs with it. */
async function make(mutation, { compile, link }) {
  const folder = join(BUILD, 'mutants', mutation.name);
  mkdirSync(folder, { recursive: true });
  const source = join(folder, 'mutant.cc');
  writeFileSync(source, plant(mutation).text);
  const entry = compile.find((one) => one.file === join(ROOT, mutation.file) && one.command.includes('/stack.dir/'));
  const object = `${source}.o`;
  const original = entry.command.split(' ').filter((word) => word !== '');
  const at = original.indexOf('-o');
  const flags = original.slice(0, at).concat('-Wno-unused', '-o', object, '-c', source);
  await must('sh', ['-c', `cd ${BUILD} && ${flags.join(' ')}`]);
  for (const name of Object.keys(PROGRAMS)) {
    const command = link[name].replace(` -o ${name} `, ` -o ${join(folder, name)} ${object} `);
    await must('sh', ['-c', `cd ${BUILD} && ${command}`]);
  }
  return folder;
}

/** What catches the fault, in words; empty when nothing does. */
async function catchers(mutation, built) {
  const folder = await make(mutation, built);
  const found = [];
  for (const [name, program] of Object.entries(PROGRAMS)) {
    const options = { timeoutSeconds: program.seconds };
    const { code, output } = await run(join(folder, name), program.arguments, options);
    if (code === 0) continue;
    const seed = /FAILED seed (\d+): (.*)/.exec(output);
    const failed = /(\d+) failed\s*$/.exec(output)?.[1];
    const script = /^not ok (\S+)/m.exec(output)?.[1] ?? '';
    if (seed !== null) found.push(`seed ${seed[1]}: ${seed[2].slice(0, 80)}`);
    else found.push(failed === undefined ? `${name} ended with ${code}` : `${failed} scripts: ${script}`);
  }
  return found;
}

async function main() {
  const problems = stale();
  for (const problem of problems) console.error(problem);
  if (process.argv.includes('--check')) return problems.length === 0 ? 0 : 1;
  const wanted = process.argv.slice(2);
  const chosen = MUTATIONS.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
  const fitting = chosen.filter((mutation) => plant(mutation).problem === undefined);
  const built = await build();
  const missed = [];
  const next = fitting.values();
  const worker = async () => {
    for (const mutation of next) {
      const found = await catchers(mutation, built);
      if (found.length === 0) missed.push(mutation.name);
      console.log(
        `${found.length === 0 ? 'MISSED' : 'caught'} ${mutation.name}${found.map((by) => `\n    ${by}`).join('')}`,
      );
    }
  };
  await Promise.all(Array.from({ length: 2 }, worker));
  const lost = missed.length + chosen.length - fitting.length;
  console.log(`${chosen.length - lost} caught, ${lost} missed`);
  return lost === 0 && chosen.length > 0 ? 0 : 1;
}

if (process.argv[1] === join(ROOT, 'tools/mutations.mjs')) process.exitCode = await main();
