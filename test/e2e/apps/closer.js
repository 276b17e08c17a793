// SPDX-License-Identifier: MIT
// A server that ends a connection when it is told something.   node closer.js <port> <address>
'use strict';

const [port, address] = process.argv.slice(2);
const server = require('node:net').createServer((socket) => {
  socket.on('data', () => socket.end()).on('error', () => {});
});
server.listen(Number(port), address, () => console.log(`listening on ${address} port ${port}`));
