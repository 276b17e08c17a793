// SPDX-License-Identifier: MIT
// What an environment does that ends at a step of its life: as a program, or as a worker thread.
//   step: which; way: exit (process.exit), throw (nobody catches), told (it says so and goes on: whoever listens ends it)
'use strict';

const { parentPort } = require('node:worker_threads');

const BLOCK = Buffer.alloc(65_536, 'd');

/** Returns reach(name), which ends the environment at the step, and flood(socket), which writes without end. */
function lastSteps(step, way) {
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
  return { reach, flood };
}

module.exports = { BLOCK, lastSteps };
