// `npm run storm`: test/e2e/storm.test.ts over many seeds, for longer than in `npm test`. See --help.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';
import { readTap } from './test-groups.mjs';

const USAGE = `usage: npm run storm -- [options]          (as root: half of it goes over a wire between namespaces)
Random operations on sockets of all kinds, by seeds; see docs/testing.md.

  --seeds N      how many; default 10
  --from S       the first one; default 1
  --seconds T    each of a seed's six storms; default 20
  --hand-over    hands connections over to the kernel among it all
  --kernel       plain Node on both sides: what is wrong there is the storm's own fault
  --help`;

const TEST = 'dist/test/e2e/storm.test.js';

async function main() {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string', default: '10' },
      from: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '20' },
      'hand-over': { type: 'boolean', default: false },
      kernel: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const [seeds, from, seconds] = [values.seeds, values.from, values.seconds].map(Number);
  if (values.help || !(seeds > 0 && from >= 0 && seconds > 0)) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  if (!existsSync(join(ROOT, TEST))) {
    console.error(`there is no ${TEST}: npm run compile && npx tsc -p test/tsconfig.json`);
    return 2;
  }
  let bad = 0;
  for (let seed = from; seed < from + seeds; seed++) {
    const env = { E2E_STORM_SECONDS: String(seconds), E2E_STORM_SEED: String(seed), TAP_TIMEOUT: '0' };
    if (values['hand-over']) env.STORM_HAND_OVER = '1';
    if (values.kernel) env.E2E_MODE = 'kernel';
    const { code, output } = await run(process.execPath, [TEST], { timeoutSeconds: seconds * 10 + 300, env });
    const { passed, failed, skipped } = readTap(output, code);
    if (failed > 0) {
      bad++;
      console.log(output.slice(-20_000));
    }
    console.log(`seed ${seed}: ${passed} passed, ${failed} failed, ${skipped.length} skipped`);
  }
  console.log(`${seeds - bad} seeds passed, ${bad} failed`);
  return bad === 0 ? 0 : 1;
}

process.exitCode = await main();
