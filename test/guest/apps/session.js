// SPDX-License-Identifier: MIT
// A plain TCP client that says something ten times a second, as somebody who types does, and counts what comes back.
//   node session.js <host> <port> [<local port>]
'use strict';

const net = require('node:net');

const [host, port, localPort] = process.argv.slice(2);
const options = { host, port: Number(port) };
if (localPort !== undefined) options.localPort = Number(localPort);
const socket = net.connect(options);
let echoes = 0;
socket.on('connect', () => {
  console.log(`connected from port ${socket.localPort}`);
  setInterval(() => socket.write('x'), 100);
});
socket.on('data', (data) => {
  echoes += data.length;
  console.log(`echoes ${echoes}.`);
});
socket.on('error', (error) => console.log(`broken ${error.code}`));
socket.on('close', () => {
  console.log('broken: closed');
  process.exit(1);
});
process.on('SIGTERM', () => process.exit(0));
