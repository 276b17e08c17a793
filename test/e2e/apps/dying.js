// An environment that ends at a step of a server's life, in a way.
//   dying.js STEP WAY PORT HOST
// As a program, or as a worker thread of dying-threads.js. STEP: loaded, opening, listening, connected, sending, receiving,
// closing. WAY: exit (process.exit), throw (nobody catches), told (it says so and goes on: whoever listens ends it).
'use strict';

const net = require('node:net');
const { workerData } = require('node:worker_threads');
const { BLOCK, lastSteps } = require('./last-steps');

const [step, way, port, host] = workerData ?? process.argv.slice(2);
const { reach, flood } = lastSteps(step, way);

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
