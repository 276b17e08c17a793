// A build of the native sources in a folder of its own.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const TIMEOUT_SECONDS = 900;

/**
 * Configures and builds `folder`, as seen from the root; only what has changed. Never rejects.
 * @param {string[]} settings of cmake, as `-DNAME=VALUE`
 * @param {string[]} targets all, when there are none
 * @param {{idle?: boolean}} options idle: leaves the processors to everybody else
 * @returns {Promise<string | null>} what went wrong
 */
export async function cmakeBuild(folder, settings, targets = [], { idle = false } = {}) {
  const build = join(ROOT, folder);
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
