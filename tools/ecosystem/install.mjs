// The packages of the matrix, installed into the ignored cache by the lock beside this file.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../files.mjs';
import { run } from '../run.mjs';

const HERE = dirname(fileURLToPath(import.meta.url));
const CACHE = join(ROOT, '.cache/ecosystem');
const LOCK = readFileSync(join(HERE, 'package-lock.json'), 'utf8');

/** name -> version of what the matrix names itself. */
export const VERSIONS = JSON.parse(readFileSync(join(HERE, 'package.json'), 'utf8')).dependencies;

/** The folder of the programs, beside an installed node_modules. @throws Error with npm's words */
export async function installPackages(log = console.log) {
  mkdirSync(CACHE, { recursive: true });
  const mark = join(CACHE, 'installed');
  if (!existsSync(mark) || readFileSync(mark, 'utf8') !== LOCK) {
    log('installing the packages of the matrix');
    rmSync(mark, { force: true });
    for (const name of ['package.json', 'package-lock.json']) cpSync(join(HERE, name), join(CACHE, name));
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
    const { code, output } = await run('npm', args, { cwd: CACHE, timeoutSeconds: 900 });
    if (code !== 0) throw new Error(`npm ci: ${output.slice(-2000)}`);
    writeFileSync(mark, LOCK);
  }
  // Beside node_modules, so that require() and import find the packages by themselves; of this run alone.
  const programs = mkdtempSync(join(CACHE, 'programs-'));
  process.on('exit', () => rmSync(programs, { recursive: true, force: true }));
  cpSync(join(HERE, 'programs'), programs, { recursive: true });
  return programs;
}
