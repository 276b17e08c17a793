// Receives datagrams and counts them, plain dgram: `node udp-sink.js <port>`; a line on stdin is answered by the count.
'use strict';

const dgram = require('node:dgram');

const socket = dgram.createSocket('udp4');
let messages = 0;
let bytes = 0;
socket.on('message', (message) => {
  ++messages;
  bytes += message.length;
});
process.stdin.on('data', () => console.log(JSON.stringify({ messages, bytes, ms: performance.now() })));
socket.bind(Number(process.argv[2]), '0.0.0.0', () => console.log(`udp sink listening on port ${process.argv[2]}`));
process.on('SIGTERM', () => process.exit(0));
