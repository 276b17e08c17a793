// SPDX-License-Identifier: MIT
// A plain server of what the attack suite needs; nothing in it knows of millrace.
//   8080 echo, 8081 sends as many bytes as a line asks for and ends, 8082 UDP echo, 8083 UDP connected to the given peer.
//   node attacked.js <peer-address>
'use strict';

const dgram = require('node:dgram');
const net = require('node:net');
const { Readable } = require('node:stream');

const chunk = Buffer.from(Array.from({ length: 65521 }, (_, index) => index % 251));

/** `bytes` of the pattern, made as they are asked for. */
function* source(bytes) {
  for (let at = 0; at < bytes; at += chunk.length) yield chunk.subarray(0, Math.min(chunk.length, bytes - at));
}

const echo = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {});
  socket.pipe(socket);
});
const sender = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.setTimeout(60_000, () => socket.destroy());
  socket.once('data', (line) => Readable.from(source(Number(line)), { objectMode: false }).pipe(socket));
});
const open = (server, port) => new Promise((resolve) => server.listen(port, '::', resolve));

async function main() {
  await open(echo, 8080);
  await open(sender, 8081);
  const udp = dgram.createSocket('udp6');
  udp.on('message', (message, from) => udp.send(message, from.port, from.address, () => {}));
  await new Promise((resolve) => udp.bind(8082, resolve));
  const connected = dgram.createSocket('udp4');
  connected.on('error', () => {});
  await new Promise((resolve) => connected.bind(8083, resolve));
  await new Promise((resolve) => connected.connect(9, process.argv[2], resolve));
  console.log('listening on 8080 to 8083');
}

main();
process.on('SIGTERM', () => process.exit(0));
