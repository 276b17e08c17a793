// The long version of the attack suite (test/e2e/attack-rows.test.ts), as root, in network namespaces of its own:
//
//   npm run attack                      every row, ten times as many packets as `npm test` sends
//   npm run attack -- --scale 3 urgent sockstress
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './files.mjs';

const { values, positionals } = parseArgs({
  options: { scale: { type: 'string', default: '10' }, kernel: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const scale = Number(values.scale);
if (!Number.isInteger(scale) || scale < 1 || scale > 100) {
  console.error(`--scale ${values.scale}: a number from 1 to 100`);
  process.exit(2);
}

function run(command, args, env = {}) {
  const { status } = spawnSync(command, args, { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...env } });
  if (status !== 0) process.exit(status ?? 1);
}

run(process.execPath, [join('node_modules', 'typescript', 'bin', 'tsc'), '-p', 'test/tsconfig.json']);
run(process.execPath, [join('dist', 'test', 'e2e', 'attack-rows.test.js')], {
  ATTACK_SCALE: String(scale),
  TAP_TIMEOUT: '0',
  ...(positionals.length > 0 && { ATTACK_ROWS: positionals.join(',') }),
  ...(values.kernel && { E2E_MODE: 'kernel' }),
});
