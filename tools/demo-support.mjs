// SPDX-License-Identifier: MIT
// How the demo speaks, and how it sees that the package is built.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import jobs from './lab/jobs.js';
import lab from './lab/lab.js';

const colours = process.stdout.isTTY && !process.env.NO_COLOR;
const paint = (code, text) => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);

export const headline = (text) => console.log(`\n${paint('1;36', text)}`);
export const heading = (text) => console.log(`\n${paint('1', text)}`);
export const say = (left, right) => console.log(`  ${left === '' ? '' : `${left.padEnd(40)} `}${right}`);
export const numberOf = (value) => Math.round(value).toLocaleString('en-US').replaceAll(',', ' ');

/** Sum of the counters with this name, over all groups. */
function counter(stats, name) {
  let sum = 0;
  for (const group of Object.values(stats?.counters ?? {})) sum += group?.[name] ?? 0;
  return sum;
}

/** The counters that a program under millrace writes every now and then, or null. */
export function readStats(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : null;
}

let last = { segments: 0, seconds: 0 };

/** One line per second: millrace's own counters beside what `ss -tn` shows on either side. */
export function liveLine(seconds, how, file, ours, theirs) {
  const stats = how === 'millrace' ? readStats(file) : null;
  const received = counter(stats, 'tcp_received');
  if (received < last.segments || seconds < last.seconds) last = { segments: 0, seconds: 0 };
  const rate = (received - last.segments) / (seconds - last.seconds);
  last = { segments: received, seconds };
  const own =
    how === 'millrace' ? `${numberOf(received).padStart(11)} TCP segments in (${numberOf(rate)}/s)` : '          -';
  const shown = how === 'millrace' ? 32 : 36;
  const count = paint(shown, `${String(ours).padStart(3)} of ${String(theirs).padStart(3)}`);
  console.log(
    `  ${seconds.toFixed(0).padStart(3)} s   millrace: ${own.padEnd(45)} the server's kernel (ss -tn): ${count} connections`,
  );
}

/** The two results beside each other, and the ratio under them. */
export function sideBySide(rows, ratio) {
  heading('Side by side');
  for (const [name, left, right] of rows)
    console.log(`  ${name.padEnd(24)}${String(left).padStart(16)}${String(right).padStart(16)}`);
  console.log(
    `  ${'millrace : plain Node'.padEnd(24)}${''.padStart(16)}${paint('1', `${ratio.toFixed(2)} x`.padStart(16))}\n`,
  );
}

/** Builds what `npm ci` has not built: the TypeScript, and the addon where no prebuilt one fits. */
export async function ensureBuilt() {
  const bin = (name) => path.join(lab.root, 'node_modules/.bin', name);
  const options = { cwd: lab.root, timeoutMs: 600000, env: { ...process.env } };
  if (!existsSync(lab.register)) {
    say('', 'compiling the TypeScript ...');
    await jobs.must(bin('tsc'), ['-p', 'tsconfig.json'], options);
  }
  const loads = async () => {
    const check = `require('node-gyp-build')(${JSON.stringify(lab.root)})`;
    return (await jobs.run(process.execPath, ['-e', check], options)).code === 0;
  };
  if (await loads()) return;
  say('', 'compiling the addon ...');
  await jobs.must(bin('node-gyp'), ['rebuild', '-j', '2'], options);
  if (!(await loads())) throw new Error('the addon was compiled but does not load');
}
