// An environment that ends at a step of a server's life, in a way.
//   dying.js STEP WAY PORT HOST
// As a program, or as a worker thread of dying-threads.js. STEP: loaded, opening, listening, connected, sending, receiving,
// closing. WAY: exit (process.exit), throw (nobody catches), told (it says so and goes on: whoever listens ends it).
'use strict';

const net = require('node:net');
const { parentPort, workerData } = require('node:worker_threads');

const [step, way, port, host] = workerData ?? process.argv.slice(2);
const BLOCK = Buffer.alloc(65_536, 'd');
let reached = false;

function reach(name) {
  if (name !== step || reached) return;
  reached = true;
  if (way === 'exit') process.exit(0);
  if (way === 'throw') throw new Error('the end');
  if (parentPort) parentPort.postMessage(name);
  else process.stdout.write(`reached ${name}\n`);
}

function flood(socket) {
  for (let more = true; more; ) {
    more = socket.write(BLOCK);
    if (socket.bytesWritten > 1e6) reach('sending');
  }
}

reach('loaded');
const server = net.createServer((socket) => {
  reach('connected');
  socket.on('error', () => {});
  socket.on('data', () => {
    if (socket.bytesRead > 1e6) reach('receiving');
  });
  socket.on('drain', () => flood(socket));
  flood(socket);
  if (step === 'closing') {
    socket.end();
    server.close();
    reach('closing');
  }
});
if (step === 'opening' && way === 'told') reach('opening');
server.listen(Number(port), host, () => reach('listening'));
if (step === 'opening') reach('opening');
