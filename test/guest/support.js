// SPDX-License-Identifier: MIT
// What the programs in the guest share: one line per check ("ok ..." or "not ok ..."), which tools/guest/parts.mjs
// counts, and limits of time that mean "never", because the guest's clock leaps while it reads a file of the host's.
'use strict';

const path = require('node:path');
const { run, sleep } = require('../../tools/lab/jobs.js');

const root = path.resolve(__dirname, '../..');

/** For programs of the lab, which multiply it by LAB_PATIENCE, and for the seconds that curl, nc and ping are given. */
const kStartMs = 60000;
const kSeconds = '300';

let failed = 0;

function check(what, good, detail = '') {
  if (!good) failed++;
  const text = typeof detail === 'string' ? detail : JSON.stringify(detail);
  const words = good || text === '' ? '' : `\n  ${text.replaceAll('\n', '\n  ')}`;
  console.log(`${good ? 'ok' : 'not ok'} ${what}${words}`);
}

/** Looks again and again until `look` gives something true, which it hands back; the last answer after so many looks. */
async function until(look, { looks = 100, everyMs = 100 } = {}) {
  for (let i = 1; ; i++) {
    const seen = await look();
    if (seen || i >= looks) return seen;
    await sleep(everyMs);
  }
}

/**
 * Runs the named parts, or all, one after the other; `with_` makes what a part is given and takes it down. The exit code
 * is 1 when a check failed.
 */
async function runParts(parts, wanted, around) {
  for (const name of wanted.length > 0 ? wanted : Object.keys(parts)) {
    const start = performance.now();
    try {
      await around(parts[name]);
    } catch (error) {
      check(name, false, error.stack);
    }
    console.log(`# ${name}: ${((performance.now() - start) / 1000).toFixed(1)} s of the guest's`);
  }
  console.log(failed === 0 ? '# all well' : `# ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

/** Reads what the checks will run, so that the clock's leaps are over before it matters. */
async function warmUp(programs) {
  for (const [command, ...args] of programs) await run(command, args, { timeoutMs: kStartMs });
}

/** How many echoes a session (apps/session.js) has had so far. */
const echoesOf = (session) => Number(/echoes (\d+)\.\s*$/.exec(session.stdout)?.[1] ?? 0);

/** True when a session has had more echoes than `before` and was never broken. */
async function goesOn(session, before = echoesOf(session)) {
  await until(() => echoesOf(session) > before + 3 || !session.running);
  return echoesOf(session) > before + 3 && !session.stdout.includes('broken');
}

const app = (name) => path.join(__dirname, 'apps', `${name}.js`);
const e2eApp = (name) => path.join(root, 'test/e2e/apps', `${name}.js`);
const example = (name) => path.join(root, 'examples', `${name}.js`);

module.exports = { app, check, e2eApp, echoesOf, example, goesOn, kSeconds, kStartMs, root, runParts, until, warmUp };
