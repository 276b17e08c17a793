// SPDX-License-Identifier: MIT
// Clients for late-accept.js: each connects, says something or nothing, and goes by FIN or by RST.
//   node come-and-go.js <host> <port> <ms>      begins when something comes on stdin; stays for so long each time
'use strict';

const net = require('node:net');

const [host, port, stayMs] = process.argv.slice(2);

function visit(words, leave) {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port: Number(port), allowHalfOpen: true }, () => {
      const go = () => setTimeout(() => resolve(socket[leave]()), Number(stayMs));
      if (words === null) go();
      else socket.write(words, go);
    });
    socket.on('error', () => {});
  });
}

async function main() {
  await visit(null, 'resetAndDestroy');
  await visit('reset', 'resetAndDestroy');
  await visit(null, 'end');
  await visit('ended', 'end');
  console.log('gone');
  setTimeout(() => process.exit(0), 3000);
}

console.log('ready');
process.stdin.once('data', () => main());
