// Worker threads that end at each step of their life, in each way, one after the other, beside one that lives on and
// echoes on PORT + 1. Prints a line for each and, when all are done, `done`.
//   dying-threads.js PORT HOST [ROUNDS]
'use strict';

const path = require('node:path');
const { Worker, isMainThread, workerData } = require('node:worker_threads');

const STEPS = ['loaded', 'opening', 'listening', 'connected', 'sending', 'receiving', 'closing'];
const WAYS = ['told', 'exit', 'throw'];

async function live(step, way, port, host) {
  const worker = new Worker(path.join(__dirname, 'dying.js'), { workerData: [step, way, port, host] });
  let thrown = null;
  worker.on('error', (error) => (thrown = error.message));
  worker.on('message', () => void worker.terminate());
  const code = await new Promise((resolve) => worker.on('exit', resolve));
  const right = way === 'throw' ? thrown === 'the end' : thrown === null && code === (way === 'told' ? 1 : 0);
  process.stdout.write(`${right ? 'ok' : 'not ok'} ${step} ${way} ${code} ${thrown}\n`);
}

// At any moment at all, mostly in the middle of opening.
async function surprise(port, host, afterMs) {
  const worker = new Worker(path.join(__dirname, 'dying.js'), { workerData: ['never', 'told', port, host] });
  const ended = new Promise((resolve) => worker.on('exit', resolve));
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  await worker.terminate();
  await ended;
}

async function main(port, host, rounds) {
  const bystander = new Worker(__filename, { workerData: [Number(port) + 1, host] });
  await new Promise((resolve) => bystander.on('message', resolve));
  process.stdout.write('listening on both\n');
  for (let round = 0; round < rounds; round++) {
    for (const step of STEPS) for (const way of WAYS) await live(step, way, port, host);
    for (let ms = 0; ms < 120; ms += rounds > 1 ? 7 : 15) await surprise(port, host, ms);
  }
  process.stdout.write('done\n');
  process.stdin.on('data', () => process.exit(0)).unref();
}

if (isMainThread) {
  const [port, host, rounds = '1'] = process.argv.slice(2);
  void main(port, host, Number(rounds));
} else {
  const [port, host] = workerData;
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(port, host, () => require('node:worker_threads').parentPort.postMessage('listening'));
}
