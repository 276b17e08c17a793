// SPDX-License-Identifier: MIT
// Servers that write more to each connection than its peer reads, and end by process.exit() at SIGTERM.
//   node leaver.js <port> <address>
'use strict';

const net = require('node:net');

const [port, address] = process.argv.slice(2);
const server = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.write(Buffer.alloc(8 << 20), () => {});
});
server.listen(Number(port), address, () => console.log(`listening on ${port}`));
process.on('SIGTERM', () => process.exit(0));
