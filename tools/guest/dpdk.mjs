// SPDX-License-Identifier: MIT
// `npm run test:guest [-- PART [WORD...]]`: port dpdk in the guest, all parts of parts.mjs or one, of which WORDs name
// pieces (see its script). Needs the built package and port dpdk (apt-get install libdpdk-dev). DEBUG=1 shows
// millrace's and DPDK's log.
import { setUp } from '../setup.mjs';
import { PARTS, runPart } from './parts.mjs';

const [only, ...words] = process.argv.slice(2);
if (only !== undefined && !(only in PARTS)) {
  console.error(`there is no part ${only}; there are: ${Object.keys(PARTS).join(', ')}`);
  process.exit(2);
}
await setUp(['build', 'guest']);
const debug = process.env.DEBUG;
const sum = { passed: 0, failed: 0 };
for (const name of only === undefined ? Object.keys(PARTS) : [only]) {
  console.log(`# ${name}`);
  const result = await runPart(name, {
    words,
    onText: (text) => process.stdout.write(text),
    env: debug === undefined ? {} : { DEBUG: debug },
  });
  sum.passed += result.passed;
  sum.failed += result.failed;
  console.log(`# ${name}: ${result.passed} passed, ${result.failed} failed (${result.seconds.toFixed(0)} s)`);
}
console.log(`${sum.passed} passed, ${sum.failed} failed`);
process.exitCode = sum.failed === 0 ? 0 : 1;
