// One file of test/e2e in its long form.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './files.mjs';

function must(args, env = {}) {
  const { status } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (status !== 0) process.exit(status ?? 1);
}

/** Compiles the tests and runs `name`.test.ts with these variables; ends the process when it fails. */
export function runE2e(name, env) {
  must([join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'test/tsconfig.json']);
  must([join('dist', 'test', 'e2e', `${name}.test.js`)], { ...env, TAP_TIMEOUT: '0' });
}
