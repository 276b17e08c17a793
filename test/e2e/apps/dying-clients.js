// Environments that end at each step of a client's life, in each way, beside one that goes on. They talk to echo-peer.js.
//   dying-clients.js HOST PORT [ROUNDS]      as worker threads, one after the other; prints a line for each, then `done`
//   dying-clients.js HOST PORT one STEP WAY  one of them as a program
// STEP: loaded, opening, connecting, connected, sending, receiving, closing, datagrams. WAY: exit, throw, told (it says so
// and goes on: whoever listens ends it).
'use strict';

const dgram = require('node:dgram');
const net = require('node:net');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { BLOCK, lastSteps } = require('./last-steps');

const [host, port, ...rest] = workerData ?? process.argv.slice(2);
const STEPS = ['loaded', 'opening', 'connecting', 'connected', 'sending', 'receiving', 'closing', 'datagrams'];
const WAYS = ['told', 'exit', 'throw'];

// --- one that ends

function die(step, way) {
  const { reach, flood } = lastSteps(step, way);
  function talk() {
    const socket = net.connect({ host, port: Number(port) });
    socket.on('error', () => {});
    socket.on('connect', () => {
      reach('connected');
      if (step !== 'closing') return flood(socket);
      socket.end(BLOCK);
      return reach('closing');
    });
    socket.on('drain', () => flood(socket));
    socket.on('data', () => {
      if (socket.bytesRead > 1e6) reach('receiving');
    });
    socket.on('close', () => setTimeout(talk, 5));
  }
  function datagrams() {
    const socket = dgram.createSocket(net.isIPv6(host) ? 'udp6' : 'udp4');
    let answers = 0;
    socket.on('message', () => {
      if (++answers === 3) reach('datagrams');
    });
    socket.connect(Number(port), host, () => setInterval(() => socket.send('datagram'), 10));
  }
  reach('loaded');
  if (step === 'opening' && way === 'told') reach('opening');
  for (let i = 0; i < 3; i++) talk();
  datagrams();
  if (step === 'opening') reach('opening');
  // Behind the ticks in which connect() is called.
  if (step === 'connecting') setImmediate(reach, 'connecting');
}

// --- the one that goes on

function goOn() {
  const seen = { echoes: 0, wrong: 0, broken: 0 };
  const socket = net.connect({ host, port: Number(port), noDelay: true });
  let expected = '';
  const say = () => {
    expected = `${seen.echoes} ${Math.random()}`;
    socket.write(expected);
  };
  socket.on('connect', () => {
    parentPort.postMessage('connected');
    say();
  });
  socket.on('data', (data) => {
    if (data.toString() !== expected) seen.wrong++;
    seen.echoes++;
    setTimeout(say, 1);
  });
  socket.on('error', () => {});
  socket.on('close', () => seen.broken++);
  parentPort.on('message', () => parentPort.postMessage(seen));
}

// --- who starts them

async function live(step, way) {
  const worker = new Worker(__filename, { workerData: [host, port, 'one', step, way] });
  let thrown = null;
  worker.on('error', (error) => (thrown = error.message));
  worker.on('message', () => void worker.terminate());
  const code = await new Promise((resolve) => worker.on('exit', resolve));
  const right = way === 'throw' ? thrown === 'the end' : thrown === null && code === (way === 'told' ? 1 : 0);
  process.stdout.write(`${right ? 'ok' : 'not ok'} ${step} ${way} ${code} ${thrown}\n`);
}

// At any moment at all, mostly in the middle of opening.
async function surprise(afterMs) {
  const worker = new Worker(__filename, { workerData: [host, port, 'one', 'never', 'told'] });
  const ended = new Promise((resolve) => worker.on('exit', resolve));
  await new Promise((resolve) => setTimeout(resolve, afterMs));
  await worker.terminate();
  await ended;
}

async function main(rounds) {
  const bystander = new Worker(__filename, { workerData: [host, port, 'bystander'] });
  const answer = () => new Promise((resolve) => bystander.once('message', resolve));
  await answer();
  for (let round = 0; round < rounds; round++) {
    for (const step of STEPS) for (const way of rounds > 1 ? WAYS : WAYS.slice(0, 2)) await live(step, way);
    for (let ms = 0; ms < 120; ms += rounds > 1 ? 7 : 15) await surprise(ms);
  }
  process.stdout.write('done\n');
  require('node:readline')
    .createInterface({ input: process.stdin })
    .on('line', async (line) => {
      if (line === 'end') process.exit(0);
      const seen = answer();
      bystander.postMessage('report');
      process.stdout.write(`${JSON.stringify(await seen)}\n`);
    });
}

if (rest[0] === 'one') die(rest[1], rest[2]);
else if (isMainThread) void main(Number(rest[0] ?? 1));
else goOn();
