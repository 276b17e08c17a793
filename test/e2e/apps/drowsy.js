// SPDX-License-Identifier: MIT
// An echo server whose loop is busy for about as long as the guardian waits, again and again; has no timer of its own.
//   node drowsy.js <port> <address> <busy us>
'use strict';

const net = require('node:net');

const [port, address, busyUs] = process.argv.slice(2);

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('data', (data) => {
    const end = process.hrtime.bigint() + BigInt(Math.round(Number(busyUs) * 1000 * (0.8 + 0.6 * Math.random())));
    while (process.hrtime.bigint() < end);
    socket.write(data);
  });
  socket.on('error', () => {});
});
server.listen(Number(port), address, () => console.log(`listening on ${address} port ${port}`));
process.on('SIGTERM', () => process.exit(0));
