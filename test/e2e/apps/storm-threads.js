// Worker threads, each in a storm of its own (storm.js, storm-datagrams.js, storm-requests.js), ended at any moment: by
// terminate(), or by process.exit() in the middle of what they do. The process must survive that, and end by itself.
//   storm-threads.js <seed> <seconds> <at a time>
'use strict';

const path = require('node:path');
const { Worker } = require('node:worker_threads');
const { count, counts, generator, problem, problems } = require('./storm/ground');

const [seed, seconds, atATime] = process.argv.slice(2).map(Number);
const random = generator(seed);
const int = (limit) => Math.floor(random() * limit);
/** Without http2: plain Node aborts now and then when a thread ends in it. */
const PROGRAMS = [
  ['storm.js', 'both', 30, 20, 'tcp'],
  ['storm.js', 'both', 30, 20, 'tls', 'tls-over', 'tls-in-tls'],
  ['storm-datagrams.js', 30, 15],
  ['storm-requests.js', 30, 15],
];

let open = 0;
let ended = 0;
const until = Date.now() + seconds * 1000;

function start() {
  const [name, ...words] = PROGRAMS[int(PROGRAMS.length)];
  // The seed stands first, behind what storm.js does.
  if (name === 'storm.js') words.splice(1, 0, int(1000));
  else words.unshift(int(1000));
  const exitMs = int(3) === 0 ? int(600) : 0;
  const env = { ...process.env, STORM_EXIT_MS: String(exitMs), STORM_HAND_OVER: '0' };
  const worker = new Worker(path.join(__dirname, name), { argv: words.map(String), env, stdout: true, stderr: true });
  open++;
  worker.stdout.resume();
  worker.stderr.resume();
  worker.on('error', (error) => problem(`${name}: ${error.stack}`));
  worker.on('exit', () => {
    open--;
    ended++;
    if (Date.now() < until) start();
  });
  count(exitMs > 0 ? 'exit' : 'terminate');
  if (exitMs === 0) setTimeout(() => void worker.terminate(), int(800));
}

for (let i = 0; i < atATime; i++) start();
process.on('exit', () => {
  if (open > 0) problem(`${open} workers never ended`);
  console.log(JSON.stringify({ ended, problems, operations: counts }));
  if (problems.length > 0) process.exitCode = 1;
});
