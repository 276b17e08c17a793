// SPDX-License-Identifier: MIT
// The other end of hand-over.js.
//   node hand-over-peer.js <host> <port> <bytes> <connections> <at once> [<read after ms> [self]]
//   self: its connections leave the fast path themselves, in mid-stream
'use strict';

const net = require('node:net');
const { Duplex } = require('./duplex.js');

const [host, port, bytesText, connections, atOnce, readAfterMs = '0', how] = process.argv.slice(2);
const bytes = Number(bytesText);
const errors = [];
let begun = 0;
let whole = 0;
let slowestMs = 0;
let handedOver = 0;

function one(done) {
  const socket = net.connect({ host, port: Number(port), allowHalfOpen: true });
  const start = performance.now();
  let connected = false;
  socket.once('connect', () => {
    connected = true;
    const plan = { bytes, outgoing: 'up', incoming: 'down' };
    let left = how !== 'self';
    const at = bytes * (0.1 + 0.8 * Math.random());
    const step = (duplex) => {
      if (left || duplex.sent < at || duplex.sent === bytes) return;
      left = true;
      require('millrace').handOver(socket);
      if (socket._handle.fd >= 0) ++handedOver;
    };
    new Duplex(socket, plan, step, (error) => {
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
    if (!connected) {
      errors.push(error.message);
      done();
    }
  });
}

function next() {
  if (begun < Number(connections)) {
    ++begun;
    one(next);
  } else if (whole + errors.length === Number(connections)) {
    console.log(JSON.stringify({ whole, errors, slowestMs: Math.round(slowestMs), handedOver }));
  }
}

for (let i = 0; i < Number(atOnce); ++i) next();
