// SPDX-License-Identifier: MIT
// Does what it is told on stdin, a line each, and says `done <line>`:
//   listen PORT ADDRESS | unlisten PORT (its connections live on) | bind PORT ADDRESS | connect PORT ADDRESS | busy MS
// Connections echo what they get; a datagram is answered.
'use strict';

const dgram = require('node:dgram');
const net = require('node:net');

const servers = new Map();

function listen(port, address, done) {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  servers.set(port, server);
  server.listen(Number(port), address, done);
}

function bind(port, address, done) {
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (message, sender) => socket.send(message, sender.port, sender.address));
  socket.bind(Number(port), address, done);
}

const commands = {
  listen,
  bind,
  unlisten(port, _, done) {
    servers.get(port).close();
    done();
  },
  connect(port, address, done) {
    const socket = net.connect(Number(port), address, () => socket.write('hello'));
    socket.once('data', done);
    socket.on('error', (error) => process.stdout.write(`failed ${error.code}\n`));
  },
  busy(ms, _, done) {
    done();
    // Behind this line's own answer.
    setTimeout(() => {
      for (const end = Date.now() + Number(ms); Date.now() < end; );
      process.stdout.write('busy no more\n');
    }, 20);
  },
};

require('node:readline')
  .createInterface({ input: process.stdin })
  .on('line', (line) => {
    const [name, ...args] = line.split(' ');
    commands[name](args[0], args[1], () => process.stdout.write(`done ${line}\n`));
  });
process.on('SIGTERM', () => process.exit(0));
process.stdout.write('listening on stdin\n');
