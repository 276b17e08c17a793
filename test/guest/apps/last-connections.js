// SPDX-License-Identifier: MIT
// A plain TCP echo server that stops listening once it has so many connections, and goes on with these.
//   node last-connections.js <port> <connections>
'use strict';

const net = require('node:net');

const [port, most] = process.argv.slice(2).map(Number);
let taken = 0;
const server = net.createServer((socket) => {
  socket.on('error', (error) => console.log(`broken ${error.code}`));
  socket.pipe(socket);
  if (++taken < most) return;
  server.close();
  console.log('no more');
});
server.listen(port, '::', () => console.log(`listening on ${port}`));
process.on('SIGTERM', () => process.exit(0));
