// Talks to whoever listens on PORT, sending and reading without end, and connects again whenever that has ended; and keeps
// one connection to an echo server on PORT + 1, every answer of which it checks.
//   dying-peer.js HOST PORT
// Prints one line of JSON on each line of stdin.
'use strict';

const net = require('node:net');

const [host, port] = process.argv.slice(2);
const BLOCK = Buffer.alloc(16_384, 'p');
const seen = { connected: 0, ended: 0, echoes: 0, wrong: 0, broken: 0 };

function talk() {
  const socket = net.connect({ host, port: Number(port), allowHalfOpen: false });
  const write = () => {
    while (!socket.destroyed && socket.write(BLOCK));
  };
  socket.on('connect', () => {
    seen.connected++;
    write();
  });
  socket.on('drain', write);
  socket.on('data', () => {});
  socket.on('error', () => {});
  socket.on('close', () => {
    seen.ended++;
    setTimeout(talk, 5);
  });
}

function echo() {
  const socket = net.connect({ host, port: Number(port) + 1 });
  let expected = '';
  const say = () => {
    expected = `${seen.echoes} ${Math.random()}`;
    socket.write(expected);
  };
  socket.on('connect', say);
  socket.on('data', (data) => {
    if (data.toString() !== expected) seen.wrong++;
    seen.echoes++;
    setTimeout(say, 1);
  });
  socket.on('error', () => {});
  socket.on('close', () => seen.broken++);
}

talk();
talk();
if (process.argv[4] === 'echo') echo();
require('node:readline')
  .createInterface({ input: process.stdin })
  .on('line', () => process.stdout.write(`${JSON.stringify(seen)}\n`));
