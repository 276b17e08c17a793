// Every kind of kernel peer (test/e2e/interop.test.ts), 10 MB each way, as root, in network namespaces of its own:
//
//   npm run interop
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from './files.mjs';

function run(args, env = {}) {
  const { status } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (status !== 0) process.exit(status ?? 1);
}

run([join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'test/tsconfig.json']);
run([join('dist', 'test', 'e2e', 'interop.test.js')], { E2E_INTEROP: 'all', TAP_TIMEOUT: '0' });
