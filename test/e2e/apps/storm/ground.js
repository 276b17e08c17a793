// What all kinds of storm share: chance, content that can be checked at any place, and what was found wrong.
'use strict';

/** mulberry32 */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const kTable = 1 << 20;
const kWriteMax = 300_000;
/** Seven bits, so that every encoding can carry it. Twice, so that every piece is in one. */
const table = Buffer.alloc(2 * kTable);
{
  const random = generator(1);
  for (let i = 0; i < kTable; i++) table[i] = table[kTable + i] = Math.floor(random() * 128);
}

/** What one side of connection `id` sends from `offset` on; up to kWriteMax. */
function content(id, fromClient, offset, length) {
  const start = (id * 7919 + (fromClient ? 104_729 : 0) + offset) % kTable;
  return table.subarray(start, start + length);
}

const problems = [];
const ledger = [];
const counts = {};

function problem(text) {
  problems.push(text);
  if (problems.length < 20) console.error(text);
}

function count(name) {
  counts[name] = (counts[name] ?? 0) + 1;
}

const expected = new WeakSet();

function watchExceptions() {
  // A thread of storm-threads.js that is to end in the middle of it all.
  const exitMs = Number(process.env.STORM_EXIT_MS ?? 0);
  if (exitMs > 0) setTimeout(() => process.exit(0), exitMs);
  process.on('uncaughtException', (error) => {
    if (!expected.has(error)) problem(`uncaught ${error.stack}`);
  });
}

function throwSomething() {
  const error = new Error('on purpose');
  expected.add(error);
  throw error;
}

/** The package, where this process runs under it. */
function ours() {
  const words = process.execArgv.concat(process.env.NODE_OPTIONS ?? '');
  return words.some((word) => word.includes('register')) ? require('../../../../dist/lib/index.js') : null;
}

module.exports = {
  kWriteMax,
  generator,
  content,
  problems,
  ledger,
  counts,
  problem,
  count,
  watchExceptions,
  throwSomething,
  ours,
};
