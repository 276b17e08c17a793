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

// A little at a time: where writes complete at once and the peer keeps up, a loop until one does not would never end.
function flood(socket) {
  let more = true;
  for (let i = 0; more && i < 8; i++) {
    more = socket.write(BLOCK);
    if (socket.bytesWritten > 1e6) reach('sending');
  }
  if (more && !socket.writableEnded) setImmediate(flood, socket);
}

reach('loaded');
const server = net.createServer((socket) => {
  reach('connected');
  socket.on('error', () => {});
  socket.on('data', () => {
    if (socket.bytesRead > 1e6) reach('receiving');
  });
  socket.on('drain', () => flood(socket));
  if (step !== 'closing') flood(socket);
  else {
    socket.write(BLOCK);
    socket.end();
    server.close();
    reach('closing');
  }
});
if (step === 'opening' && way === 'told') reach('opening');
server.listen(Number(port), host, () => reach('listening'));
if (step === 'opening') reach('opening');
