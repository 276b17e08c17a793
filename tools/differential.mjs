// `npm run differential [-- TEXT...]`: the exchanges of test/differential against the stack and against this machine's
// kernel (in a network namespace behind a TUN device; needs root), compared packet by packet: flags, numbers, options,
// lengths, and times within 20 % (or 8 ms: the kernel lives in real time). Every difference must be in
// test/differential/differences.mjs with its reason. The last line is "N same, M differ as listed, K unexpected".
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DIFFERENCES } from '../test/differential/differences.mjs';
import { cmakeBuild } from './cmake.mjs';
import { ROOT } from './files.mjs';
import { run } from './run.mjs';

const BUILD = join(ROOT, 'build-differential');
const TRIES = 3;
const SLACK_MS = 8;

async function build() {
  const problem = await cmakeBuild(
    'build-differential',
    ['-DCMAKE_BUILD_TYPE=RelWithDebInfo'],
    ['exchanges', 'exchanges_kernel'],
  );
  if (problem !== null) throw new Error(problem);
}

/** Exchanges by name: each a list of packets, `{ at, words }`. */
export function parseExchanges(text) {
  const exchanges = new Map();
  for (const line of text.split('\n').filter((one) => one.includes(': '))) {
    const [name, ...packets] = line.split(' | ');
    const parsed = packets.map((packet) => {
      const space = packet.indexOf(' ');
      return { at: Number(packet.slice(0, space)), words: packet.slice(space + 1) };
    });
    exchanges.set(name, parsed);
  }
  return exchanges;
}

/** The first difference in words, or null. */
export function difference(ours, theirs) {
  if (ours.length !== theirs.length) return `${ours.length} packets, the kernel sends ${theirs.length}`;
  for (const [i, packet] of ours.entries()) {
    const other = theirs[i];
    if (packet.words !== other.words) return `'${packet.words}', the kernel sends '${other.words}'`;
    const allowed = Math.max(SLACK_MS, Math.max(packet.at, other.at) * 0.2);
    if (Math.abs(packet.at - other.at) > allowed) return `after ${packet.at} ms, the kernel after ${other.at} ms`;
  }
  return null;
}

async function exchanges(program, args, seconds) {
  const { code, output } = await run(join(BUILD, program), args, { timeoutSeconds: seconds });
  if (code !== 0) throw new Error(`${program} ended with ${code}\n${output.slice(-2000)}`);
  return parseExchanges(output);
}

/** Both families, at once. */
async function both(program, wanted, seconds) {
  const families = await Promise.all(['4', '6'].map((family) => exchanges(program, [family, ...wanted], seconds)));
  return new Map(families.flatMap((one) => [...one]));
}

/** Exact names from a program that selects by parts of them. */
async function again(name) {
  return (await exchanges('exchanges_kernel', [name.startsWith('v6 ') ? '6' : '4', name], 120)).get(name);
}

async function main() {
  if (process.getuid?.() !== 0) {
    console.error('differential: needs root for a network namespace');
    return 1;
  }
  await build();
  const wanted = process.argv.slice(2);
  const ours = await both('exchanges', wanted, 120);
  const kernel = await both('exchanges_kernel', wanted, 900);
  const reasons = new Map(DIFFERENCES.flatMap(({ exchanges: names, why }) => names.map((name) => [name, why])));
  const reasonOf = (name) => reasons.get(name) ?? reasons.get(name.replace(/^v6 /, ''));
  const counts = { same: 0, listed: 0, unexpected: 0 };
  for (const [name, packets] of ours) {
    const reason = reasonOf(name);
    let found = difference(packets, kernel.get(name) ?? []);
    // Times of the kernel are real: what is not a difference of behaviour does not come again.
    for (let n = 1; n < TRIES && found !== null && reason === undefined; n++) {
      found = difference(packets, (await again(name)) ?? []);
    }
    if (found === null && reason === undefined) counts.same++;
    else if (found !== null && reason !== undefined) counts.listed++;
    else counts.unexpected++;
    if (found !== null) console.log(`${name}: ${found} ${reason === undefined ? 'UNEXPECTED' : `(${reason})`}`);
    else if (reason !== undefined) console.log(`${name}: no difference any more: take it out of the list`);
  }
  mkdirSync(BUILD, { recursive: true });
  writeFileSync(join(BUILD, 'exchanges.json'), JSON.stringify({ ours: [...ours], kernel: [...kernel] }, null, 1));
  console.log(`${counts.same} same, ${counts.listed} differ as listed, ${counts.unexpected} unexpected`);
  return counts.unexpected === 0 && ours.size > 0 ? 0 : 1;
}

if (process.argv[1] === join(ROOT, 'tools/differential.mjs')) process.exitCode = await main();
