// SPDX-License-Identifier: MIT
// Opens a connection again and again, each once the last has ended or was given up; a line for each.
//   node knocker.js HOST PORT
'use strict';

const net = require('node:net');

const [host, port] = process.argv.slice(2);
const kPatienceMs = 500;
const kPauseMs = 100;

function knock() {
  const socket = net.connect(Number(port), host, () => {
    console.log('open');
    socket.end();
  });
  socket.setTimeout(kPatienceMs, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('close', () => setTimeout(knock, kPauseMs));
}

knock();
process.on('SIGTERM', () => process.exit(0));
