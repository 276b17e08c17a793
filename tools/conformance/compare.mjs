// Runs every test in both modes and says where they differ.
import { runHooked, runPlain } from './modes.mjs';

/** How often a test that differed is run again, on a machine that does nothing else. */
const REPEATS = 2;

/**
 * A result per test: `plain` and `hooked` are 'pass', 'fail' or 'skip'; `hooked` is null where plain did not pass, for
 * there is nothing to compare. A test that differed runs again, alone: `unsteady` are those that then passed each time.
 * @param {{jobs: number, none: boolean, lean: boolean, known: Set<string>}} options lean: plain Node is asked only about
 *   what does not pass hooked; known: differ for a reason, so do not run again
 */
export async function compareAll(tests, context, { jobs, none, lean, known }, onResult) {
  const results = new Map();
  const mode = { none, lean };
  const one = async (test, slot) => {
    const result = await compareOne(test, { ...context, slot }, mode);
    results.set(test, result);
    onResult(result);
  };
  await inSlots(
    tests.filter((test) => test.folder !== 'sequential'),
    jobs,
    one,
  );
  await inSlots(
    tests.filter((test) => test.folder === 'sequential'),
    1,
    one,
  );
  for (const [test, result] of results) {
    if (result.plain === result.hooked || (result.plain === 'pass' && known.has(test.name))) continue;
    const again = await repeat(test, result, { ...context, slot: 0 }, { none, lean: false });
    results.set(test, again);
    if (again.plain !== result.plain || again.hooked !== result.hooked) onResult(again);
  }
  return tests.map((test) => results.get(test));
}

async function compareOne(test, context, { none, lean }) {
  let hooked = lean ? await runHooked(test, context, none) : null;
  const plain = hooked !== null && hooked.outcome !== 'fail' ? hooked : await runPlain(test, context);
  const result = { test: test.name, prefix: test.prefix, plain: plain.outcome, hooked: null, used: false };
  if (plain.outcome === 'fail') return { ...result, seconds: plain.seconds, output: plain.output };
  hooked ??= await runHooked(test, context, none);
  return { ...result, hooked: hooked.outcome, used: hooked.used, seconds: hooked.seconds, output: hooked.output };
}

async function repeat(test, result, context, mode) {
  const patient = { ...context, timeoutSeconds: context.timeoutSeconds * 2 };
  if (result.plain === 'fail') return compareOne(test, patient, mode);
  let last = result;
  for (let turn = 0; turn < REPEATS; turn++) {
    last = await compareOne(test, patient, mode);
    if (last.plain !== last.hooked) return last;
  }
  return { ...last, unsteady: true, output: result.output };
}

async function inSlots(tests, jobs, one) {
  let next = 0;
  const slots = Array.from({ length: jobs }, async (_, slot) => {
    while (next < tests.length) await one(tests[next++], slot);
  });
  await Promise.all(slots);
}

/** Does it differ from plain Node? */
export function differs(result) {
  return result.plain !== 'fail' && result.hooked !== result.plain;
}

/** Per prefix, in the order of `results`: how many passed, and how many used the stack of those that passed hooked. */
export function tally(results) {
  const rows = new Map();
  for (const { prefix, plain, hooked, used } of results) {
    const row = rows.get(prefix) ?? { prefix, tests: 0, skipped: 0, passedPlain: 0, passedHooked: 0, used: 0 };
    rows.set(prefix, row);
    row.tests++;
    if (plain === 'skip') row.skipped++;
    if (plain !== 'pass') continue;
    row.passedPlain++;
    if (hooked !== 'pass') continue;
    row.passedHooked++;
    if (used) row.used++;
  }
  return [...rows.values()];
}
