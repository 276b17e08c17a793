// SPDX-License-Identifier: MIT
// What the programs in the guest share: one line per check ("ok ..." or "not ok ..."), which tools/guest/parts.mjs
// counts, and limits of time that mean "never", because the guest's clock leaps while it reads a file of the host's.
'use strict';

const path = require('node:path');
const { sleep } = require('../../tools/lab/jobs.js');
const { nativeTool } = require('../../tools/lab/native-tools.js');

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

/** Runs the checks; the exit code is 1 when one failed. */
function finish(main) {
  main()
    .catch((error) => check('it comes to its end', false, error.stack))
    .finally(() => {
      console.log(failed === 0 ? '# all well' : `# ${failed} failed`);
      process.exitCode = failed === 0 ? 0 : 1;
    });
}

/** How many echoes a session (test/tools/talk.cc) has had so far. */
const echoesOf = (session) => Number(/echoes (\d+)\.\s*$/.exec(session.stdout)?.[1] ?? 0);

/** As long as a kernel may wait before it sends something again that was lost while nobody was there (tcp(7)). */
const kRetransmissionMs = 130_000;

/** True when a session has had more echoes than `before` and was never broken. */
async function goesOn(session, before = echoesOf(session)) {
  await until(() => echoesOf(session) > before + 3 || !session.running, { looks: kRetransmissionMs / 100 });
  return echoesOf(session) > before + 3 && !session.stdout.includes('broken');
}

const bracketed = (host) => (host.includes(':') ? `[${host}]` : host);

/** One request to a server of ours, from `side` of a lab or of something like it. */
async function fetches(home, side, host, port, server) {
  const url = `http://${bracketed(host)}:${port}/`;
  const got = await home.run(side, 'curl', ['-sS', '-g', '-m', kSeconds, url], { timeoutMs: kStartMs });
  check(`http over ${host}`, got.stdout === 'Hello, world\n', `${got.stderr} ${server.describe()}`);
}

/** Datagrams to a server of ours for a moment: each comes back as it was. */
async function sendsDatagrams(home, side, host, port, server) {
  const words = ['udp-echo', '--host', host, '--port', String(port), '--size', '300', '--inflight', '2'];
  const times = ['--seconds', '0.1', '--warmup', '0.02', '--timeout', kSeconds];
  const got = await home.run(side, nativeTool('load'), [...words, ...times], { timeoutMs: kStartMs });
  const { wrong, lost, messages } = JSON.parse(got.stdout || '{}');
  const good = wrong === 0 && lost === 0 && messages > 0;
  check(`datagrams over ${host} port ${port}`, good, `${got.stdout} ${got.stderr} ${server.describe()}`);
}

const app = (name) => path.join(__dirname, 'apps', `${name}.js`);
const example = (name) => path.join(root, 'examples', `${name}.js`);
const talk = () => nativeTool('talk');

module.exports = {
  app,
  check,
  example,
  fetches,
  finish,
  goesOn,
  kSeconds,
  kStartMs,
  root,
  sendsDatagrams,
  talk,
  until,
};
