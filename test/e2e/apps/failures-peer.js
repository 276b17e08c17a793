// SPDX-License-Identifier: MIT
// The other end of failures.js: does with each connection what its first line says. Plain Node.
//   failures-peer.js <port>
'use strict';

const net = require('node:net');

const server = net.createServer({ allowHalfOpen: false }, (socket) => {
  socket.on('error', () => {});
  socket.once('readable', () => {
    const line = String(socket.read(7) ?? socket.read());
    if (line.startsWith('end')) socket.end('bye');
    else if (line.startsWith('reset')) socket.resetAndDestroy();
    else if (line.startsWith('last wo'))
      socket.write('last words', () => setTimeout(() => socket.resetAndDestroy(), 100));
    else if (line.startsWith('ask')) {
      socket.write('ready?');
      socket.once('data', () => socket.resetAndDestroy());
    }
    // What was sent behind the line has come, and nobody reads it.
    else setTimeout(() => socket.destroy(), 200);
    if (line.startsWith('end')) setTimeout(() => socket.destroy(), 100);
  });
});
server.listen(Number(process.argv[2]), '::', () => console.log('listening on it'));
process.on('SIGTERM', () => process.exit(0));
