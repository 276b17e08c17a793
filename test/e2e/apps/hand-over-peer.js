// SPDX-License-Identifier: MIT
// The other end of hand-over.js.
//   node hand-over-peer.js <host> <port> <bytes> <connections> <at once> [<read after ms>]
'use strict';

const net = require('node:net');
const { Duplex } = require('./duplex.js');

const [host, port, bytesText, connections, atOnce, readAfterMs = '0'] = process.argv.slice(2);
const bytes = Number(bytesText);
const errors = [];
let begun = 0;
let whole = 0;
let slowestMs = 0;

function one(done) {
  const socket = net.connect({ host, port: Number(port), allowHalfOpen: true });
  const start = performance.now();
  socket.once('connect', () => {
    const plan = { bytes, outgoing: 'up', incoming: 'down' };
    new Duplex(socket, plan, null, (error) => {
      if (error) errors.push(error.message);
      else ++whole;
      slowestMs = Math.max(slowestMs, performance.now() - start);
      done();
    });
    if (Number(readAfterMs) > 0) {
      socket.pause();
      setTimeout(() => socket.resume(), Number(readAfterMs));
    }
  });
  socket.once('error', (error) => {
    if (socket.connecting) errors.push(error.message);
  });
}

function next() {
  if (begun < Number(connections)) {
    ++begun;
    one(next);
  } else if (whole + errors.length === Number(connections)) {
    console.log(JSON.stringify({ whole, errors, slowestMs: Math.round(slowestMs) }));
  }
}

for (let i = 0; i < Number(atOnce); ++i) next();
