// A plain UDP echo server: nothing in it knows of millrace.
//   node udp-echo.js [port [address]]
'use strict';

const dgram = require('node:dgram');

const port = Number(process.argv[2] ?? process.env.PORT ?? 7000);
const address = process.argv[3] ?? process.env.ADDRESS ?? '::';

const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');

socket.on('message', (message, from) => {
  socket.send(message, from.port, from.address);
});

socket.bind(port, address, () => {
  const bound = socket.address();
  console.log(`udp echo listening on ${bound.address} port ${bound.port}`);
});

process.on('SIGTERM', () => process.exit(0));
process.on('SIGINT', () => process.exit(0));
