// The long version of the attack suite (test/e2e/attack-rows.test.ts), as root, in network namespaces of its own:
//
//   npm run attack                      every row, ten times as many packets as `npm test` sends
//   npm run attack -- --scale 3 urgent sockstress
import { parseArgs } from 'node:util';
import { runE2e } from './one-e2e.mjs';

const { values, positionals } = parseArgs({
  options: { scale: { type: 'string', default: '10' }, kernel: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const scale = Number(values.scale);
if (!Number.isInteger(scale) || scale < 1 || scale > 100) {
  console.error(`--scale ${values.scale}: a number from 1 to 100`);
  process.exit(2);
}

runE2e('attack-rows', {
  ATTACK_SCALE: String(scale),
  ...(positionals.length > 0 && { ATTACK_ROWS: positionals.join(',') }),
  ...(values.kernel && { E2E_MODE: 'kernel' }),
});
