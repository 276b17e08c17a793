// The install script: takes a prebuilt addon that loads here, and compiles one where none does. On systems for which
// there is no addon it does nothing: the package is then a pass-through to the kernel.
import { spawnSync } from 'node:child_process';

if (process.platform === 'linux') {
  // npm puts node_modules/.bin into PATH. All processors: a compilation by one takes minutes.
  const env = { ...process.env, JOBS: process.env.JOBS ?? 'max' };
  const { status } = spawnSync('node-gyp-build', { env, stdio: 'inherit', shell: true });
  process.exitCode = status ?? 1;
}
