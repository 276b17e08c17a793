// SPDX-License-Identifier: MIT
// Sends the next message a random moment behind the answer to the last; prints the longest wait.
//   node ping.js <host> <port> <seconds>
'use strict';

const net = require('node:net');

const [host, port, seconds] = process.argv.slice(2);
const until = performance.now() + Number(seconds) * 1000;
let messages = 0;
let longestMs = 0;
let sentAt = 0;

const socket = net.connect({ host, port: Number(port), noDelay: true }, send);
socket.on('data', () => {
  longestMs = Math.max(longestMs, performance.now() - sentAt);
  ++messages;
  if (performance.now() < until) return send();
  console.log(JSON.stringify({ messages, longestMs: Math.round(longestMs) }));
  return socket.destroy();
});

function send() {
  const end = performance.now() + Math.random() * 0.4;
  while (performance.now() < end);
  sentAt = performance.now();
  socket.write('x');
}
