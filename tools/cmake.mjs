// A build of the native sources in a folder of its own.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const TIMEOUT_SECONDS = 900;

/** With sanitizers it takes half of g++'s time, and what it makes is quicker. The addon is g++'s, as users' are. */
export const CLANG = ['-DCMAKE_CXX_COMPILER=clang++', '-DCMAKE_C_COMPILER=clang'];
export const GCC = ['-DCMAKE_CXX_COMPILER=g++', '-DCMAKE_C_COMPILER=gcc'];

/** CMake takes another compiler for a folder only by forgetting all other settings, sanitizers among them. */
function forgetOtherCompiler(build, settings) {
  const wanted = settings.map((setting) => /^-DCMAKE_CXX_COMPILER=(.+)$/.exec(setting)?.[1]).find(Boolean);
  const cache = join(build, 'CMakeCache.txt');
  if (wanted === undefined || !existsSync(cache)) return;
  const used = /^CMAKE_CXX_COMPILER:\w+=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  if (used === undefined || basename(used) !== basename(wanted)) rmSync(build, { recursive: true, force: true });
}

/**
 * Configures and builds `folder`, as seen from the root; only what has changed. Never rejects.
 * @param {string[]} settings of cmake, as `-DNAME=VALUE`
 * @param {string[]} targets all, when there are none
 * @param {{idle?: boolean}} options idle: leaves the processors to everybody else
 * @returns {Promise<string | null>} what went wrong
 */
export async function cmakeBuild(folder, settings, targets = [], { idle = false } = {}) {
  const build = join(ROOT, folder);
  forgetOtherCompiler(build, settings);
  const jobs = String(Math.min(availableParallelism(), 4));
  const steps = [
    ['-S', ROOT, '-B', build, '-G', 'Ninja', ...settings],
    ['--build', build, '-j', jobs, ...(targets.length > 0 ? ['--target', ...targets] : [])],
  ];
  for (const args of steps) {
    const { code, output } = await run('cmake', args, { timeoutSeconds: TIMEOUT_SECONDS, idle });
    if (code !== 0) return `cmake ${args.join(' ')} failed\n${output.slice(-6000)}`;
  }
  return null;
}
