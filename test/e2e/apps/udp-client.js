// SPDX-License-Identifier: MIT
// A plain dgram client that counts and checks its echoes; nothing in it knows of millrace. Prints one line of JSON.
//   node udp-client.js <host> <port> <count> <size> [connect] [<ms to wait for an answer>]
'use strict';

const { createHash } = require('node:crypto');
const dgram = require('node:dgram');

const [host, port, count, size, ...how] = process.argv.slice(2);
const connected = how.includes('connect');
const patienceMs = Number(how.find((word) => /^\d+$/.test(word)) ?? 2000);
const total = Number(count);
const kInFlight = 16;
const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
const seen = new Set();
let sent = 0;
let wrong = 0;
let duplicates = 0;

function message(serial) {
  const bytes = Buffer.alloc(Number(size), createHash('md5').update(`datagram ${serial}`).digest());
  bytes.writeUInt32BE(serial, 0);
  return bytes;
}

function send() {
  if (sent >= total) return;
  const bytes = message(sent++);
  if (connected) socket.send(bytes);
  else socket.send(bytes, Number(port), host);
}

function finish() {
  console.log(JSON.stringify({ sent, received: seen.size, wrong, duplicates, local: socket.address().address }));
  socket.close();
  clearTimeout(patience);
}

const patience = setTimeout(finish, patienceMs);
// What came before is not waiting for an answer: a device may have had to begin.
socket.on('listening', () => patience.refresh());
socket.on('message', (bytes, from) => {
  const serial = bytes.readUInt32BE(0);
  if (from.port !== Number(port) || !bytes.equals(message(serial))) ++wrong;
  else if (seen.has(serial)) ++duplicates;
  else seen.add(serial);
  if (seen.size === total) return finish();
  patience.refresh();
  send();
});
socket.on('error', (error) => {
  console.log(JSON.stringify({ error: error.code }));
  process.exit(1);
});
const begin = () => {
  for (let i = 0; i < kInFlight; ++i) send();
  patience.refresh();
};
if (connected) socket.connect(Number(port), host, begin);
else begin();
