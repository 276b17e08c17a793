// SPDX-License-Identifier: MIT
// A plain program that uses the network in every way for which there is a kind of rule; nothing in it knows of millrace.
// Each line that it prints is one fact.
//   node everything.js <peer's IPv4> <peer's IPv6>
'use strict';

const dgram = require('node:dgram');
const http = require('node:http');
const net = require('node:net');

const [peer4, peer6] = process.argv.slice(2);
const kRefusedPort = 9;

// Listeners and bound sockets: of TCP and UDP, on ports that lead to different queues.
const web = http.createServer((_request, response) => response.end('Hello, world\n'));
const datagrams = [8080, 8144].map((port) => {
  const socket = dgram.createSocket('udp6');
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  return new Promise((resolve) => socket.bind(port, '::', resolve));
});

// A listener that goes, and leaves its connections.
let taken = 0;
const last = net.createServer((socket) => {
  socket.on('error', (error) => console.log(`broken ${error.code}`));
  socket.pipe(socket);
  if (++taken < 2) return;
  last.close();
  console.log('no more');
});

/** A connection from a port of its own, or from any. */
function session(host, localPort) {
  const socket = net.connect({ host, port: 7000, localPort });
  let echoes = 0;
  socket.on('connect', () => setInterval(() => socket.write('x'), 100));
  socket.on('data', (data) => {
    if (echoes < 3 && echoes + data.length >= 3) console.log(`echoes to ${host} port ${socket.localPort}`);
    echoes += data.length;
  });
  socket.on('error', (error) => console.log(`broken ${host} ${error.code}`));
}

/** A connected socket that nobody hears: ICMP says so. */
function refused(host, family) {
  const socket = dgram.createSocket(family);
  socket.on('error', (error) => {
    console.log(`${family} ${error.code}`);
    socket.close();
    clearInterval(timer);
  });
  const say = () => socket.send('anybody?');
  const timer = setInterval(say, 100);
  socket.connect(kRefusedPort, host, say);
}

web.listen(8080, '::', () => {
  last.listen(7100, '::', async () => {
    await Promise.all(datagrams);
    for (const host of [peer4, peer6]) session(host);
    session(peer4, 20001);
    session(peer6, 20002);
    refused(peer4, 'udp4');
    console.log('listening on 8080');
  });
});
process.on('SIGTERM', () => process.exit(0));
